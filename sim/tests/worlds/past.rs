use sim::scenario::Scenario;
use sim::world::Trace;

/// One a line: scenario, seed, and after `#` what it showed.
const SEEDS: &str = include_str!("../../seeds.txt");

#[test]
fn seeds_that_failed_once_do_not_fail_again() {
    let lines = SEEDS
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, seed) = line.split_once(' ').expect("a scenario and a seed");
        let scenario = Scenario::named(name).expect("a scenario that exists");
        let seed: u64 = seed.trim().parse().expect("a seed is a number");
        let (outcome, _) = scenario.run(seed, Trace::default());
        assert_eq!(outcome.violation, None, "{name} {seed}");
    }
}
