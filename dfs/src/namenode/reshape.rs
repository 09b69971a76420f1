//! Calls that give a file other blocks: truncate and concat.

use dfs_wire::proto::hdfs::{ConcatRequestProto, ConcatResponseProto, TruncateRequestProto, TruncateResponseProto};

use super::command::{Followup, Op, Truncate};
use super::directory::Asker;
use super::state::{Answered, Decision, NameNode};
use crate::Error;

impl NameNode {
    /// True: the file has that length. False: data nodes cut its last block, and the file is closed once they have.
    pub async fn truncate(
        &self,
        asker: &Asker,
        asked: TruncateRequestProto,
    ) -> Result<Answered<TruncateResponseProto>, Error> {
        self.take_over(asker, &asked.src, &asked.client_name).await?;
        let what = format!("truncate {}", asked.src);
        self.decide(&what, asker, asker.key, |state, now| {
            let nodes = match state.replicated.names.file(&asked.src) {
                Ok((_, file)) => file.block_at(asked.new_length),
                Err(_) => None,
            };
            let nodes = nodes.map(|block| state.soft.blocks.readable(block.id, "", now));
            let nodes = nodes.unwrap_or_default();
            let truncate = Truncate {
                call: asked,
                any_replica: !nodes.is_empty(),
            };
            Ok(Decision::propose(Op::Truncate(truncate), Followup::Recovery(nodes)))
        })
        .await
    }

    pub async fn concat(
        &self,
        asker: &Asker,
        asked: ConcatRequestProto,
    ) -> Result<Answered<ConcatResponseProto>, Error> {
        let what = format!("concat to {}", asked.trg);
        self.change(&what, asker, Op::Concat(asked)).await
    }
}
