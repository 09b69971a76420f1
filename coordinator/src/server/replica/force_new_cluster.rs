//! `--force-new-cluster`: one member goes on where the majority is lost for good.
//!
//! What is known here to be committed stays, with revisions, ids and term; what may not have been is dropped, as etcd
//! drops it. In its place comes one entry that makes this member the only one, and that counts as committed: it takes the
//! place of the log's end in one step (`StableStorage::replace_end`), so a start that is killed leaves either the old
//! cluster or the new one. From there on all is as usual: consensus begins with a group of one, the entry is applied like
//! any other, and those who were removed are told so when they come back.
//!
//! How far it was committed is what this member had been told when it ended: all that it acknowledged itself, and of what
//! others did all but what they had not said yet. A power loss may take the last second of that knowledge, as in etcd.

use bytes::Bytes;
use coordinator_wire::coordinatorpb::MemberChange;
use coordinator_wire::coordinatorpb::member_change::Change;
use coordinator_wire::etcdserverpb as pb;
use prost::Message;
use raft::consensus::{KIND_MEMBERSHIP, Membership, MembershipEntry, Payload};
use raft::log::{Entry, LogError};

use crate::members::Members;
use crate::server::storage::recovery::Recovered;

/// Makes this member the only one, unless it is already.
pub(in crate::server) fn force(recovered: &mut Recovered, own_urls: &[String]) -> Result<(), LogError> {
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

/// The members as of the last entry that is known to be committed.
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use clap::Parser;
    use disk::Disk;
    use disk::faulty::MemoryDisk;
    use raft::log::{HardState, Position, StableStorage};

    use super::*;
    use crate::server::serve::{start, stop};
    use crate::server::settings::data_directory::Directories;
    use crate::server::settings::flags::{Arguments, Settings};
    use crate::server::storage::store_file::{Identity, InitialState};

    const DIRECTORY: &str = "/data";
    const OWN: u64 = 7;

    fn member(id: u64) -> pb::Member {
        pb::Member {
            id,
            peer_ur_ls: vec![format!("http://h:{id}")],
            ..Default::default()
        }
    }

    fn change(index: u64, voters: &[u64], change: Change) -> Entry {
        let membership = Membership::new(voters.iter().copied(), []);
        let change = MemberChange { change: Some(change) };
        let context = change.encode_to_vec().into();
        Entry {
            index,
            term: 2,
            kind: KIND_MEMBERSHIP,
            payload: Payload::Membership(Box::new(MembershipEntry { membership, context })).encode(),
        }
    }

    fn blank(index: u64) -> Entry {
        Entry {
            index,
            term: 2,
            kind: Payload::Blank.kind(),
            payload: Bytes::new(),
        }
    }

    /// Starts a member with the flag on a log that holds `entries` behind what it was founded with; the members then, and
    /// the last entry.
    fn forced(disk: &Arc<dyn Disk>, founded: &[u64], entries: &[Entry], commit: u64) -> (Vec<pb::Member>, u64) {
        let founding = InitialState {
            identity: Identity {
                cluster: 1,
                member: OWN,
            },
            members: Members::found(founded.iter().copied().map(member)),
            applied: u64::from(!founded.is_empty()),
        };
        disk.create_dir_all(Path::new(DIRECTORY)).expect("a directory");
        if !entries.is_empty() {
            let founded = Position { index: 1, term: 1 };
            let opened = StableStorage::open(Arc::clone(disk), DIRECTORY, &Default::default(), founded);
            let (mut storage, _) = opened.expect("it is new");
            let hard_state = HardState {
                term: 2,
                vote: 0,
                commit: 1,
            };
            storage.save_hard_state(hard_state).expect("durable");
            storage.save(entries, commit).expect("durable");
        }
        let flags = ["coordinator", "--force-new-cluster"];
        let arguments = Arguments::try_parse_from(flags).expect("valid");
        let settings = Settings::from_arguments(arguments).expect("valid");
        let connect = Arc::new(raft::node::Plain);
        let (node, threads) = start(
            &settings,
            &Directories::both(Path::new(DIRECTORY)),
            disk,
            &founding,
            connect,
        )
        .expect("it starts");
        let members = node.machine().members().list();
        let last = node.raft().gauges().commit();
        assert!(node.raft().gauges().is_leader(), "it needs nobody else");
        stop(&node, threads);
        (members, last)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_not_agreed_upon_is_dropped_and_a_second_start_changes_nothing() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let removal = change(4, &[OWN, 8], Change::Remove(9));
        let (members, last) = forced(&disk, &[OWN, 8, 9], &[blank(2), blank(3), removal], 3);
        assert_eq!(members, [member(OWN)]);
        // The entry that makes it the only one, and the first of its new term.
        assert_eq!(last, 5);
        let (members, last) = forced(&disk, &[OWN, 8, 9], &[], 0);
        assert_eq!(members, [member(OWN)]);
        assert_eq!(last, 6, "one more term, and nothing else");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn members_that_were_agreed_upon_after_the_store_was_written_go_too() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let added = change(2, &[OWN, 8], Change::Add(member(8)));
        let (members, _) = forced(&disk, &[OWN], &[added, blank(3)], 3);
        assert_eq!(members, [member(OWN)]);
    }

    /// Who adds a member that never comes to one that is alone may have lost the majority by it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_addition_that_was_never_agreed_upon_is_taken_back() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let adding = change(3, &[OWN, 8], Change::Add(member(8)));
        let (members, last) = forced(&disk, &[OWN], &[blank(2), adding], 2);
        assert_eq!((members, last), (vec![member(OWN)], 4));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_member_that_was_never_told_anything_begins_with_nothing() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let (members, _) = forced(&disk, &[], &[], 0);
        assert_eq!(members.len(), 1);
        assert_eq!((members[0].id, members[0].is_learner), (OWN, false));
        assert!(!members[0].peer_ur_ls.is_empty(), "as the flags have them");
    }
}
