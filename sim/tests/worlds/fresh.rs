use std::time::Duration;

use sim::scenario::Scenario;
use sim::soak::soak;
use sim::world::Fault;

/// How long each scenario is soaked here.
const TIME: Duration = Duration::from_secs(4);
/// A world of actors is small, and there are many kinds.
const TIME_OF_ACTORS: Duration = Duration::from_secs(1);

#[test]
fn fresh_worlds_violate_nothing() {
    for scenario in Scenario::ALL.iter().copied() {
        let drives_consensus = scenario.kind().is_none();
        let time = if drives_consensus { TIME } else { TIME_OF_ACTORS };
        let sums = soak(scenario, sim::cli::seed_of_now(), time, false);
        assert!(sums.violations.is_empty(), "{}", sums.table());
        // A world in which nothing happens proves nothing.
        assert!(
            sums.worlds > 0 && (!drives_consensus || (sums.answered > 0 && sums.leaders >= sums.worlds)),
            "{}",
            sums.table()
        );
        assert!(
            !drives_consensus || sums.faults.of(Fault::Partition) + sums.faults.of(Fault::Pause) > 0,
            "{}",
            sums.table()
        );
    }
}
