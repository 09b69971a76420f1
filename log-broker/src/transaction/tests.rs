//! The coordinator's decisions as stories: what is asked, and what comes of it.

use std::collections::VecDeque;

use super::*;

const TIMEOUT_MS: i32 = 60_000;

/// The markers of a transaction: whose, whether it committed, and where.
type Ended = (Identity, bool, Vec<(String, i32)>);

/// A state machine whose records are stored, and whose markers are written, when a test says so.
struct World {
    transactions: Transactions,
    now_ms: i64,
    next_ticket: Ticket,
    next_producer_id: i64,
    effects: VecDeque<Effect>,
    /// Stored records, the newest of each transactional id last.
    log: Vec<(String, Option<TransactionValue>)>,
    markers: Vec<Ended>,
}

fn settings() -> Settings {
    Settings {
        timeout_ms_max: 900_000,
        expiration_ms: 10_000_000,
    }
}

impl World {
    fn new() -> Self {
        Self {
            transactions: Transactions::new(settings()),
            now_ms: 1_000,
            next_ticket: 0,
            next_producer_id: 100,
            effects: VecDeque::new(),
            log: Vec::new(),
            markers: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) {
        self.effects.extend(self.transactions.step(event, self.now_ms));
    }

    /// Carries out what there is, up to the answer to `ticket`; markers only where `with_markers`.
    fn run(&mut self, ticket: Option<Ticket>, with_markers: bool) -> Option<Result<Identity, ErrorCode>> {
        let mut answer = None;
        let mut left = VecDeque::new();
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Answer(to, outcome) => {
                    assert_eq!(Some(to), ticket);
                    answer = Some(outcome);
                }
                Effect::Append {
                    transactional_id,
                    value,
                } => {
                    self.log.push((transactional_id.clone(), value));
                    self.step(Event::Appended {
                        transactional_id,
                        succeeded: true,
                    });
                }
                Effect::WriteMarkers {
                    transactional_id,
                    producer,
                    is_commit,
                    partitions,
                } if with_markers => {
                    self.markers.push((producer, is_commit, partitions));
                    self.step(Event::MarkersWritten {
                        transactional_id,
                        producer_id: producer.producer_id,
                    });
                }
                markers => left.push_back(markers),
            }
        }
        self.effects = left;
        answer
    }

    fn ask(&mut self, with_markers: bool, event: impl FnOnce(Ticket, i64) -> Event) -> Result<Identity, ErrorCode> {
        self.next_ticket += 1;
        self.next_producer_id += 1;
        let event = event(self.next_ticket, self.next_producer_id);
        self.step(event);
        self.run(Some(self.next_ticket), with_markers).expect("an answer")
    }

    fn init(&mut self, expected: Option<Identity>) -> Result<Identity, ErrorCode> {
        self.ask(true, |ticket, fresh| Event::InitProducerId {
            ticket,
            transactional_id: "tx".to_owned(),
            timeout_ms: TIMEOUT_MS,
            expected,
            fresh_producer_id: Some(fresh),
        })
    }

    fn add(&mut self, producer: Identity, partition: i32, version: i16) -> Result<Identity, ErrorCode> {
        self.ask(true, |ticket, _| Event::AddPartitions {
            ticket,
            transactional_id: "tx".to_owned(),
            producer,
            partitions: vec![("t".to_owned(), partition)],
            version,
        })
    }

    fn end(&mut self, producer: Identity, is_commit: bool, version: i16) -> Result<Identity, ErrorCode> {
        self.end_with(true, producer, is_commit, version)
    }

    fn end_with(
        &mut self,
        markers: bool,
        producer: Identity,
        is_commit: bool,
        version: i16,
    ) -> Result<Identity, ErrorCode> {
        self.ask(markers, |ticket, fresh| Event::EndTransaction {
            ticket,
            transactional_id: "tx".to_owned(),
            producer,
            is_commit,
            version,
            fresh_producer_id: Some(fresh),
        })
    }

    fn state(&self) -> &'static str {
        self.transactions.describe("tx").map_or("none", |found| found.state)
    }

    /// The broker ends; another one reads the log.
    fn restart(&mut self) {
        self.effects.clear();
        self.transactions = Transactions::new(settings());
        for (transactional_id, value) in self.log.clone() {
            assert!(self.transactions.restore(transactional_id, value));
        }
        let effects = self.transactions.loaded();
        self.effects.extend(effects);
    }
}

fn producer(producer_id: i64, producer_epoch: i16) -> Identity {
    Identity {
        producer_id,
        producer_epoch,
    }
}

#[test]
fn a_transaction_of_the_older_protocol_keeps_its_epoch() {
    let mut world = World::new();
    let first = world.init(None).unwrap();
    assert_eq!(first, producer(101, 0));
    assert_eq!(world.end(first, true, 0), Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(world.add(first, 0, 0), Ok(first));
    assert_eq!(world.add(first, 1, 0), Ok(first));
    let stored = world.log.len();
    assert_eq!(world.add(first, 1, 0), Ok(first));
    assert_eq!(world.log.len(), stored); // Nothing new, nothing stored.
    assert_eq!(world.end(first, true, 0), Ok(first));
    assert_eq!(world.state(), "CompleteCommit");
    let partitions = vec![("t".to_owned(), 0), ("t".to_owned(), 1)];
    assert_eq!(world.markers, [(first, true, partitions)]);
    // A repeated commit is fine, an abort is not.
    assert_eq!(world.end(first, true, 0), Ok(first));
    assert_eq!(world.end(first, false, 0), Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(world.init(None), Ok(producer(101, 1)));
    assert_eq!(world.add(first, 0, 0), Err(ErrorCode::PRODUCER_FENCED));
    let stranger = producer(7, 1);
    assert_eq!(world.add(stranger, 0, 0), Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
}

#[test]
fn each_end_of_the_newer_protocol_bumps_the_epoch() {
    let mut world = World::new();
    let first = world.init(None).unwrap();
    world.add(first, 0, 2).unwrap();
    let second = world.end(first, true, 2).unwrap();
    assert_eq!(second, producer(101, 1));
    assert_eq!(world.markers, [(second, true, vec![("t".to_owned(), 0)])]);
    // The answer was lost: the client asks again with the epoch that it knows.
    assert_eq!(world.end(first, true, 2), Ok(second));
    assert_eq!(world.end(first, false, 2), Err(ErrorCode::INVALID_TXN_STATE));
    // With nothing written there is nothing to commit, but an abort gives an epoch.
    assert_eq!(world.end(second, true, 2), Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(world.end(second, false, 2), Ok(producer(101, 2)));
    assert_eq!(world.end(second, false, 2), Ok(producer(101, 2)));
    assert_eq!(world.add(second, 0, 2), Err(ErrorCode::PRODUCER_FENCED));
}

#[test]
fn used_up_epochs_are_followed_by_a_new_producer_id() {
    for version in [0, 2] {
        let mut world = World::new();
        let mut current = world.init(None).unwrap();
        while current.producer_epoch < EPOCH_MAX {
            current = world.init(Some(current)).unwrap();
        }
        let last = current;
        world.add(last, 0, version).unwrap();
        let next = world.end(last, true, version).unwrap();
        if version == 2 {
            assert_eq!(next.producer_epoch, 0);
            assert_ne!(next.producer_id, last.producer_id);
            assert_eq!(
                world.markers,
                [(producer(101, i16::MAX), true, vec![("t".to_owned(), 0)])]
            );
            assert_eq!(world.end(last, true, 2), Ok(next));
        } else {
            assert_eq!(next, last);
            let next = world.init(Some(last)).unwrap();
            assert_eq!(next.producer_epoch, 0);
            assert_ne!(next.producer_id, last.producer_id);
        }
    }
}

#[test]
fn a_second_producer_aborts_what_the_first_has_open() {
    for version in [0, 2] {
        let mut world = World::new();
        let first = world.init(None).unwrap();
        world.add(first, 0, version).unwrap();
        assert_eq!(world.init(None), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        assert_eq!(world.state(), "CompleteAbort");
        // The marker's epoch is one that no producer ever had.
        assert_eq!(world.markers, [(producer(101, 1), false, vec![("t".to_owned(), 0)])]);
        assert_eq!(world.init(None), Ok(producer(101, 2)));
        for outcome in [world.add(first, 0, version), world.end(first, true, version)] {
            assert_eq!(outcome, Err(ErrorCode::PRODUCER_FENCED));
        }
        assert_eq!(world.init(Some(first)), Err(ErrorCode::PRODUCER_FENCED));
    }
}

#[test]
fn who_asks_again_for_an_epoch_gets_the_same_one() {
    let mut world = World::new();
    let first = world.init(None).unwrap();
    let second = world.init(Some(first)).unwrap();
    assert_eq!(second, producer(101, 1));
    assert_eq!(world.init(Some(first)), Ok(second));
    assert_eq!(world.init(Some(producer(9, 0))), Err(ErrorCode::PRODUCER_FENCED));
}

#[test]
fn a_transaction_that_times_out_is_aborted_and_fenced() {
    let mut world = World::new();
    let first = world.init(None).unwrap();
    world.add(first, 0, 0).unwrap();
    world.now_ms += i64::from(TIMEOUT_MS);
    world.step(Event::Tick);
    assert!(world.effects.is_empty());
    world.now_ms += 1;
    world.step(Event::Tick);
    assert_eq!(world.run(None, true), None);
    assert_eq!(world.state(), "CompleteAbort");
    assert_eq!(world.end(first, true, 0), Err(ErrorCode::PRODUCER_FENCED));
    for timeout_ms in [0, -1, 900_001] {
        let refused = world.ask(true, |ticket, fresh| Event::InitProducerId {
            ticket,
            transactional_id: "tx".to_owned(),
            timeout_ms,
            expected: None,
            fresh_producer_id: Some(fresh),
        });
        assert_eq!(refused, Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT));
    }
}

#[test]
fn a_decided_transaction_is_ended_after_a_restart() {
    for (is_commit, version) in [(true, 0), (false, 0), (true, 2), (false, 2)] {
        let mut world = World::new();
        let first = world.init(None).unwrap();
        world.add(first, 0, version).unwrap();
        let next = world.end_with(false, first, is_commit, version).unwrap();
        // Until its markers are written, nothing else goes on.
        let begun_again = world.ask(false, |ticket, _| Event::InitProducerId {
            ticket,
            transactional_id: "tx".to_owned(),
            timeout_ms: TIMEOUT_MS,
            expected: None,
            fresh_producer_id: None,
        });
        assert_eq!(begun_again, Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        let again = world.end_with(false, first, is_commit, version);
        assert_eq!(again, Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        world.restart();
        world.run(None, true);
        assert_eq!(world.markers, [(next, is_commit, vec![("t".to_owned(), 0)])]);
        assert_eq!(world.end(first, is_commit, version), Ok(next));
        world.restart();
        assert!(world.effects.is_empty());
        assert_eq!(world.end(first, is_commit, version), Ok(next));
        assert!(world.end(first, !is_commit, version).is_err());
    }
}

#[test]
fn a_change_that_is_not_stored_has_not_happened() {
    let mut world = World::new();
    let first = world.init(None).unwrap();
    world.add(first, 0, 0).unwrap();
    let end = |ticket| Event::EndTransaction {
        ticket,
        transactional_id: "tx".to_owned(),
        producer: first,
        is_commit: true,
        version: 0,
        fresh_producer_id: None,
    };
    world.step(end(90));
    // Another request of the same transactional id waits for the first one's end.
    world.step(end(91));
    world.step(Event::Appended {
        transactional_id: "tx".to_owned(),
        succeeded: false,
    });
    let answers: Vec<Effect> = world.effects.drain(1..).collect();
    assert_eq!(
        answers,
        [
            Effect::Answer(91, Err(ErrorCode::CONCURRENT_TRANSACTIONS)),
            Effect::Answer(90, Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)),
        ]
    );
    world.effects.clear();
    assert_eq!(world.state(), "Ongoing");
    assert_eq!(world.end(first, true, 0), Ok(first));
}

#[test]
fn partitions_are_verified_against_the_open_transaction() {
    let mut world = World::new();
    let first = world.init(None).unwrap();
    let zero = [("t".to_owned(), 0)];
    let verify = |world: &World, producer| world.transactions.verify("tx", producer, &zero);
    assert_eq!(verify(&world, first), Err(ErrorCode::INVALID_TXN_STATE));
    world.add(first, 0, 0).unwrap();
    assert_eq!(verify(&world, first), Ok(()));
    assert_eq!(verify(&world, producer(101, 9)), Err(ErrorCode::PRODUCER_FENCED));
    assert_eq!(
        verify(&world, producer(9, 0)),
        Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
    );
    world.end(first, true, 0).unwrap();
    assert_eq!(verify(&world, first), Err(ErrorCode::INVALID_TXN_STATE));
}

#[test]
fn idle_transactional_ids_are_forgotten() {
    let mut world = World::new();
    let first = world.init(None).unwrap();
    world.now_ms += 10_000_001;
    world.step(Event::Tick);
    world.run(None, true);
    assert_eq!(world.state(), "none");
    assert_eq!(world.log.last(), Some(&("tx".to_owned(), None)));
    assert_eq!(world.add(first, 0, 0), Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
    world.restart();
    assert_eq!(world.state(), "none");
    assert_ne!(world.init(None).unwrap().producer_id, first.producer_id);
}
