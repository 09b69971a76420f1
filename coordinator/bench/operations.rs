//! The operations that clients repeat.

use std::time::{Duration, Instant};

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::connection::Connection;
use crate::load::{self, Latencies, Round};
use crate::server::Contender;
use crate::{Arguments, Result, watching};

/// Keys that exist before the rounds begin, and that they put and get at random.
pub const KEYS: usize = 10_000;
/// Clients that share a connection, as etcd's own benchmark has it.
const CLIENTS_PER_CONNECTION: usize = 8;
/// Puts under way while a store is filled.
const FILLING_CLIENTS: usize = 512;
/// Seconds of the leases that are kept alive.
const LEASE_SECONDS: i64 = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Put,
    Get,
    GetSerializable,
    ComparePut,
    KeepAlive,
    Watch,
}

impl Operation {
    pub fn title(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get, linearizable",
            Self::GetSerializable => "get, serializable",
            Self::ComparePut => "txn: compare, put",
            Self::KeepAlive => "lease keep-alive",
            Self::Watch => "event to watchers of one key",
        }
    }

    /// How many clients the operations have that are measured with one count only.
    pub fn usual_clients(self) -> usize {
        match self {
            Self::Watch => watching::WATCHERS,
            _ => 64,
        }
    }
}

/// One round of an operation.
pub async fn round(
    contender: &Contender,
    operation: Operation,
    clients: usize,
    arguments: &Arguments,
) -> Result<Round> {
    let address = contender.leader_address().await?;
    if operation == Operation::Watch {
        return watching::round(contender, &address, clients, arguments).await;
    }
    let connections = Connection::open_many(&address, clients.div_ceil(CLIENTS_PER_CONNECTION)).await?;
    let value = Bytes::from(vec![b'v'; arguments.value_bytes]);
    let loops: Vec<_> = (0..clients)
        .map(|number| {
            let connection = connections[number % connections.len()].clone();
            let value = value.clone();
            move |end| one_client(operation, connection, number, value, end)
        })
        .collect();
    load::run(contender, loops, arguments.round()).await
}

async fn one_client(
    operation: Operation,
    connection: Connection,
    number: usize,
    value: Bytes,
    end: Instant,
) -> Result<Latencies> {
    let origin = connection.origin.clone();
    let mut chance = Chance::new(number);
    match operation {
        Operation::Put => {
            let client = KvClient::with_origin(connection, origin);
            load::repeat(end, || put(client.clone(), key(chance.below(KEYS)), value.clone())).await
        }
        Operation::Get | Operation::GetSerializable => {
            let client = KvClient::with_origin(connection, origin);
            let serializable = operation == Operation::GetSerializable;
            load::repeat(end, || get(client.clone(), key(chance.below(KEYS)), serializable)).await
        }
        Operation::ComparePut => {
            let client = KvClient::with_origin(connection, origin);
            compare_puts(client, number, value, end).await
        }
        Operation::KeepAlive => keep_alive(LeaseClient::with_origin(connection, origin), end).await,
        Operation::Watch => Err("watchers are not clients that repeat something".into()),
    }
}

async fn put(mut client: KvClient<Connection>, key: Bytes, value: Bytes) -> Result<()> {
    let request = pb::PutRequest {
        key,
        value,
        ..Default::default()
    };
    client.put(request).await?;
    Ok(())
}

async fn get(mut client: KvClient<Connection>, key: Bytes, serializable: bool) -> Result<()> {
    let request = pb::RangeRequest {
        key,
        serializable,
        ..Default::default()
    };
    let found = client.range(request).await?.into_inner();
    if found.kvs.len() == 1 {
        Ok(())
    } else {
        Err(format!("{} keys where there is one", found.kvs.len()).into())
    }
}

/// Each client has a key of its own, and puts it if no one else has.
async fn compare_puts(client: KvClient<Connection>, number: usize, value: Bytes, end: Instant) -> Result<Latencies> {
    let key = Bytes::from(format!("txn/{number:028}"));
    let request = pb::RangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    let found = client.clone().range(request).await?.into_inner();
    let seen = found.kvs.first().map_or(0, |kv| kv.mod_revision);
    // The closures of `repeat` lend nothing to what they return, so what is seen goes through a cell.
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(seen));
    load::repeat(end, || {
        let (mut client, key, value, seen) = (client.clone(), key.clone(), value.clone(), seen.clone());
        async move {
            let expected = seen.load(std::sync::atomic::Ordering::Relaxed);
            let answer = client.txn(compare_put(key, value, expected)).await?.into_inner();
            if !answer.succeeded {
                return Err("somebody else has put a client's own key".into());
            }
            let revision = answer.header.map_or(0, |header| header.revision);
            seen.store(revision, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
    })
    .await
}

fn compare_put(key: Bytes, value: Bytes, mod_revision: i64) -> pb::TxnRequest {
    let put = pb::PutRequest {
        key: key.clone(),
        value,
        ..Default::default()
    };
    let range = pb::RangeRequest {
        key: key.clone(),
        ..Default::default()
    };
    let step = |request| pb::RequestOp { request: Some(request) };
    pb::TxnRequest {
        compare: vec![pb::Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key,
            target_union: Some(TargetUnion::ModRevision(mod_revision)),
            ..Default::default()
        }],
        success: vec![step(pb::request_op::Request::RequestPut(put))],
        failure: vec![step(pb::request_op::Request::RequestRange(range))],
    }
}

/// A stream of its own, and one lease.
async fn keep_alive(mut client: LeaseClient<Connection>, end: Instant) -> Result<Latencies> {
    let request = pb::LeaseGrantRequest {
        ttl: LEASE_SECONDS,
        id: 0,
    };
    let id = client.lease_grant(request).await?.into_inner().id;
    let (sender, receiver) = mpsc::channel(1);
    let ask = pb::LeaseKeepAliveRequest { id };
    // The stream is answered only once something is asked.
    sender.send(ask).await?;
    let mut answers = client
        .lease_keep_alive(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    answers.message().await?;
    let mut latencies = Vec::with_capacity(1 << 12);
    let mut now = Instant::now();
    while now < end {
        sender.send(ask).await?;
        let answer = answers.message().await?.ok_or("the stream of keep-alives ended")?;
        if answer.ttl != LEASE_SECONDS {
            return Err(format!("a lease of {LEASE_SECONDS} s was renewed for {} s", answer.ttl).into());
        }
        let then = std::mem::replace(&mut now, Instant::now());
        latencies.push(load::micros(now - then));
    }
    client.lease_revoke(pb::LeaseRevokeRequest { id }).await?;
    Ok(latencies)
}

/// The key of 32 bytes that has this number.
pub fn key(number: usize) -> Bytes {
    Bytes::from(format!("bench/{number:026}"))
}

/// Puts the first `keys` keys, many at once; returns how long it took.
pub async fn fill(contender: &Contender, keys: usize, value_bytes: usize) -> Result<Duration> {
    let address = contender.leader_address().await?;
    let connections = Connection::open_many(&address, FILLING_CLIENTS / CLIENTS_PER_CONNECTION).await?;
    let value = Bytes::from(vec![b'f'; value_bytes]);
    let begun = Instant::now();
    let tasks: Vec<_> = (0..FILLING_CLIENTS)
        .map(|first| {
            let connection = connections[first % connections.len()].clone();
            let origin = connection.origin.clone();
            let client = KvClient::with_origin(connection, origin);
            let value = value.clone();
            tokio::spawn(async move {
                for number in (first..keys).step_by(FILLING_CLIENTS) {
                    put(client.clone(), key(number), value.clone()).await?;
                }
                Result::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(begun.elapsed())
}

/// A small generator of chance (xorshift): which key is next must cost nothing, and be the same for both servers.
struct Chance(u64);

impl Chance {
    fn new(seed: usize) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ ((seed as u64 + 1) << 17))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
