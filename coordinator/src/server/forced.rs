//! `--force-new-cluster`: one member goes on where the majority is lost for good.
//!
//! What is known here to be agreed upon stays, with revisions, ids and term; what may not have been is dropped, as etcd
//! drops it. In its place comes one entry that makes this member the only one, and that counts as agreed upon: it takes the
//! place of the log's end in one step (`StableStorage::replace_end`), so a start that is killed leaves either the old
//! cluster or the new one. From there on all is as usual: consensus begins with a group of one, the entry is applied like
//! any other, and those who were removed are told so when they come back.
//!
//! How far it was agreed upon is what this member had been told when it ended: all that it acknowledged itself, and of what
//! others did all but what they had not said yet. A power loss may take the last second of that knowledge, as in etcd.

use bytes::Bytes;
use coordinator_wire::coordinatorpb::MemberChange;
use coordinator_wire::coordinatorpb::member_change::Change;
use coordinator_wire::etcdserverpb as pb;
use prost::Message;
use raft::consensus::{KIND_MEMBERSHIP, Membership, MembershipEntry, Payload};
use raft::log::{Entry, LogError};

use super::recovery::Recovered;
use crate::members::Members;

/// Makes this member the only one, unless it is already.
pub(super) fn make_alone(recovered: &mut Recovered, own_urls: &[String]) -> Result<(), LogError> {
    let found = &mut recovered.found;
    let applied = recovered.snapshot.last.index;
    let last = found.entries.last().map_or(applied, |entry| entry.index);
    let commit = found.hard_state.commit.min(last);
    let members = as_agreed(recovered.machine.members(), &found.entries, commit);
    let own = recovered.identity.member;
    let is_alone = members.voters().count() == 1 && members.iter().all(|member| member.id == own);
    // A second voter that never came takes the majority of one away, too.
    let is_changing = found
        .entries
        .iter()
        .any(|entry| entry.index > commit && entry.kind == KIND_MEMBERSHIP);
    if is_alone && !is_changing {
        return Ok(());
    }
    let mut member = members.get(own).cloned().unwrap_or_else(|| pb::Member {
        id: own,
        peer_ur_ls: own_urls.to_vec(),
        ..Default::default()
    });
    member.is_learner = false;
    let entry = Entry {
        index: commit + 1,
        // A member that joined and was never told anything is of no term yet.
        term: found.hard_state.term.max(1),
        kind: KIND_MEMBERSHIP,
        payload: alone(member),
    };
    recovered.storage.replace_end(&entry)?;
    tracing::info!(
        commit = entry.index,
        dropped = last - commit,
        removed = members.iter().filter(|member| member.id != own).count(),
        "forcing restart member"
    );
    found.entries.retain(|kept| kept.index <= commit);
    found.entries.push(entry);
    found.hard_state = recovered.storage.hard_state();
    Ok(())
}

/// The members as of the last entry that is known to be agreed upon.
fn as_agreed(applied: &Members, entries: &[Entry], commit: u64) -> Members {
    let mut members = applied.clone();
    let agreed = entries.iter().take_while(|entry| entry.index <= commit);
    for entry in agreed.filter(|entry| entry.kind == KIND_MEMBERSHIP) {
        if let Some(Payload::Membership(change)) = Payload::decode(entry.kind, entry.payload.clone()) {
            members.apply(&MemberChange::decode(change.context).unwrap_or_default());
        }
    }
    members
}

/// The payload that makes one the only member, for consensus and for the list of members alike.
fn alone(member: pb::Member) -> Bytes {
    let membership = Membership::new([member.id], []);
    let change = MemberChange {
        change: Some(Change::Only(member)),
    };
    let context = change.encode_to_vec().into();
    Payload::Membership(Box::new(MembershipEntry { membership, context })).encode()
}
