use sim::scenario::Scenario;
use sim::world::Trace;

/// Worlds that are compared line by line; the digests of more.
const SEEDS_BY_LINE: u64 = 3;
const SEEDS_BY_DIGEST: u64 = 10;

#[test]
fn a_the_same_seed_gives_the_same_trace() {
    for scenario in Scenario::ALL.iter().copied() {
        for seed in 1..=SEEDS_BY_LINE {
            let (first, told) = scenario.run(seed, Trace::with_lines());
            let (second, told_again) = scenario.run(seed, Trace::with_lines());
            let differs = told.lines().iter().zip(told_again.lines()).find(|(a, b)| a != b);
            assert_eq!(differs, None, "{scenario:?} {seed}");
            assert_eq!((first, told.lines().len()), (second, told_again.lines().len()));
            assert!(told.lines().len() > 100, "{scenario:?} {seed} tells nothing");
        }
        let digests = |_| -> Vec<u64> {
            let seeds = 100..100 + SEEDS_BY_DIGEST;
            seeds
                .map(|seed| scenario.run(seed, Trace::default()).0.digest)
                .collect()
        };
        let mut digests_once = digests(1);
        assert_eq!(digests_once, digests(2));
        digests_once.dedup();
        assert_eq!(
            digests_once.len() as u64,
            SEEDS_BY_DIGEST,
            "other seeds are other worlds"
        );
    }
}

#[test]
fn telling_changes_nothing() {
    for scenario in Scenario::ALL.iter().copied() {
        let (told, _) = scenario.run(7, Trace::with_lines());
        let (silent, _) = scenario.run(7, Trace::default());
        assert_eq!(told, silent);
    }
}
