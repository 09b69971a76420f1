//! One member with very many keys: memory, restart, snapshot.

use std::time::{Duration, Instant};

use coordinator_wire::etcdserverpb as pb;
use pb::maintenance_client::MaintenanceClient;
use testing::bench::{Line, Progress};
use tonic::Code;

use crate::connection::Connection;
use crate::server::{Contender, Program};
use crate::{Arguments, Result, operations};

/// After the last put, for what a server does in the background.
const SETTLE: Duration = Duration::from_secs(5);
const MEGABYTE: f64 = (1 << 20) as f64;

/// Fills one member of each program in turn, so that neither has the other's memory beside it.
pub async fn measure(
    arguments: &Arguments,
    programs: &[Program],
    keys: usize,
    progress: &Progress,
) -> Result<Vec<Line>> {
    let line = |title: &str, unit: &'static str| Line::new(format!("{keys} keys: {title}"), unit, programs.len());
    let mut filling = line("puts while filling, 512 clients", "/s");
    let mut resident = line("resident memory", "MB");
    let mut anonymous = line("of it not mapped from files", "MB");
    let mut restart = line("SIGKILL, then exec to /health", "ms");
    let mut restarted = line("resident memory after the restart", "MB");
    let mut snapshot = line("snapshot streamed", "ms");
    let mut streamed = line("snapshot's size", "MB");
    for (place, program) in programs.iter().enumerate() {
        progress.show(&format!("{keys} keys into {}", program.name()));
        let mut contender = Contender::start(program, 1, &arguments.directory).await?;
        let took = operations::fill(&contender, keys, arguments.value_bytes).await?;
        filling.set(place, keys as f64 / took.as_secs_f64());
        tokio::time::sleep(SETTLE).await;
        let member = &mut contender.members[0];
        if let Some((all, private)) = member.resident_bytes()? {
            resident.set(place, all as f64 / MEGABYTE);
            anonymous.set(place, private as f64 / MEGABYTE);
        }
        progress.show(&format!("snapshot of {keys} keys, {}", program.name()));
        if let Some((took, bytes)) = save(&member.address).await? {
            snapshot.set(place, took.as_secs_f64() * 1_000.0);
            streamed.set(place, bytes as f64 / MEGABYTE);
        }
        if program.is_ours_to_stop() {
            progress.show(&format!("restart with {keys} keys, {}", program.name()));
            member.kill()?;
            restart.set(place, member.start_again().await?.as_secs_f64() * 1_000.0);
            if let Some((all, _)) = member.resident_bytes()? {
                restarted.set(place, all as f64 / MEGABYTE);
            }
        }
    }
    Ok(vec![
        filling, resident, anonymous, restart, restarted, snapshot, streamed,
    ])
}

/// Reads a whole snapshot; `None` where the server has none to give.
async fn save(address: &str) -> Result<Option<(Duration, usize)>> {
    let connection = Connection::open(address).await?;
    let origin = connection.origin.clone();
    let mut client = MaintenanceClient::with_origin(connection, origin);
    let begun = Instant::now();
    let mut parts = match client.snapshot(pb::SnapshotRequest::default()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::Unimplemented => return Ok(None),
        Err(status) => return Err(status.into()),
    };
    let mut bytes = 0;
    while let Some(part) = parts.message().await? {
        bytes += part.blob.len();
    }
    Ok(Some((begun.elapsed(), bytes)))
}
