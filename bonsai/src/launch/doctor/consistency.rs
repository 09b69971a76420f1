//! Do the copies agree, and do pointers point at what is there?

use std::time::Duration;

use coordinator_client::registry;
use coordinator_client::wire::etcdserverpb::maintenance_client::MaintenanceClient;
use coordinator_client::wire::etcdserverpb::{HashKvRequest, StatusRequest};
use log_broker_client::{At, Client};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Finding, replicas};
use crate::launch::ports::Ports;
use crate::launch::probe::{ANSWER_MAX, channel, count};
use crate::launch::report::Report;
use crate::launch::stack::Stack;

/// Partitions whose offsets are compared; a check is no audit.
const PARTITIONS_MAX: usize = 2_000;
const CHECK_MAX: Duration = Duration::from_secs(60);

pub async fn check(stack: &Stack, report: &Report, ports: &Ports) -> Vec<Finding> {
    let runs = |name: &str| report.services.iter().any(|service| service.status.service == name);
    let mut findings = Vec::new();
    if runs("coordinator") || ports.is_coordinator_elsewhere() {
        findings.push(within("coordinator", members(&ports.coordinators())).await);
        findings.push(within("registry", registrations(&ports.coordinators().join(","))).await);
    }
    if runs("log-broker") {
        findings.push(within("offsets", offsets(&ports.address("log-broker", "listen"))).await);
    }
    if runs("namenode") {
        findings.push(within("replicas", replicas::check(ports.address("namenode", "rpc"))).await);
    }
    if runs("stream") {
        let state = stack.data_of("stream");
        let read = tokio::task::spawn_blocking(move || checkpoints(&state)).await;
        findings.push(read.unwrap_or_else(|error| not_done("checkpoints", &error.to_string())));
    }
    findings
}

async fn within(check: &'static str, examined: impl Future<Output = Result<Finding, String>>) -> Finding {
    match timeout(CHECK_MAX, examined).await {
        Ok(Ok(finding)) => finding,
        Ok(Err(error)) => not_done(check, &error),
        Err(_) => not_done(check, &format!("not done within {} s", CHECK_MAX.as_secs())),
    }
}

fn not_done(check: &'static str, error: &str) -> Finding {
    Finding::error(
        check,
        format!("cannot be examined: {error}"),
        "a service that does not answer this does not answer its clients either",
        "see `bonsai status`",
    )
}

/// All members have the same keys as of one revision.
async fn members(endpoints: &[String]) -> Result<Finding, String> {
    let mut clients = Vec::new();
    let mut revision = i64::MAX;
    for endpoint in endpoints {
        let mut client = MaintenanceClient::new(channel(endpoint).await?);
        let status = client
            .status(StatusRequest {})
            .await
            .map_err(|status| status.to_string())?;
        let header = status.into_inner().header.unwrap_or_default();
        revision = revision.min(header.revision);
        clients.push((endpoint, client));
    }
    let mut hashes = Vec::new();
    for (endpoint, client) in &mut clients {
        let answer = client.hash_kv(HashKvRequest { revision }).await;
        let answer = answer
            .map_err(|status| format!("{endpoint}: {}", status.message()))?
            .into_inner();
        hashes.push((endpoint.as_str(), answer.hash, answer.compact_revision));
    }
    Ok(compare(revision, &hashes))
}

fn compare(revision: i64, hashes: &[(&str, u32, i64)]) -> Finding {
    // A member that has compacted further has hashed less.
    let comparable = hashes.iter().all(|(_, _, compacted)| *compacted == hashes[0].2);
    let differ = hashes.iter().any(|(_, hash, _)| *hash != hashes[0].1);
    let shown = hashes
        .iter()
        .map(|(endpoint, hash, _)| format!("{endpoint} {hash:08x}"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    let members = count(hashes.len() as u64, "member");
    match (comparable, differ) {
        (true, true) => Finding::error(
            "coordinator",
            format!("members differ at revision {revision}: {shown}"),
            "one of them gives wrong answers",
            "remove the one that differs from the others with `etcdctl member remove`, and add it again empty",
        ),
        (false, _) => Finding::ok(
            "coordinator",
            format!("{members}, compacted differently: not comparable now"),
        ),
        (true, false) => Finding::ok("coordinator", format!("{members}, same hash at revision {revision}")),
    }
}

/// What is registered answers where it says.
async fn registrations(endpoints: &str) -> Result<Finding, String> {
    let client = coordinator_client::Client::lazy(endpoints).map_err(|error| error.to_string())?;
    let found = registry::all(&client).await.map_err(|error| error.to_string())?;
    let mut silent = Vec::new();
    let mut addresses = 0_u64;
    for registration in &found {
        for (listener, address) in &registration.addresses {
            addresses += 1;
            let connected = timeout(ANSWER_MAX, TcpStream::connect(address)).await;
            if !matches!(connected, Ok(Ok(_))) {
                silent.push(format!(
                    "{} {} ({listener} at {address})",
                    registration.program, registration.id
                ));
            }
        }
    }
    let registered = count(found.len() as u64, "registration");
    Ok(match silent.as_slice() {
        [] => Finding::ok(
            "registry",
            format!(
                "{registered}, {}, each can be connected to",
                count(addresses, "listener")
            ),
        ),
        silent => Finding::error(
            "registry",
            format!("registered, but cannot be connected to: {}", silent.join(", ")),
            "other services are sent to an address where nothing listens",
            "start that program again, or end it; its registration goes with its lease",
        ),
    })
}

/// Each partition ends where or after it begins, and no group has committed more than there is.
async fn offsets(broker: &str) -> Result<Finding, String> {
    let client = Client::connect_within(broker, "bonsai-doctor", ANSWER_MAX).await;
    let client = client.map_err(|error| error.to_string())?;
    let metadata = client.metadata(None).await.map_err(|error| error.to_string())?;
    let groups = client.groups().await.map_err(|error| error.to_string())?;
    let mut wrong = Vec::new();
    let mut examined = 0;
    for topic in &metadata.topics {
        let partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.id).collect();
        let mut ends = Vec::new();
        for partition in &partitions {
            if examined >= PARTITIONS_MAX {
                break;
            }
            examined += 1;
            let at = async |at| {
                let offset = client.offset(&topic.name, *partition, at).await;
                offset.map_err(|error| error.to_string())
            };
            let (start, end) = (at(At::Earliest).await?, at(At::Latest).await?);
            if start > end {
                wrong.push(format!(
                    "{}-{partition} begins at {start} and ends at {end}",
                    topic.name
                ));
            }
            ends.push((*partition, end));
        }
        let asked: Vec<i32> = ends.iter().map(|(partition, _)| *partition).collect();
        for group in &groups {
            let committed = client.committed(group, &topic.name, &asked).await;
            let committed = committed.map_err(|error| error.to_string())?;
            wrong.extend(beyond(group, &topic.name, &ends, &committed));
        }
    }
    Ok(match wrong.as_slice() {
        [] => Finding::ok(
            "offsets",
            format!(
                "{} and {}: no offset is beyond its log's end",
                count(examined as u64, "partition"),
                count(groups.len() as u64, "group")
            ),
        ),
        wrong => Finding::error(
            "offsets",
            wrong.join("; "),
            "the records between the log's end and a committed offset were lost, or the log was replaced; consumers start over or wait",
            "reset the group's offsets with `kafka-consumer-groups.sh --reset-offsets`, and find out what deleted the records",
        ),
    })
}

/// What of a group's committed offsets is beyond the log's end.
fn beyond(group: &str, topic: &str, ends: &[(i32, i64)], committed: &[Option<i64>]) -> Vec<String> {
    ends.iter()
        .zip(committed)
        .filter_map(|((partition, end), committed)| {
            let committed = (*committed)?;
            (committed > *end)
                .then(|| format!("group {group} has committed {committed} of {topic}-{partition}, which ends at {end}"))
        })
        .collect()
}

/// Each job's newest checkpoint has a whole manifest and whole files.
fn checkpoints(state: &std::path::Path) -> Finding {
    // A checkpoint can be removed while it is read: the next one is there then.
    let read = || -> Result<(usize, Vec<String>), String> {
        let kept = stream::gateway::inspect(state).map_err(|error| error.to_string())?;
        let mut wrong = Vec::new();
        for job in &kept {
            if let Err(error) = &job.newest_epoch {
                wrong.push(format!("job {} ({}): {error}", job.id, job.name));
            }
            wrong.extend(
                job.damaged
                    .iter()
                    .map(|damage| format!("job {} ({}): {damage}", job.id, job.name)),
            );
        }
        Ok((kept.len(), wrong))
    };
    let outcome = match read() {
        Ok((_, wrong)) if !wrong.is_empty() => read(),
        outcome => outcome,
    };
    match outcome {
        Ok((jobs, wrong)) if wrong.is_empty() => Finding::ok(
            "checkpoints",
            format!("{}: checkpoints are whole", count(jobs as u64, "job")),
        ),
        Ok((_, wrong)) => Finding::error(
            "checkpoints",
            wrong.join("; "),
            "the job starts from an older checkpoint, or not at all",
            "check the disk; cancel the job and submit it again if no checkpoint is left",
        ),
        Err(error) => Finding::error(
            "checkpoints",
            error,
            "its jobs cannot go on after a restart of the service",
            "restore the file, or move its directory away",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::doctor::Severity;

    #[test]
    fn members_are_compared_as_of_the_same_compaction() {
        assert_eq!(compare(5, &[("a", 1, 0), ("b", 1, 0)]).severity, Severity::Ok);
        let differ = compare(5, &[("a", 1, 0), ("b", 2, 0)]);
        assert!(differ.severity == Severity::Error && differ.what.contains("b 00000002"));
        assert_eq!(compare(5, &[("a", 1, 0), ("b", 2, 3)]).severity, Severity::Ok);
    }

    #[test]
    fn only_what_is_beyond_the_end_is_wrong() {
        let ends = [(0, 10), (1, 10), (2, 10)];
        let told = beyond("g", "t", &ends, &[Some(10), Some(11), None]);
        assert_eq!(told, ["group g has committed 11 of t-1, which ends at 10"]);
    }
}
