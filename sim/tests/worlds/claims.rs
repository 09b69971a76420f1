use sim::actor::explore;
use sim::worlds::chord::{Rules, Small};
use sim::worlds::gossip::measure_one;

/// SWIM's claim: what a member sends and how soon a death is noticed do not depend on the size.
#[test]
fn gossip_costs_a_member_the_same_at_any_size() {
    let (small, large) = (measure_one(40, false), measure_one(400, false));
    assert_eq!(
        (small.wrong, large.wrong),
        (0, 0),
        "5 % of packets are lost: {small:?} {large:?}"
    );
    assert!(large.bytes < 2 * small.bytes + 200, "{small:?} {large:?}");
    assert!(large.all.1 < 3 * small.all.1, "{small:?} {large:?}");
}

/// The published protocol loses its ring in a few steps (Zave, 2012); the corrected one never does.
#[test]
fn the_published_chord_has_a_counterexample() {
    let explored = explore(&Small(Rules::PUBLISHED), 100_000);
    assert_eq!(
        explored.violation.map(|violation| violation.invariant),
        Some("one_ring")
    );
    assert!(explored.path.len() < 12, "{:#?}", explored.path);
}
