use std::thread;

use sim::planted::{self, Planted};

/// A fault is planted for one thread, so several can be hunted at once.
const THREADS: usize = 2;

#[test]
fn every_planted_fault_is_caught_within_its_budget() {
    let all = planted::all();
    assert!(all.len() >= 15);
    let hunt = |planted: Vec<&Planted>| -> Vec<&'static str> {
        let got_away = planted.into_iter().filter(|planted| planted.hunt().violation.is_none());
        got_away.map(|planted| planted.name).collect()
    };
    let got_away: Vec<&str> = thread::scope(|scope| {
        let hunters: Vec<_> = (0..THREADS)
            .map(|first| all.iter().skip(first).step_by(THREADS).collect())
            .map(|share| scope.spawn(move || hunt(share)))
            .collect();
        hunters.into_iter().flat_map(|hunter| hunter.join().unwrap()).collect()
    });
    assert!(got_away.is_empty(), "nothing caught {got_away:?}");
}
