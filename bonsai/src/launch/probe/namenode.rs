use dfs::ipc::{CLIENT_PROTOCOL, Client};
use dfs_wire::proto::hdfs::{GetFsStatsResponseProto, GetFsStatusRequestProto};

use super::{Facts, count};

pub const CALL: &str = "HDFS's getFsStats";

pub async fn ask(address: &str) -> Result<Facts, String> {
    let mut client = Client::new(address, "bonsai", CLIENT_PROTOCOL, uuid::Uuid::new_v4().into_bytes());
    let answer = client.call("getFsStats", &GetFsStatusRequestProto {}).await;
    Ok(facts(&answer.map_err(|error| error.to_string())?))
}

fn facts(stats: &GetFsStatsResponseProto) -> Facts {
    let mut facts = Facts::default()
        .with("capacity_bytes", stats.capacity)
        .with("used_bytes", stats.used)
        .with("remaining_bytes", stats.remaining)
        .with("under_replicated_blocks", stats.under_replicated)
        .with("corrupt_blocks", stats.corrupt_blocks)
        .with("missing_blocks", stats.missing_blocks)
        .summary(format!(
            "{:.1} MB used, {} under-replicated",
            stats.used as f64 / 1e6,
            count(stats.under_replicated, "block")
        ));
    if stats.under_replicated > 0 {
        facts
            .warnings
            .push(format!("{} under-replicated", count(stats.under_replicated, "block")));
    }
    if stats.corrupt_blocks > 0 {
        let blocks = count(stats.corrupt_blocks, "block");
        facts.warnings.push(format!("{blocks} with a corrupt replica"));
    }
    // As `hdfs fsck` has it: a file system is healthy while each block can be read.
    if stats.missing_blocks > 0 {
        facts.problem = Some(format!(
            "{} missing: no live data node has a good replica",
            count(stats.missing_blocks, "block")
        ));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_blocks_are_a_problem_and_too_few_replicas_a_warning() {
        let mut stats = GetFsStatsResponseProto {
            under_replicated: 1,
            ..GetFsStatsResponseProto::default()
        };
        let told = facts(&stats);
        assert_eq!(told.problem, None);
        assert_eq!(told.warnings, ["1 block under-replicated"]);
        stats.missing_blocks = 2;
        assert!(facts(&stats).problem.unwrap().starts_with("2 blocks missing"));
    }
}
