use super::*;
use crate::namespace::BlockChange;

fn address(name: &str) -> Address {
    let transfer_port = name.bytes().map(u32::from).sum();
    Address {
        uuid: name.to_owned(),
        ip: "127.0.0.1".to_owned(),
        transfer_port,
        ..Default::default()
    }
}

const ISSUED: BlockChange = BlockChange::Issued {
    next_block: 1000,
    generation_stamp: 1000,
};

fn block(id: u64, length: u64) -> Block {
    Block {
        id,
        generation_stamp: 1,
        length,
    }
}

fn finalized(block: Block) -> Replica {
    Replica {
        block: block.id,
        generation_stamp: block.generation_stamp,
        length: block.length,
        state: ReplicaState::Finalized,
    }
}

/// A block map with nodes a, b, c, … that have room.
fn map(nodes: &[&str]) -> Blocks {
    let mut blocks = Blocks::new(Policy::default());
    blocks.step(Event::Changed(&[ISSUED]), 0);
    for name in nodes {
        blocks.step(Event::Registered(address(name)), 0);
        beat(&mut blocks, name, 0);
        blocks.step(
            Event::Reported {
                uuid: name,
                replicas: &[],
            },
            0,
        );
    }
    blocks
}

fn beat(blocks: &mut Blocks, name: &str, now: u64) {
    let usage = Usage {
        capacity: 1 << 40,
        remaining: 1 << 39,
        ..Default::default()
    };
    blocks.step(Event::Heartbeat { uuid: name, usage }, now);
}

/// A complete block with replicas on these nodes.
fn written(blocks: &mut Blocks, block: Block, replication: u16, nodes: &[&str], now: u64) {
    blocks.step(
        Event::Changed(&[BlockChange::Added {
            block: Block { length: 0, ..block },
            inode: 1,
            replication,
        }]),
        now,
    );
    for name in nodes {
        blocks.step(
            Event::Received {
                uuid: name,
                replicas: &[finalized(block)],
                deleted: &[],
            },
            now,
        );
    }
    blocks.step(Event::Changed(&[BlockChange::Completed { block }]), now);
}

fn transfers(effects: &[Effect]) -> Vec<(u32, Vec<u32>)> {
    let transfer = |effect: &Effect| match effect {
        Effect::Command(node, Command::Transfer { targets, .. }) => {
            Some((node.0, targets.iter().map(|n| n.0).collect()))
        }
        _ => None,
    };
    effects.iter().filter_map(transfer).collect()
}

fn removals(effects: &[Effect]) -> Vec<u32> {
    let removal = |effect: &Effect| match effect {
        Effect::Command(node, Command::Invalidate { .. }) => Some(node.0),
        _ => None,
    };
    effects.iter().filter_map(removal).collect()
}

#[test]
fn a_replica_lost_with_its_node_is_copied_once_to_another() {
    let mut blocks = map(&["a", "b", "c"]);
    written(&mut blocks, block(7, 10), 2, &["a", "b"], 0);
    assert!(blocks.step(Event::Tick, 5_000).is_empty());
    for name in ["b", "c"] {
        beat(&mut blocks, name, 14_000);
    }
    let effects = blocks.step(Event::Tick, 15_000);
    assert!(effects.contains(&Effect::Died(NodeId(0))));
    assert_eq!(transfers(&effects), [(1, vec![2])]);
    beat(&mut blocks, "b", 20_000);
    beat(&mut blocks, "c", 20_000);
    assert!(blocks.step(Event::Tick, 21_000).is_empty(), "the copy is under way");
    blocks.step(
        Event::Received {
            uuid: "c",
            replicas: &[finalized(block(7, 10))],
            deleted: &[],
        },
        22_000,
    );
    assert!(blocks.step(Event::Tick, 23_000).is_empty());
    assert_eq!(blocks.health(), Default::default());
}

#[test]
fn a_copy_that_does_not_arrive_is_ordered_again() {
    let mut blocks = map(&["a", "b"]);
    written(&mut blocks, block(7, 10), 2, &["a"], 0);
    let settle = Policy::default().settle_ms;
    assert_eq!(transfers(&blocks.step(Event::Tick, settle)), [(0, vec![1])]);
    let mut now = settle;
    let mut again = Vec::new();
    while again.is_empty() && now < 60_000 {
        now += 1000;
        beat(&mut blocks, "a", now);
        beat(&mut blocks, "b", now);
        again = transfers(&blocks.step(Event::Tick, now));
    }
    assert_eq!(again, [(0, vec![1])]);
    assert!(now >= settle + Policy::default().copy_timeout_ms);
}

#[test]
fn a_node_that_comes_back_makes_one_replica_too_many() {
    let mut blocks = map(&["a", "b", "c"]);
    written(&mut blocks, block(7, 10), 1, &["a"], 0);
    blocks.step(
        Event::Received {
            uuid: "b",
            replicas: &[finalized(block(7, 10))],
            deleted: &[],
        },
        1,
    );
    let effects = blocks.step(Event::Tick, 2);
    assert_eq!(removals(&effects).len(), 1);
    assert_eq!(blocks.get(7).unwrap().good(), 1);
}

#[test]
fn stale_short_and_unknown_replicas_do_not_count() {
    let mut blocks = map(&["a", "b", "c"]);
    let current = Block {
        generation_stamp: 5,
        ..block(7, 10)
    };
    written(&mut blocks, current, 2, &["a"], 0);
    let stale = blocks.step(
        Event::Received {
            uuid: "b",
            replicas: &[finalized(block(7, 10))],
            deleted: &[],
        },
        0,
    );
    assert_eq!(removals(&stale), [1]);
    let short = finalized(Block { length: 9, ..current });
    blocks.step(
        Event::Received {
            uuid: "c",
            replicas: &[short],
            deleted: &[],
        },
        0,
    );
    assert_eq!(blocks.get(7).unwrap().good(), 1);
    let unknown = blocks.step(
        Event::Received {
            uuid: "b",
            replicas: &[finalized(block(99, 1))],
            deleted: &[],
        },
        0,
    );
    assert_eq!(removals(&unknown), [1]);
}

#[test]
fn a_corrupt_replica_is_replaced_and_the_last_good_one_is_kept() {
    let mut blocks = map(&["a", "b", "c"]);
    written(&mut blocks, block(7, 10), 2, &["a", "b"], 0);
    blocks.step(Event::Corrupt { uuid: "a", block: 7 }, 1);
    assert_eq!(blocks.readable(7, "", 1), [NodeId(1)]);
    assert_eq!(transfers(&blocks.step(Event::Tick, 1)), [(1, vec![2])]);
    blocks.step(
        Event::Received {
            uuid: "c",
            replicas: &[finalized(block(7, 10))],
            deleted: &[],
        },
        2,
    );
    assert_eq!(removals(&blocks.step(Event::Tick, 3)), [0]);
    blocks.step(Event::Corrupt { uuid: "b", block: 7 }, 4);
    blocks.step(Event::Corrupt { uuid: "c", block: 7 }, 4);
    assert!(
        removals(&blocks.step(Event::Tick, 5)).is_empty(),
        "no good one is left: nothing is removed"
    );
    assert_eq!(blocks.lost_files(), [1]);
}

#[test]
fn safe_mode_removes_nothing_and_ends_when_enough_is_reported() {
    let mut blocks = Blocks::new(Policy::default());
    for id in [7, 8] {
        let changes = [
            BlockChange::Added {
                block: block(id, 10),
                inode: 1,
                replication: 1,
            },
            BlockChange::Completed { block: block(id, 10) },
        ];
        blocks.step(Event::Changed(&changes), 0);
    }
    blocks.step(Event::Changed(&[ISSUED]), 0);
    blocks.step(Event::Registered(address("a")), 0);
    beat(&mut blocks, "a", 0);
    let report = [finalized(block(7, 10)), finalized(block(99, 10))];
    let effects = blocks.step(
        Event::Reported {
            uuid: "a",
            replicas: &report,
        },
        0,
    );
    assert!(blocks.in_safe_mode() && removals(&effects).is_empty());
    assert!(blocks.safe_mode_reason().contains("reported blocks 1"));
    let effects = blocks.step(
        Event::Received {
            uuid: "a",
            replicas: &[finalized(block(8, 10))],
            deleted: &[],
        },
        1,
    );
    assert!(!blocks.in_safe_mode() && effects.contains(&Effect::SafeModeLeft));
    assert_eq!(removals(&effects), [0], "what nothing wants goes after safe mode");
}

#[test]
fn a_new_stamp_leaves_only_the_replicas_that_have_it() {
    let mut blocks = map(&["a", "b"]);
    blocks.step(
        Event::Changed(&[BlockChange::Added {
            block: block(7, 0),
            inode: 1,
            replication: 2,
        }]),
        0,
    );
    blocks.set_pipeline(7, vec![NodeId(1)]);
    let raised = Block {
        generation_stamp: 2,
        ..block(7, 10)
    };
    // The data node may be faster than the writer's word to the name node.
    blocks.step(
        Event::Received {
            uuid: "a",
            replicas: &[finalized(block(7, 10))],
            deleted: &[],
        },
        0,
    );
    blocks.step(
        Event::Received {
            uuid: "b",
            replicas: &[finalized(raised)],
            deleted: &[],
        },
        0,
    );
    assert!(!blocks.is_stored(Block {
        generation_stamp: 3,
        ..raised
    }));
    let effects = blocks.step(Event::Changed(&[BlockChange::Updated { block: raised }]), 1);
    assert_eq!(removals(&effects), [0]);
    assert!(blocks.is_stored(raised));
}

#[test]
fn placement_honours_exclusions_room_and_staleness() {
    let mut blocks = map(&["a", "b", "c"]);
    for seed in 0..50 {
        let placed = blocks.place(3, 1, &[NodeId(1)], "", 0, seed);
        assert!(placed.len() == 2 && !placed.contains(&NodeId(1)));
    }
    let firsts: std::collections::BTreeSet<_> = (0..50).map(|seed| blocks.place(1, 1, &[], "", 0, seed)).collect();
    assert_eq!(firsts.len(), 3, "files spread");
    beat(&mut blocks, "b", 6_000);
    assert_eq!(
        blocks.place(1, 1, &[], "", 6_000, 3),
        [NodeId(1)],
        "the others were not heard of for a while"
    );
    let full = Usage {
        capacity: 10,
        remaining: 0,
        ..Default::default()
    };
    blocks.step(Event::Heartbeat { uuid: "b", usage: full }, 6_000);
    assert!(!blocks.place(3, 1, &[], "", 6_000, 3).contains(&NodeId(1)));
}

#[test]
fn a_replica_from_the_future_holds_safe_mode_and_is_removed_by_force_only() {
    let newer_stamp = Replica {
        generation_stamp: 1001,
        ..finalized(block(7, 10))
    };
    for (at_start, future) in [(true, finalized(block(1000, 10))), (false, newer_stamp)] {
        let mut blocks = map(&["a"]);
        if at_start {
            blocks = Blocks::new(Policy::default());
            blocks.step(Event::Changed(&[ISSUED]), 0);
            blocks.step(Event::Registered(address("a")), 0);
        } else {
            assert!(!blocks.in_safe_mode());
        }
        let reported = Event::Reported {
            uuid: "a",
            replicas: &[future],
        };
        assert!(removals(&blocks.step(reported, 1)).is_empty());
        assert!(removals(&blocks.step(Event::Tick, 100)).is_empty());
        assert!(blocks.in_safe_mode() && blocks.future() == (1, 10));
        assert!(blocks.safe_mode_reason().contains("10 byte(s)"));
        assert!(blocks.leave_safe_mode(false, 101).is_none());
        blocks.enter_safe_mode();
        assert!(blocks.leave_safe_mode(false, 101).is_none() && blocks.in_safe_mode());
        let effects = blocks.leave_safe_mode(true, 102).unwrap();
        assert_eq!(removals(&effects), [0]);
        assert!(!blocks.in_safe_mode() && blocks.future() == (0, 0));
    }
}

#[test]
fn a_replica_without_checksums_is_corrupt_and_stays_while_it_is_all_there_is() {
    let mut blocks = map(&["a", "b"]);
    written(&mut blocks, block(7, 10), 1, &["a"], 0);
    let corrupt = Replica {
        generation_stamp: 0,
        state: ReplicaState::Corrupt,
        ..finalized(block(7, 10))
    };
    let reported = Event::Reported {
        uuid: "a",
        replicas: &[corrupt],
    };
    blocks.step(reported, 10);
    let effects = blocks.step(Event::Tick, 10_000);
    assert!(removals(&effects).is_empty(), "{effects:?}");
    assert_eq!((blocks.health().missing, blocks.health().corrupt), (1, 1));
    let good = Event::Received {
        uuid: "b",
        replicas: &[finalized(block(7, 10))],
        deleted: &[],
    };
    blocks.step(good, 10_001);
    for name in ["a", "b"] {
        beat(&mut blocks, name, 10_001);
    }
    assert_eq!(removals(&blocks.step(Event::Tick, 10_002)), [0]);
}
