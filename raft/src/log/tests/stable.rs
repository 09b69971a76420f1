//! Term, vote and entries across crashes, other histories and snapshots.

use disk::faulty::{FaultyDisk, Loss};
use proptest::prelude::*;

use super::super::stable::{ENTRIES_DIRECTORY, Entry, Found, HARD_STATE_DIRECTORY, HardState, Position, StableStorage};
use super::*;

const FOUNDED: Position = Position { index: 1, term: 1 };

fn open_stable(disk: &MemoryDisk, position: Position) -> Result<(StableStorage, Found), LogError> {
    open_stable_on(Arc::new(disk.clone()), position)
}

fn open_stable_on(disk: Arc<dyn Disk>, position: Position) -> Result<(StableStorage, Found), LogError> {
    let options = Options {
        segment_bytes: 600,
        ..Options::default()
    };
    StableStorage::open(disk, DIR, &options, position)
}

fn entry(index: u64, term: u64) -> Entry {
    Entry {
        index,
        term,
        kind: 1,
        payload: Bytes::from(format!("entry {index} of term {term}")),
    }
}

fn entries(indexes: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    indexes.map(|index| entry(index, term)).collect()
}

fn hard(term: u64, vote: u64) -> HardState {
    HardState { term, vote, commit: 1 }
}

fn files(disk: &MemoryDisk, directory: &str) -> Vec<std::path::PathBuf> {
    let directory = Path::new(DIR).join(directory);
    let entries = disk.list(&directory).unwrap();
    entries.into_iter().map(|entry| directory.join(entry.name)).collect()
}

#[test]
fn term_vote_and_entries_come_back() {
    let disk = MemoryDisk::new();
    let (mut storage, found) = open_stable(&disk, FOUNDED).unwrap();
    assert_eq!(
        found.hard_state,
        HardState {
            term: 1,
            vote: 0,
            commit: 1
        }
    );
    storage.save_hard_state(hard(3, 7)).unwrap();
    storage.save(&entries(2..5, 3), 2).unwrap();
    storage.save(&entries(5..30, 3), 4).unwrap();
    drop(storage);
    disk.crash(Loss::All);
    let (storage, found) = open_stable(&disk, FOUNDED).unwrap();
    assert_eq!(
        found.hard_state,
        HardState {
            term: 3,
            vote: 7,
            commit: 4
        }
    );
    assert_eq!(found.entries, entries(2..30, 3));
    let terms: Vec<_> = [0, 1, 2, 29, 30].map(|index| storage.term(index)).into();
    assert_eq!(terms, [None, Some(1), Some(3), Some(3), None]);
    assert_eq!(storage.read(4, 9, 1).unwrap(), entries(4..5, 3), "at least one");
    assert_eq!(storage.read(4, 9, usize::MAX).unwrap(), entries(4..9, 3));
}

/// The last acknowledged entry is known to be committed although no later one says so.
#[test]
fn a_commit_index_is_known_after_a_kill_and_a_torn_one_is_none() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save_hard_state(hard(3, 7)).unwrap();
    storage.save(&entries(2..30, 3), 4).unwrap();
    for index in [20, 29] {
        storage.note_commit(index);
        assert_eq!(open_stable(&disk, FOUNDED).unwrap().1.hard_state.commit, index);
    }
    let path = Path::new(DIR).join("commit");
    let bytes = disk.read(&path).unwrap();
    for len in 0..bytes.len() {
        disk.write(&path, &bytes[..len]);
        assert_eq!(open_stable(&disk, FOUNDED).unwrap().1.hard_state.commit, 4, "{len}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        disk.write(&path, &flipped);
        assert_eq!(open_stable(&disk, FOUNDED).unwrap().1.hard_state.commit, 4, "{bit}");
    }
}

#[test]
fn another_history_replaces_the_end_and_the_vote_stays() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save_hard_state(hard(2, 1)).unwrap();
    storage.save(&entries(2..60, 2), 5).unwrap();
    storage.save_hard_state(hard(4, 9)).unwrap();
    storage.save(&entries(20..23, 4), 20).unwrap();
    drop(storage);
    disk.crash(Loss::All);
    let (storage, found) = open_stable(&disk, FOUNDED).unwrap();
    assert_eq!((found.hard_state.term, found.hard_state.vote), (4, 9));
    assert_eq!(found.entries, [entries(2..20, 2), entries(20..23, 4)].concat());
    assert_eq!(
        (storage.term(19), storage.term(20), storage.term(23)),
        (Some(2), Some(4), None)
    );
}

#[test]
fn a_crash_between_the_cut_and_the_new_end_keeps_the_vote() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save(&entries(2..10, 1), 5).unwrap();
    storage.save_hard_state(hard(2, 3)).unwrap();
    storage.append(&entries(6..8, 2), 5).unwrap();
    drop(storage);
    disk.crash(Loss::All);
    let (_, found) = open_stable(&disk, FOUNDED).unwrap();
    assert_eq!((found.hard_state.term, found.hard_state.vote), (2, 3));
    assert_eq!(found.entries, entries(2..6, 1));
}

#[test]
fn the_votes_log_stays_small() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    for term in 2..1_000 {
        storage.save_hard_state(hard(term, term % 3)).unwrap();
    }
    assert_eq!(files(&disk, HARD_STATE_DIRECTORY).len(), 1);
    drop(storage);
    assert_eq!(open_stable(&disk, FOUNDED).unwrap().1.hard_state.term, 999);
}

#[test]
fn a_snapshot_restarts_the_log_behind_it() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save_hard_state(hard(5, 2)).unwrap();
    storage.save(&entries(2..40, 1), 9).unwrap();
    let position = Position { index: 1_000, term: 4 };
    storage.begin_install(position).unwrap();
    storage.finish_install().unwrap();
    assert_eq!((storage.first_index(), storage.next_index()), (1_001, 1_001));
    assert_eq!(storage.term(1_000), Some(4));
    storage.save(&entries(1_001..1_003, 5), 1_000).unwrap();
    drop(storage);
    let (_, found) = open_stable(&disk, position).unwrap();
    assert_eq!(found.entries, entries(1_001..1_003, 5));
    assert_eq!(
        found.hard_state,
        HardState {
            term: 5,
            vote: 2,
            commit: 1_000
        }
    );
}

#[test]
fn entries_that_follow_the_snapshot_in_its_own_history_stay() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save_hard_state(hard(2, 2)).unwrap();
    storage.save(&entries(2..40, 2), 9).unwrap();
    storage.begin_install(Position { index: 20, term: 2 }).unwrap();
    storage.finish_install().unwrap();
    assert_eq!(storage.next_index(), 40);
    drop(storage);
    let (_, found) = open_stable(&disk, Position { index: 20, term: 2 }).unwrap();
    assert_eq!(found.entries, entries(21..40, 2));
}

/// The machine stops after each write of an installation: it is either not begun or finished at the next start.
#[test]
fn an_installation_is_finished_or_not_begun_wherever_it_stops() {
    let position = Position { index: 500, term: 3 };
    let mut finished = 0;
    for stop in 0..40 {
        let memory = MemoryDisk::new();
        let faulty = FaultyDisk::new(Arc::new(memory.clone()));
        let (mut storage, _) = open_stable_on(Arc::new(faulty.clone()), FOUNDED).unwrap();
        storage.save_hard_state(hard(3, 2)).unwrap();
        storage.save(&entries(2..60, 2), 9).unwrap();
        let begun = storage.begin_install(position).is_ok();
        // The state machine's file is replaced here, then the log is removed file by file.
        faulty.set_space_left((stop < 25).then_some(stop));
        let done = begun && storage.finish_install().is_ok();
        finished += u64::from(done);
        drop(storage);
        memory.crash(Loss::Sectors { seed: stop });
        let (storage, found) = open_stable(&memory, position).unwrap_or_else(|error| panic!("{stop}: {error}"));
        assert_eq!((storage.first_index(), storage.next_index()), (501, 501), "{stop}");
        assert_eq!((found.hard_state.term, found.hard_state.vote), (3, 2), "{stop}");
        // Not replaced: all that was synced is there still, unless its removal has begun.
        assert!(found.entries.is_empty());
    }
    assert!(finished > 0, "some were not interrupted");
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save(&entries(2..60, 1), 9).unwrap();
    storage.begin_install(position).unwrap();
    drop(storage);
    assert_eq!(open_stable(&disk, FOUNDED).unwrap().1.entries, entries(2..60, 1));
}

#[test]
fn a_state_that_does_not_belong_to_the_log_is_refused() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save_hard_state(hard(2, 2)).unwrap();
    for entry in entries(2..60, 2) {
        storage.save(std::slice::from_ref(&entry), 9).unwrap();
    }
    storage.purge(40).unwrap();
    assert!(storage.first_index() > 20);
    drop(storage);
    for position in [
        Position { index: 100, term: 2 },
        Position { index: 50, term: 1 },
        Position { index: 3, term: 2 },
    ] {
        let outcome = open_stable(&disk, position);
        assert!(
            matches!(outcome, Err(LogError::Apart { .. })),
            "{position:?}: {outcome:?}"
        );
    }
    assert_eq!(
        open_stable(&disk, Position { index: 50, term: 2 }).unwrap().1.entries,
        entries(51..60, 2)
    );
}

#[test]
fn entries_without_their_hard_state_are_refused() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save_hard_state(hard(2, 2)).unwrap();
    storage.save(&entries(2..6, 2), 2).unwrap();
    drop(storage);
    for path in files(&disk, HARD_STATE_DIRECTORY) {
        disk.remove_file(&path).unwrap();
    }
    assert!(matches!(open_stable(&disk, FOUNDED), Err(LogError::Corrupt { .. })));
}

/// A vote that was cut anywhere is the one before it, which is right: the newer was never acknowledged.
#[test]
fn a_vote_cut_at_every_byte_is_the_one_before() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save_hard_state(hard(2, 7)).unwrap();
    let path = files(&disk, HARD_STATE_DIRECTORY).remove(0);
    let before = disk.read(&path).unwrap().len();
    storage.save_hard_state(hard(3, 8)).unwrap();
    drop(storage);
    let bytes = disk.read(&path).unwrap();
    for len in before..=bytes.len() {
        disk.write(&path, &bytes[..len]);
        let (_, found) = open_stable(&disk, FOUNDED).unwrap_or_else(|error| panic!("cut at {len}: {error}"));
        let expected = if len == bytes.len() { (3, 8) } else { (2, 7) };
        assert_eq!((found.hard_state.term, found.hard_state.vote), expected, "cut at {len}");
    }
}

/// Nothing is ever read wrong: a flipped bit of either log is refused, and names its file.
#[test]
fn every_flipped_bit_of_votes_and_entries_is_refused() {
    let disk = MemoryDisk::new();
    let (mut storage, _) = open_stable(&disk, FOUNDED).unwrap();
    storage.save_hard_state(hard(2, 7)).unwrap();
    storage.save(&entries(2..8, 2), 1).unwrap();
    storage.save_hard_state(hard(3, 8)).unwrap();
    storage.save(&entries(6..9, 3), 1).unwrap();
    drop(storage);
    for path in [files(&disk, HARD_STATE_DIRECTORY), files(&disk, ENTRIES_DIRECTORY)].concat() {
        let bytes = disk.read(&path).unwrap();
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                disk.write(&path, &flipped);
                let outcome = open_stable(&disk, FOUNDED);
                assert!(
                    matches!(&outcome, Err(LogError::Corrupt { file, .. }) if *file == path),
                    "bit {bit} of byte {position} of {}: {outcome:?}",
                    path.display()
                );
            }
        }
        disk.write(&path, &bytes);
    }
}

#[test]
fn a_full_disk_refuses_a_vote_and_takes_it_later() {
    let memory = MemoryDisk::new();
    let faulty = FaultyDisk::new(Arc::new(memory.clone()));
    let (mut storage, _) = open_stable_on(Arc::new(faulty.clone()), FOUNDED).unwrap();
    storage.save_hard_state(hard(2, 2)).unwrap();
    faulty.set_space_left(Some(10));
    assert!(matches!(storage.save_hard_state(hard(3, 3)), Err(LogError::NoSpace(_))));
    assert!(matches!(storage.save(&entries(2..4, 2), 1), Err(LogError::NoSpace(_))));
    assert_eq!((storage.hard_state().term, storage.next_index()), (2, 2));
    faulty.set_space_left(None);
    storage.save_hard_state(hard(3, 3)).unwrap();
    storage.save(&entries(2..4, 3), 1).unwrap();
    drop(storage);
    let (_, found) = open_stable(&memory, FOUNDED).unwrap();
    assert_eq!((found.hard_state.term, found.entries.len()), (3, 2));
}

#[derive(Debug, Clone)]
enum Step {
    Append { count: u64, sync: bool },
    Replace { back: u64, count: u64 },
    Vote,
    Purge { back: u64 },
    Install { ahead: u64, replaced: bool },
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (1..6u64, any::<bool>()).prop_map(|(count, sync)| Step::Append { count, sync }),
        2 => (1..12u64, 1..4u64).prop_map(|(back, count)| Step::Replace { back, count }),
        2 => Just(Step::Vote),
        1 => (0..20u64).prop_map(|back| Step::Purge { back }),
        1 => (1..30u64, any::<bool>()).prop_map(|(ahead, replaced)| Step::Install { ahead, replaced }),
        3 => any::<u64>().prop_map(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever happens, in whatever order: a term or vote that was saved never goes back, synced entries are there
    /// until they are replaced, and the log belongs to the state beside it.
    #[test]
    fn what_was_saved_survives_every_crash(steps in prop::collection::vec(step(), 1..40)) {
        let disk = MemoryDisk::new();
        let mut position = FOUNDED;
        let (mut storage, _) = open_stable(&disk, position).unwrap();
        let mut term = 2;
        storage.save_hard_state(hard(term, 0)).unwrap();
        // Entries behind the position, and how many of the log's are synced.
        let mut expected: Vec<Entry> = Vec::new();
        let mut synced = storage.next_index();
        for step in steps {
            let next = storage.next_index();
            match step {
                Step::Append { count, sync } => {
                    let new = entries(next..next + count, term);
                    storage.append(&new, position.index).unwrap();
                    expected.extend(new);
                    if sync {
                        storage.sync().unwrap();
                        synced = storage.next_index();
                    }
                }
                Step::Replace { back, count } => {
                    term += 1;
                    storage.save_hard_state(hard(term, 0)).unwrap();
                    let from = next.saturating_sub(back).max(position.index + 1);
                    let new = entries(from..from + count, term);
                    storage.save(&new, position.index).unwrap();
                    expected.retain(|entry| entry.index < from);
                    expected.extend(new);
                    synced = storage.next_index();
                }
                Step::Vote => {
                    term += 1;
                    storage.save_hard_state(hard(term, term % 5)).unwrap();
                }
                Step::Purge { back } => {
                    // Only what the state holds may go.
                    if let Some(entry) = expected.get(back as usize) && entry.index < synced {
                        position = Position { index: entry.index, term: entry.term };
                        expected.retain(|entry| entry.index > position.index);
                    }
                    storage.purge(position.index).unwrap();
                }
                Step::Install { ahead, replaced } => {
                    term += 1;
                    storage.save_hard_state(hard(term, 0)).unwrap();
                    let snapshot = Position { index: next + ahead, term };
                    storage.begin_install(snapshot).unwrap();
                    if replaced {
                        position = snapshot;
                        expected.clear();
                        synced = position.index + 1;
                        if ahead % 2 == 0 {
                            storage.finish_install().unwrap();
                        } else {
                            drop(storage);
                            disk.crash(Loss::Sectors { seed: ahead });
                            storage = open_stable(&disk, position).unwrap().0;
                        }
                    }
                }
                Step::Crash(seed) => {
                    drop(storage);
                    disk.crash(Loss::Sectors { seed });
                    let (reopened, found) = open_stable(&disk, position).unwrap();
                    storage = reopened;
                    prop_assert_eq!(found.hard_state.term, term);
                    prop_assert!(storage.next_index() >= synced);
                    expected.retain(|entry| entry.index < storage.next_index());
                    prop_assert_eq!(&found.entries, &expected);
                    synced = storage.next_index();
                }
            }
            prop_assert_eq!(storage.read(position.index + 1, storage.next_index(), usize::MAX).unwrap(), expected.clone());
            prop_assert_eq!(storage.term(position.index), Some(position.term));
        }
    }
}
