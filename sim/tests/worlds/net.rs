use sim::planted;

#[test]
fn every_planted_fault_is_caught_within_its_budget() {
    let mut got_away = Vec::new();
    for planted in planted::all() {
        if planted.hunt().violation.is_none() {
            got_away.push(planted.name);
        }
    }
    assert!(got_away.is_empty(), "nothing caught {got_away:?}");
    assert!(planted::all().len() >= 15);
}
