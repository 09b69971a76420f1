use crate::consensus::log_view::LogView;
use crate::consensus::{Entry, Membership, Payload, Position, Restored};

/// Entries of these terms, from index 1 on.
fn log(terms: &[u64]) -> LogView {
    let mut log = LogView::new(&Restored::first_start(Membership::default()));
    log.append(entries(1, terms));
    log
}

fn entries(first: u64, terms: &[u64]) -> Vec<Entry> {
    let entry = |(term, index): (&u64, u64)| Entry {
        index,
        term: *term,
        payload: Payload::Blank,
    };
    terms.iter().zip(first..).map(entry).collect()
}

fn terms(log: &LogView) -> Vec<Option<u64>> {
    (0..=log.last_index() + 1).map(|index| log.term_at(index)).collect()
}

#[test]
fn terms_are_known_for_every_entry_and_none_beside() {
    let log = log(&[1, 1, 2, 5, 5]);
    let expected = [Some(0), Some(1), Some(1), Some(2), Some(5), Some(5), None];
    assert_eq!(terms(&log), expected);
}

#[test]
fn a_log_that_was_cut_off_goes_on_with_other_terms() {
    let mut log = log(&[1, 1, 2, 2]);
    log.truncate(3);
    assert_eq!(log.last(), Position { term: 1, index: 2 });
    log.append(entries(3, &[3]));
    assert_eq!(terms(&log), [Some(0), Some(1), Some(1), Some(3), None]);
    assert_eq!(log.batch(1, 1 << 20).len(), 3);
}

#[test]
fn a_purged_log_knows_the_last_purged_term() {
    for up_to in 1..=5 {
        let mut log = log(&[1, 1, 2, 5, 5]);
        let whole = terms(&log);
        log.purge(up_to);
        for index in up_to..=6 {
            assert_eq!(
                log.term_at(index),
                whole[index as usize],
                "{index} after a purge up to {up_to}"
            );
        }
        assert_eq!(log.term_at(up_to - 1), None);
        assert_eq!(log.last().term, 5);
        log.append(entries(6, &[5, 7]));
        assert_eq!(log.last(), Position { term: 7, index: 7 });
    }
}

#[test]
fn the_last_possible_entry_skips_whole_terms() {
    let log = log(&[1, 1, 1, 4, 4, 6]);
    let possible = |term, index| log.last_possible(Position { term, index }).index;
    assert_eq!(possible(6, 9), 6);
    assert_eq!(possible(5, 9), 5);
    assert_eq!(possible(3, 9), 3, "nothing of term 4 can be there");
    assert_eq!(possible(4, 2), 2);
    assert_eq!(possible(0, 9), 0);
}

#[test]
fn what_may_be_evicted_is_and_batches_are_bounded() {
    let mut log = log(&[1; 10]);
    assert_eq!(log.batch(4, 0).len(), 1, "at least one");
    assert_eq!(log.batch(4, 70).len(), 2);
    log.evict(3, 0);
    assert_eq!(log.first_cached(), 4);
    assert!(log.cached(3).is_none() && log.cached(4).is_some());
    log.evict(10, 0);
    assert_eq!(log.first_cached(), 11);
    assert_eq!(log.term_at(7), Some(1), "its term is still known");
}
