//! How soon there is someone to write to: after a start, and after the leader was killed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use pb::kv_client::KvClient;
use testing::bench::{Line, Progress, median};
use tokio::time::{sleep, timeout};

use crate::connection::Connection;
use crate::server::{Contender, Member, Program};
use crate::{Arguments, Result};

/// Times that each program is started, or its leader killed.
const TRIES: usize = 5;
/// A put without an answer for so long is sent to the next member.
const PUT_TIMEOUT: Duration = Duration::from_millis(300);
/// No cluster takes longer to find a leader.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two kills, so that the killed one has caught up.
const SETTLE: Duration = Duration::from_secs(3);

/// From exec to `/health` that says true, of one member that has served before.
pub async fn start(arguments: &Arguments, programs: &[Program], progress: &Progress) -> Result<Line> {
    let mut line = Line::new("1 node: exec to /health, median", "ms", programs.len());
    for (place, program) in programs
        .iter()
        .enumerate()
        .filter(|(_, program)| program.is_ours_to_stop())
    {
        let mut contender = Contender::start(program, 1, &arguments.directory).await?;
        let mut times = Vec::new();
        for number in 1..=TRIES {
            progress.show(&format!("start {number} of {TRIES}, {}", program.name()));
            let member = &mut contender.members[0];
            member.terminate()?;
            times.push(member.start_again().await?.as_secs_f64() * 1_000.0);
        }
        line.set(place, median(times).unwrap_or_default());
    }
    Ok(line)
}

/// From SIGKILL of the leader to the first put that someone acknowledges.
pub async fn failover(arguments: &Arguments, programs: &[Program], nodes: usize, progress: &Progress) -> Result<Line> {
    let mut line = Line::new(
        format!("{nodes} nodes: leader killed to first put, median"),
        "ms",
        programs.len(),
    );
    for (place, program) in programs
        .iter()
        .enumerate()
        .filter(|(_, program)| program.is_ours_to_stop())
    {
        let mut contender = Contender::start(program, nodes, &arguments.directory).await?;
        let mut times = Vec::new();
        for number in 1..=TRIES {
            progress.show(&format!("leader killed {number} of {TRIES}, {}", program.name()));
            sleep(SETTLE).await;
            let leader = contender.leader().await?;
            contender.members[leader].kill()?;
            let killed = Instant::now();
            first_put(&contender.members, leader).await?;
            times.push(killed.elapsed().as_secs_f64() * 1_000.0);
            contender.members[leader].start_again().await?;
        }
        line.set(place, median(times).unwrap_or_default());
    }
    Ok(line)
}

async fn first_put(members: &[Member], killed: usize) -> Result<()> {
    let begun = Instant::now();
    let alive: Vec<&Member> = (0..members.len())
        .filter(|number| *number != killed)
        .map(|number| &members[number])
        .collect();
    for member in alive.iter().cycle() {
        if begun.elapsed() > FAILOVER_TIMEOUT {
            return Err(format!("no put was acknowledged within {FAILOVER_TIMEOUT:?}").into());
        }
        match timeout(PUT_TIMEOUT, put(&member.address)).await {
            Ok(Ok(())) => return Ok(()),
            // Refused at once: there is no hurry to be refused again.
            Ok(Err(_)) => sleep(Duration::from_millis(5)).await,
            Err(_) => {}
        }
    }
    Err("there is nobody left to put to".into())
}

async fn put(address: &str) -> Result<()> {
    let connection = Connection::open(address).await?;
    let origin = connection.origin.clone();
    let request = pb::PutRequest {
        key: Bytes::from_static(b"failover"),
        value: Bytes::from_static(b"done"),
        ..Default::default()
    };
    KvClient::with_origin(connection, origin).put(request).await?;
    Ok(())
}
