//! Calls that give a file other blocks: truncate and concat.

use dfs_wire::proto::hdfs::{ConcatRequestProto, ConcatResponseProto, TruncateRequestProto, TruncateResponseProto};

use super::directory::Asker;
use super::state::{Answered, NameNode};
use crate::Error;
use crate::namespace::truncate::Truncation;

impl NameNode {
    /// True: the file has that length. False: data nodes cut its last block, and the file is closed once they have.
    pub async fn truncate(
        &self,
        asker: &Asker,
        asked: TruncateRequestProto,
    ) -> Result<Answered<TruncateResponseProto>, Error> {
        self.take_over(asker, &asked.src, &asked.client_name).await?;
        self.change(&format!("truncate {}", asked.src), asker.key, |state, now| {
            let caller = asker.at(now);
            let truncation = state
                .names
                .truncate(caller, &asked.src, asked.new_length, &asked.client_name)?;
            if let Truncation::Started(file) = truncation {
                // The block map must know of the reopened block before its recovery is ordered.
                let changes = state.names.take_changes();
                state.step(crate::block::Event::Changed(&changes), now);
                self.start_recovery(state, caller, file)?;
            }
            Ok(TruncateResponseProto {
                result: truncation == Truncation::Done,
            })
        })
        .await
    }

    pub async fn concat(
        &self,
        asker: &Asker,
        asked: ConcatRequestProto,
    ) -> Result<Answered<ConcatResponseProto>, Error> {
        self.change(&format!("concat to {}", asked.trg), asker.key, |state, now| {
            state.names.concat(asker.at(now), &asked.trg, &asked.srcs)?;
            Ok(ConcatResponseProto {})
        })
        .await
    }
}
