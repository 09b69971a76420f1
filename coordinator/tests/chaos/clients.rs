//! Clients that put, get, delete and swap, each through one member after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::KeyValue;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::kv_client::KvClient;
use pb::request_op::Request;
use pb::response_op::Response;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::Chance;
use crate::history::{Answered, Asked, Journal, Operation, Seen};

/// Few, so that clients meet at them.
const KEYS: u64 = 4;
/// Then the answer is not waited for, and the outcome unknown.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// Between two operations: what counts is the order of things, and both processors are the members'.
const PAUSE: Duration = Duration::from_millis(4);

pub async fn run(number: u64, endpoints: Vec<String>, journal: Arc<Journal>, mut chance: Chance, length: Duration) {
    let channels: Vec<Channel> = endpoints.iter().map(|endpoint| channel(endpoint)).collect();
    let mut member = usize::try_from(number).expect("small");
    let mut last = 0;
    let end = Instant::now() + length;
    for count in 0_u64.. {
        if Instant::now() > end {
            return;
        }
        let mut client = KvClient::new(channels[member % channels.len()].clone());
        let asked = ask(number, count, &mut chance, last);
        let began = journal.now();
        let answer = timeout(TIMEOUT, carry_out(&mut client, &asked)).await;
        let ended = journal.now();
        let answered = match answer {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) | Err(_) => Answered::Unknown,
        };
        match &answered {
            Answered::Unknown => {
                // Elsewhere, perhaps.
                member += 1;
                sleep(Duration::from_millis(20)).await;
            }
            Answered::Read(_, seen) | Answered::NotSwapped(_, seen) => {
                last = seen.as_ref().map_or(0, |seen| seen.mod_revision);
            }
            Answered::Changed(revision) => last = *revision,
            Answered::Nothing(_) => last = 0,
        }
        journal.note(Operation {
            client: number,
            asked,
            answered,
            began,
            ended,
        });
        sleep(PAUSE).await;
    }
}

pub fn channel(endpoint: &str) -> Channel {
    Endpoint::from_shared(format!("http://{endpoint}"))
        .expect("an address")
        .connect_timeout(Duration::from_secs(1))
        .tcp_nodelay(true)
        .connect_lazy()
}

fn ask(client: u64, count: u64, chance: &mut Chance, last: i64) -> Asked {
    let key = format!("k/{}", chance.below(KEYS));
    let value = format!("{client}-{count}").into_bytes();
    match chance.below(10) {
        0..=2 => Asked::Put { key, value },
        3 => {
            let other = format!("other/{}", chance.below(KEYS));
            Asked::PutBoth {
                keys: [key, other],
                value,
            }
        }
        4 => Asked::Delete { key },
        5 | 6 => Asked::Swap {
            key,
            expected: last,
            value,
        },
        7 => Asked::Get {
            key,
            serializable: true,
        },
        _ => Asked::Get {
            key,
            serializable: false,
        },
    }
}

async fn carry_out(client: &mut KvClient<Channel>, asked: &Asked) -> Result<Answered, Status> {
    match asked {
        Asked::Put { key, value } => {
            let answer = client.put(put(key, value)).await?.into_inner();
            Ok(Answered::Changed(revision(answer.header)))
        }
        Asked::PutBoth { keys, value } => {
            let request = pb::TxnRequest {
                success: keys
                    .iter()
                    .map(|key| step(Request::RequestPut(put(key, value))))
                    .collect(),
                ..Default::default()
            };
            let answer = client.txn(request).await?.into_inner();
            Ok(Answered::Changed(revision(answer.header)))
        }
        Asked::Delete { key } => {
            let request = pb::DeleteRangeRequest {
                key: key.clone().into(),
                ..Default::default()
            };
            let answer = client.delete_range(request).await?.into_inner();
            let at = revision(answer.header);
            Ok(match answer.deleted {
                0 => Answered::Nothing(at),
                _ => Answered::Changed(at),
            })
        }
        Asked::Swap { key, expected, value } => {
            let answer = client.txn(swap(key, *expected, value)).await?.into_inner();
            let at = revision(answer.header);
            if answer.succeeded {
                return Ok(Answered::Changed(at));
            }
            match answer
                .responses
                .into_iter()
                .next()
                .and_then(|response| response.response)
            {
                Some(Response::ResponseRange(range)) => Ok(Answered::NotSwapped(at, seen(range.kvs))),
                other => panic!("a range was asked for, not {other:?}"),
            }
        }
        Asked::Get { key, serializable } => {
            let request = pb::RangeRequest {
                serializable: *serializable,
                ..range(key)
            };
            let answer = client.range(request).await?.into_inner();
            Ok(Answered::Read(revision(answer.header), seen(answer.kvs)))
        }
    }
}

fn swap(key: &str, expected: i64, value: &[u8]) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: vec![pb::Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key.to_owned().into(),
            target_union: Some(TargetUnion::ModRevision(expected)),
            ..Default::default()
        }],
        success: vec![step(Request::RequestPut(put(key, value)))],
        failure: vec![step(Request::RequestRange(range(key)))],
    }
}

fn put(key: &str, value: &[u8]) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_vec().into(),
        ..Default::default()
    }
}

fn range(key: &str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key.to_owned().into(),
        ..Default::default()
    }
}

fn step(request: Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn revision(header: Option<pb::ResponseHeader>) -> i64 {
    header.expect("every answer has a header").revision
}

fn seen(kvs: Vec<KeyValue>) -> Option<Seen> {
    kvs.into_iter().next().map(|kv| Seen {
        value: kv.value.to_vec(),
        mod_revision: kv.mod_revision,
    })
}
