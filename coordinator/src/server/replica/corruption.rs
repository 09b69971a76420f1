//! Members compare their keys: before one serves, now and then, and after compactions ([`crate::corruption`]).
//!
//! All three are off unless a flag asks for them ([`crate::server::settings::features`]), as in etcd, because each hash reads the whole store.
//! Anyone who is found wrong gets the alarm CORRUPT through the log, upon which no one takes writes until an operator has looked.
//! A member that finds out before it serves ends instead.

use std::sync::Arc;
use std::time::Duration;

use coordinator_wire::coordinatorpb::peer_call::Call;
use coordinator_wire::coordinatorpb::{self, PeerAnswer, PeerCall};
use coordinator_wire::etcdserverpb as pb;
use prost::Message;

use crate::Error;
use crate::auth;
use crate::corruption::{self, KeyHash, Verdict};
use crate::machine::Request;
use crate::server::replica::hashing;
use crate::server::replica::node::Node;
use crate::server::replica::refusal::refusal_of;

/// What another member said, or why it did not.
type Answer = Result<KeyHash, String>;

/// The answer to another member that asks.
pub(in crate::server) async fn answer(node: &Node, request: pb::HashKvRequest) -> Result<PeerAnswer, Error> {
    let hash = hashing::hash_at(node, request.revision).await?;
    let key_hash = Some(coordinatorpb::KeyHash {
        hash: hash.hash,
        revision: hash.revision,
        compacted: hash.compacted,
        current: hash.current,
    });
    Ok(PeerAnswer {
        key_hash,
        ..Default::default()
    })
}

/// Compares this member with the others before it serves. `Err` is why it must not.
pub(in crate::server) async fn check_at_start(node: &Arc<Node>) -> Result<(), String> {
    let id = format!("{:x}", node.identity.member);
    tracing::info!(local_member_id = %id, "starting initial corruption check");
    let own = hashing::hash_at(node, 0).await;
    let own = own.map_err(|error| format!("{id} failed to fetch hash ({error})"))?;
    let mut differing = 0;
    for (member, answer) in ask_all(node, own.revision).await {
        let peer = format!("{member:x}");
        match answer {
            Ok(other) if corruption::differs(&own, &other) => {
                differing += 1;
                tracing::warn!(%peer, ?own, ?other, "found different hash values from remote peer");
            }
            Ok(other) if other.compacted != own.compacted => {
                tracing::warn!(%peer, ?own, ?other, "found different compact revision values from remote peer");
            }
            Ok(_) => {}
            Err(reason) => tracing::warn!(%peer, reason, "cannot fetch hash from remote peer"),
        }
    }
    if differing > 0 {
        return Err(format!("{id} found data inconsistency with peers"));
    }
    tracing::info!(local_member_id = %id, "initial corruption checking passed; no corruption");
    Ok(())
}

/// While this member leads, compares all members every `interval`.
pub(in crate::server) async fn check_now_and_then(node: Arc<Node>, interval: Duration, shutdown: host::Shutdown) {
    tracing::info!(?interval, "enabled corruption checking");
    while passes(interval, &shutdown).await {
        if node.raft().gauges().is_leader()
            && let Err(error) = check(&node).await
        {
            tracing::warn!(%error, "failed to check hash KV");
        }
    }
}

async fn check(node: &Arc<Node>) -> Result<(), Error> {
    let before = hashing::hash_at(node, 0).await?;
    let answers = ask_all(node, before.revision).await;
    node.linearizable_read().await?;
    let after = hashing::hash_at(node, 0).await?;
    let answered = answers
        .into_iter()
        .filter_map(|(member, answer)| Some((member, answer.ok()?)));
    let others: Vec<(u64, KeyHash)> = answered.collect();
    let found = corruption::mismatches(node.identity.member, &before, &after, &others);
    for mismatch in &found {
        let member = format!("{:x}", mismatch.member);
        tracing::warn!(%member, leader = ?before, ?others, "{}", mismatch.reason);
    }
    if let Some(first) = found.first() {
        raise(node, first.member).await;
    }
    tracing::info!(number_of_peers_checked = others.len(), "finished peer corruption check");
    Ok(())
}

/// While this member leads, compares what compactions were about, every `interval`.
pub(in crate::server) async fn check_compactions(node: Arc<Node>, interval: Duration, shutdown: host::Shutdown) {
    let mut checked = 0;
    while passes(interval, &shutdown).await {
        if node.raft().gauges().is_leader() {
            checked = check_since(&node, checked).await;
        }
    }
}

/// Compares the newest compaction that all members have; returns up to where all was well.
async fn check_since(node: &Arc<Node>, checked: i64) -> i64 {
    tracing::info!("starting compact hash check");
    let own = node.identity.member;
    let unchecked = node.hashes.of_compactions().into_iter();
    let unchecked: Vec<KeyHash> = unchecked.take_while(|hash| hash.revision > checked).collect();
    let (mut looked_at, mut reached) = (0, checked);
    for hash in unchecked {
        looked_at += 1;
        let answers = ask_all(node, hash.revision).await;
        if answers.is_empty() {
            continue;
        }
        let answers = answers.into_iter().map(|(member, answer)| (member, answer.ok()));
        let others: Vec<(u64, Option<KeyHash>)> = answers.collect();
        match corruption::verdict(own, &hash, &others) {
            Verdict::Same => {
                let peers = others.len();
                tracing::info!(
                    number_of_peers_checked = peers,
                    revision = hash.revision,
                    "successfully checked hash on whole cluster"
                );
                reached = hash.revision;
                break;
            }
            Verdict::Incomplete => {
                tracing::warn!(
                    revision = hash.revision,
                    ?others,
                    "skipped revision in compaction hash check; was not able to check all peers"
                );
            }
            Verdict::Corrupt(members) => {
                tracing::error!(leader = ?hash, ?others, "Detected compaction hash mismatch");
                for member in members {
                    raise(node, member).await;
                }
                break;
            }
            Verdict::Divided => {
                tracing::error!(
                    leader = ?hash,
                    ?others,
                    "Detected compaction hash mismatch but cannot identify the corrupted members, so intentionally set the memberID as 0"
                );
                raise(node, 0).await;
                break;
            }
        }
    }
    tracing::info!(number_of_hashes_checked = looked_at, "finished compaction hash check");
    reached
}

/// Whether `interval` passed before the end.
async fn passes(interval: Duration, shutdown: &host::Shutdown) -> bool {
    tokio::select! {
        () = shutdown.requested() => false,
        () = tokio::time::sleep(interval) => true,
    }
}

async fn raise(node: &Node, member: u64) {
    let alarm = Request::Alarm(pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate.into(),
        member_id: member,
        alarm: pb::AlarmType::Corrupt.into(),
    });
    if let Err(error) = node.propose(auth::root(), alarm).await {
        tracing::warn!(member = format!("{member:x}"), %error, "failed to raise the CORRUPT alarm; retrying");
    }
}

/// Asks all other members for their hash at `revision`.
async fn ask_all(node: &Arc<Node>, revision: i64) -> Vec<(u64, Answer)> {
    let own = node.identity.member;
    let mut others = node.machine().members().list();
    others.retain(|member| member.id != own && !member.peer_ur_ls.is_empty());
    let asking = others.iter().map(|member| ask(node, member, revision));
    let answers = futures::future::join_all(asking).await;
    others.iter().map(|member| member.id).zip(answers).collect()
}

/// Over the stream to it, or, where there is none yet, at its peer URLs.
async fn ask(node: &Node, member: &pb::Member, revision: i64) -> Answer {
    let call = PeerCall {
        call: Some(Call::HashKv(pb::HashKvRequest { revision })),
    };
    let body: bytes::Bytes = call.encode_to_vec().into();
    if node.transport.is_connected(member.id) {
        let timeout = node.limits.request_timeout;
        let answer = node.transport.call(member.id, body, timeout).await;
        return hash_in(answer.ok_or("it does not answer")?);
    }
    let mut last = Err("it has no peer URL".to_owned());
    for url in &member.peer_ur_ls {
        last = match node.transport.ask(url, body.clone()).await {
            Ok((cluster, _)) if cluster != node.identity.cluster => Err(format!("{url}: cluster ID mismatch")),
            Ok((_, answer)) => hash_in(answer),
            Err(error) => Err(format!("{url}: {error}")),
        };
        if last.is_ok() {
            break;
        }
    }
    last
}

fn hash_in(answer: bytes::Bytes) -> Answer {
    let answer = PeerAnswer::decode(answer).map_err(|error| error.to_string())?;
    match (answer.refusal.as_str(), answer.key_hash) {
        ("", Some(hash)) => Ok(KeyHash {
            hash: hash.hash,
            revision: hash.revision,
            compacted: hash.compacted,
            current: hash.current,
        }),
        ("", None) => Err("it does not support HashKV".to_owned()),
        (refusal, _) => Err(refusal_of(refusal).to_string()),
    }
}
