use crate::consensus::writes::Writes;

fn begin(writes: &mut Writes, last_index: u64) -> u64 {
    let id = writes.begin(0);
    writes.extend(last_index);
    id
}

#[test]
fn writes_count_in_their_order_whatever_the_order_of_reports() {
    let mut writes = Writes::new(10);
    let ids: Vec<u64> = [12, 15, 20].into_iter().map(|last| begin(&mut writes, last)).collect();
    assert!(!writes.report(ids[2], ids[2]));
    assert!(!writes.report(ids[1], ids[1]));
    assert_eq!(writes.durable(), 10, "the first is missing");
    assert!(writes.report(ids[0], ids[0]));
    assert_eq!(writes.durable(), 20);
    assert!(!writes.report(ids[0], ids[2]), "a repeated report is no news");
}

#[test]
fn many_writes_are_reported_at_once_and_unknown_ones_are_ignored() {
    let mut writes = Writes::new(0);
    begin(&mut writes, 1);
    begin(&mut writes, 2);
    assert!(!writes.report(3, u64::MAX));
    assert!(writes.report(0, u64::MAX));
    assert_eq!(writes.durable(), 2);
    assert!(writes.is_done(2) && !writes.is_done(3));
}

/// The entries that were written first are not there any more when their write is reported.
#[test]
fn what_was_cut_off_meanwhile_does_not_count() {
    let mut writes = Writes::new(10);
    let first = begin(&mut writes, 15);
    let second = writes.begin(15);
    writes.truncate(13);
    writes.extend(14);
    writes.report(first, first);
    assert_eq!(writes.durable(), 12);
    writes.report(second, second);
    assert_eq!(writes.durable(), 14);
}

#[test]
fn what_was_durable_and_is_cut_off_is_not_durable() {
    let mut writes = Writes::new(10);
    writes.begin(10);
    writes.truncate(6);
    writes.extend(8);
    assert_eq!(writes.durable(), 5);
    writes.report(1, 1);
    assert_eq!(writes.durable(), 8);
}
