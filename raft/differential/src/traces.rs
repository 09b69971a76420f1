//! Random traces, and the comparison.

use crate::ours_world::Ours;
use crate::theirs_world::Theirs;
use crate::{Links, Operation, World};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Default)]
struct Seen {
    operations: usize,
    elections: usize,
    committed: u64,
    conflicts: usize,
    parted: usize,
}

fn compare(seed: u64, seen: &mut Seen) {
    let mut dice = Dice(seed);
    let members = [1, 3, 3, 5, 5, 4][dice.below(6) as usize];
    let pre_vote = dice.below(2) == 0;
    let (mut ours, mut theirs) = (Ours::new(members, pre_vote), Theirs::new(members, pre_vote));
    let mut trace = Vec::new();
    let mut links = Links::default();
    let mut before = ours.outcome();
    for _ in 0..40 {
        let (one, other) = (1 + dice.below(members), 1 + dice.below(members));
        let leader = (1..=members).find(|id| before[*id as usize - 1].leads);
        let operation = match dice.below(16) {
            0..4 => Operation::Campaign(one),
            4..9 => {
                let leaders: Vec<u64> = (1..=members).filter(|id| before[*id as usize - 1].leads).collect();
                let at = leaders.get(dice.below(leaders.len().max(1) as u64) as usize);
                Operation::Propose(*at.unwrap_or(&one), 1 + dice.below(4))
            }
            9..12 if one != other => Operation::Cut(one, other),
            12 => Operation::Restart(one),
            // A transfer that cannot come about waits for time, and time is not compared.
            13 if links.is_whole() && agree(&before) && leader != Some(other) => Operation::Transfer(other),
            14 => Operation::Isolate(leader.unwrap_or(one)),
            _ => Operation::Heal,
        };
        match operation {
            Operation::Cut(one, other) => links.cut(one, other),
            Operation::Isolate(id) => links.isolate(id, members),
            Operation::Heal => links.heal(),
            _ => {}
        }
        ours.carry_out(&operation);
        theirs.carry_out(&operation);
        trace.push(operation);
        let (left, right) = (ours.outcome(), theirs.outcome());
        if left != right && parted_by_order(&left, &right) {
            seen.parted += 1;
            return;
        }
        assert_eq!(
            left, right,
            "seed {seed}, {members} members, pre-vote {pre_vote}: ours and theirs after {trace:#?}"
        );
        seen.operations += 1;
        seen.elections += (leaders(&left) > leaders(&before)) as usize;
        let shorter = |(now, then): (&crate::Outcome, &crate::Outcome)| !now.log.starts_with(&then.log);
        seen.conflicts += left.iter().zip(&before).filter(|pair| shorter(*pair)).count();
        before = left;
    }
    seen.committed += before.iter().map(|member| member.commit).max().unwrap_or(0);
}

/// While a leader of an older term learns that it is none any more, the order of messages decides what it still sends: what
/// is not committed may then differ, and whatever comes of it. Nothing else may.
fn parted_by_order(ours: &[crate::Outcome], theirs: &[crate::Outcome]) -> bool {
    let settled = |one: &crate::Outcome, other: &crate::Outcome| {
        let committed = one.commit as usize;
        let same = (one.term, one.leads, one.commit) == (other.term, other.leads, other.commit);
        same && one.log[..committed] == other.log[..committed]
    };
    !agree(ours) && ours.iter().zip(theirs).all(|(one, other)| settled(one, other))
}

/// Whether all follow the same leader.
fn agree(outcome: &[crate::Outcome]) -> bool {
    leaders(outcome) == 1 && outcome.iter().all(|member| member.term == outcome[0].term)
}

fn leaders(outcome: &[crate::Outcome]) -> usize {
    outcome.iter().filter(|member| member.leads).count()
}

#[test]
fn both_come_to_the_same() {
    let number = |name: &str, default| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (first, traces) = (number("SEED", 0), number("TRACES", 1_000));
    let mut seen = Seen::default();
    for seed in first..first + traces {
        compare(seed, &mut seen);
    }
    let Seen {
        operations,
        elections,
        committed,
        conflicts,
        parted,
    } = seen;
    println!("{traces} traces, {operations} operations, {elections} elections, {committed} entries committed");
    println!("{conflicts} logs cut back, {parted} traces ended early because the order of messages decided");
    assert!(parted as u64 <= traces / 100 + 1, "too many traces end early");
    if traces >= 1_000 {
        assert!(
            elections > 1_000 && committed > 10_000 && conflicts > 50,
            "these traces are too quiet"
        );
    }
}
