//! What is done to the members.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use testing::Signal;

use crate::Chance;
use crate::cluster::Cluster;

/// How often each fault was inflicted.
#[derive(Debug, Default)]
pub struct Tally {
    kills: u64,
    stops: u64,
    cuts: u64,
    isolations: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            stops,
            cuts,
            isolations,
        } = self;
        write!(
            formatter,
            "{kills} kills, {stops} stops, {cuts} cuts, {isolations} isolations"
        )
    }
}

/// Does something to some member again and again, each time after the last has healed for a moment; all is well at the end.
pub async fn run(mut cluster: Cluster, mut chance: Chance, length: Duration) -> (Cluster, Tally) {
    let mut tally = Tally::default();
    let end = Instant::now() + length;
    while Instant::now() < end {
        sleep(Duration::from_millis(chance.between(100, 900))).await;
        cluster.assert_all_run();
        let member = pick(&cluster, &mut chance);
        // Beyond the election timeout (1 s) every third time or so, so that a new leader is chosen meanwhile.
        let away = Duration::from_millis(chance.between(100, 3_000));
        match chance.below(5) {
            0 | 1 => {
                tally.kills += 1;
                // Sometimes two of three: nothing goes on until one is back, and nothing may be lost.
                let second = (chance.below(4) == 0).then(|| (member + 1) % cluster.len());
                for killed in [Some(member), second].into_iter().flatten() {
                    cluster.kill(killed);
                }
                sleep(away / 2).await;
                for killed in [Some(member), second].into_iter().flatten() {
                    cluster.start_again(killed);
                }
            }
            2 => {
                tally.stops += 1;
                cluster.signal(member, Signal::STOP);
                sleep(away).await;
                cluster.signal(member, Signal::CONT);
            }
            3 => {
                tally.cuts += 1;
                // One way only: who can send but not hear.
                let other = (member + 1 + pick_other(&mut chance)) % cluster.len();
                cluster.network.cut(member, other);
                sleep(away).await;
                cluster.network.heal();
            }
            _ => {
                tally.isolations += 1;
                for other in (0..cluster.len()).filter(|other| *other != member) {
                    cluster.network.cut(member, other);
                    cluster.network.cut(other, member);
                }
                sleep(away).await;
                cluster.network.heal();
            }
        }
    }
    cluster.network.heal();
    cluster.assert_all_run();
    cluster.until_it_serves().await;
    (cluster, tally)
}

fn pick(cluster: &Cluster, chance: &mut Chance) -> usize {
    usize::try_from(chance.below(cluster.len() as u64)).expect("small")
}

fn pick_other(chance: &mut Chance) -> usize {
    usize::from(chance.below(2) == 0)
}
