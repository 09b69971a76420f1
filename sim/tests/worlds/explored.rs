use sim::scenario::Scenario;

/// States that a test visits at most.
const STATES_MAX: usize = 40_000;

#[test]
fn small_worlds_are_sound_in_all_orders() {
    for scenario in Scenario::ALL.iter().copied() {
        let Some(explored) = scenario.explore(None, STATES_MAX) else {
            continue;
        };
        assert_eq!(explored.violation, None, "{scenario:?}: {:#?}", explored.path);
        assert!(
            explored.states > 100 && explored.depth > 3,
            "{scenario:?} has nothing to explore: {explored:?}"
        );
    }
}
