use std::time::Duration;

use sim::scenario::Scenario;
use sim::soak::soak;
use sim::world::Fault;

/// How long each scenario is soaked here.
const TIME: Duration = Duration::from_secs(4);

#[test]
fn fresh_worlds_violate_nothing() {
    for scenario in Scenario::ALL {
        let sums = soak(scenario, sim::cli::seed_of_now(), TIME, false);
        assert!(sums.violations.is_empty(), "{}", sums.table());
        // A world in which nothing happens proves nothing.
        assert!(
            sums.worlds > 0 && sums.answered > 0 && sums.leaders >= sums.worlds,
            "{}",
            sums.table()
        );
        assert!(
            sums.faults.of(Fault::Partition) + sums.faults.of(Fault::Pause) > 0,
            "{}",
            sums.table()
        );
    }
}
