//! Leases under faults: they may end late, never early.

use std::time::{Duration, Instant};

use coordinator_wire::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

use crate::clients::channel;

const TIMEOUT: Duration = Duration::from_millis(1_500);
/// After everything has healed, a lease that is over is revoked within its time once more, and some.
const GRACE: Duration = Duration::from_secs(30);

/// Grants one lease after the other, each with a key; returns how many it saw the end of.
pub async fn run(endpoints: Vec<String>, length: Duration) -> u64 {
    let channels: Vec<Channel> = endpoints.iter().map(|endpoint| channel(endpoint)).collect();
    let end = Instant::now() + length;
    let mut seen = 0;
    for number in 0_usize.. {
        if Instant::now() > end {
            break;
        }
        let channel = channels[number % channels.len()].clone();
        let ttl = 2 + i64::try_from(number % 2).expect("small");
        let key = format!("lease/{number}");
        let Some(held) = hold(channel, &key, ttl, number % 3 == 0).await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        if held.until_gone(&channels, &key, end + GRACE).await {
            seen += 1;
        }
    }
    seen
}

/// A lease that was granted and has its key.
struct Held {
    /// The lease lives at least until then: granted, or renewed, after that moment less its time.
    not_before: Instant,
}

async fn hold(channel: Channel, key: &str, ttl: i64, renewed: bool) -> Option<Held> {
    let mut leases = LeaseClient::new(channel.clone());
    let mut asked = Instant::now();
    let grant = pb::LeaseGrantRequest { ttl, id: 0 };
    let granted = timeout(TIMEOUT, leases.lease_grant(grant))
        .await
        .ok()?
        .ok()?
        .into_inner();
    let put = pb::PutRequest {
        key: key.to_owned().into(),
        value: "held".into(),
        lease: granted.id,
        ..Default::default()
    };
    timeout(TIMEOUT, KvClient::new(channel).put(put)).await.ok()?.ok()?;
    let mut ttl = granted.ttl;
    if renewed {
        sleep(Duration::from_millis(700)).await;
        let ask = Instant::now();
        let renewal = pb::LeaseKeepAliveRequest { id: granted.id };
        let stream = tokio_stream::once(renewal);
        let answer = timeout(TIMEOUT, async {
            leases.lease_keep_alive(stream).await?.into_inner().message().await
        });
        // Without an answer it is only certain that it was granted.
        if let Ok(Ok(Some(answer))) = answer.await
            && answer.ttl > 0
        {
            (asked, ttl) = (ask, answer.ttl);
        }
    }
    let lives = Duration::from_secs(u64::try_from(ttl).expect("positive"));
    Some(Held {
        not_before: asked + lives,
    })
}

impl Held {
    /// Looks until the key is gone, and panics if that is too early. Whether it was seen to go.
    async fn until_gone(&self, channels: &[Channel], key: &str, give_up: Instant) -> bool {
        for turn in 0_usize.. {
            let request = pb::RangeRequest {
                key: key.to_owned().into(),
                ..Default::default()
            };
            let mut client = KvClient::new(channels[turn % channels.len()].clone());
            if let Ok(Ok(found)) = timeout(TIMEOUT, client.range(request)).await {
                let now = Instant::now();
                if found.into_inner().kvs.is_empty() {
                    assert!(
                        now >= self.not_before,
                        "{key} was gone {:?} before its lease's time was over",
                        self.not_before - now
                    );
                    return true;
                }
            }
            assert!(Instant::now() < give_up, "{key} outlived its lease by {GRACE:?}");
            sleep(Duration::from_millis(40)).await;
        }
        false
    }
}
