//! Whether what the clients were answered is what one store, changed in one order, would have answered.
//!
//! Every change has a revision, and the whole history is known in the end, so no search is needed. An acknowledged change
//! must be in the history at its revision; a read must have shown what was there at the revision that it names; and who
//! began after another had ended must come later in the order. That is linearizability, told by replay.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{Answered, Asked, Operation, Seen};

/// One change in the store's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub revision: i64,
    pub key: String,
    /// Without one, the key was deleted.
    pub value: Option<Vec<u8>>,
    pub create_revision: i64,
}

/// The place of an operation in the one order: a read of revision 7 comes after change 7 and before change 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    revision: i64,
    read: bool,
}

/// Panics with the operation that does not fit.
pub fn check(operations: &[Operation], told: &[Told]) {
    let history = Replay::new(told);
    let mut placed: Vec<(&Operation, Place)> = Vec::new();
    for operation in operations {
        match place(operation, &history) {
            Ok(Some(place)) => placed.push((operation, place)),
            Ok(None) => {}
            Err(reason) => panic!("{reason}: {operation:?}"),
        }
    }
    every_change_was_asked_for(operations, told);
    respects_real_time(&placed);
}

/// The store's state at each of its revisions.
struct Replay<'a> {
    changes: BTreeMap<i64, Vec<&'a Told>>,
    of_key: BTreeMap<&'a str, Vec<&'a Told>>,
    by_value: BTreeMap<&'a [u8], i64>,
}

impl<'a> Replay<'a> {
    fn new(told: &'a [Told]) -> Self {
        let (mut changes, mut of_key, mut by_value) = (
            BTreeMap::<_, Vec<_>>::new(),
            BTreeMap::<_, Vec<_>>::new(),
            BTreeMap::new(),
        );
        for change in told {
            changes.entry(change.revision).or_default().push(change);
            of_key.entry(change.key.as_str()).or_default().push(change);
            if let Some(value) = &change.value
                && is_clients(&change.key)
            {
                let before = by_value.insert(value.as_slice(), change.revision);
                assert!(
                    before.is_none_or(|before| before == change.revision),
                    "a value that was put once is there at revisions {before:?} and {}",
                    change.revision
                );
            }
        }
        Self {
            changes,
            of_key,
            by_value,
        }
    }

    /// What a reader of `key` at `revision` sees.
    fn at(&self, key: &str, revision: i64) -> Option<Seen> {
        let changes = self.of_key.get(key)?;
        let seen = changes.partition_point(|change| change.revision <= revision);
        let last = changes[seen.checked_sub(1)?];
        last.value.as_ref().map(|value| Seen {
            value: value.clone(),
            mod_revision: last.revision,
        })
    }

    fn has(&self, revision: i64, key: &str, value: Option<&[u8]>) -> bool {
        self.changes.get(&revision).is_some_and(|changes| {
            changes
                .iter()
                .any(|change| change.key == key && change.value.as_deref() == value)
        })
    }
}

/// Keys that the clients of [`crate::clients`] change, each with values of its own.
fn is_clients(key: &str) -> bool {
    key.starts_with("k/") || key.starts_with("other/")
}

/// Where an operation stands in the order; nowhere if it is not known to have happened, or need not be recent.
fn place(operation: &Operation, history: &Replay<'_>) -> Result<Option<Place>, String> {
    let change = |revision| Ok(Some(Place { revision, read: false }));
    let read = |revision| Ok(Some(Place { revision, read: true }));
    match (&operation.asked, &operation.answered) {
        (Asked::Put { key, value } | Asked::Swap { key, value, .. }, Answered::Changed(revision)) => {
            if !history.has(*revision, key, Some(value)) {
                return Err("acknowledged, and not in the history".to_owned());
            }
            if let Asked::Swap { expected, .. } = &operation.asked {
                let before = history.at(key, revision - 1).map_or(0, |seen| seen.mod_revision);
                if before != *expected {
                    return Err(format!("swapped where the key was last changed at {before}"));
                }
            }
            change(*revision)
        }
        (Asked::PutBoth { keys, value }, Answered::Changed(revision)) => {
            if !keys.iter().all(|key| history.has(*revision, key, Some(value))) {
                return Err("acknowledged, and not whole in the history".to_owned());
            }
            change(*revision)
        }
        (Asked::Delete { key }, Answered::Changed(revision)) => {
            if !history.has(*revision, key, None) {
                return Err("deleted, and not in the history".to_owned());
            }
            change(*revision)
        }
        (Asked::Delete { key }, Answered::Nothing(revision)) => match history.at(key, *revision) {
            None => read(*revision),
            Some(seen) => Err(format!("nothing to delete, where there was {seen:?}")),
        },
        (Asked::Swap { key, expected, .. }, Answered::NotSwapped(revision, seen)) => {
            shown(history, key, *revision, seen.as_ref())?;
            if seen.as_ref().map_or(0, |seen| seen.mod_revision) == *expected {
                return Err("not swapped, though it was as expected".to_owned());
            }
            read(*revision)
        }
        (Asked::Get { key, serializable }, Answered::Read(revision, seen)) => {
            shown(history, key, *revision, seen.as_ref())?;
            // A serializable read may be of the past, but of one that there was.
            if *serializable { Ok(None) } else { read(*revision) }
        }
        // If it happened, its value tells where: not before it was asked for.
        (Asked::Put { value, .. } | Asked::PutBoth { value, .. } | Asked::Swap { value, .. }, Answered::Unknown) => {
            Ok(history.by_value.get(value.as_slice()).map(|revision| Place {
                revision: *revision,
                read: false,
            }))
        }
        (_, Answered::Unknown) => Ok(None),
        (asked, answered) => Err(format!("{answered:?} is no answer to {asked:?}")),
    }
}

fn shown(history: &Replay<'_>, key: &str, revision: i64, seen: Option<&Seen>) -> Result<(), String> {
    let there = history.at(key, revision);
    if there.as_ref() == seen {
        Ok(())
    } else {
        Err(format!("read at revision {revision}, where there was {there:?}"))
    }
}

/// No change without a client that wanted it.
fn every_change_was_asked_for(operations: &[Operation], told: &[Told]) {
    let asked: std::collections::BTreeSet<&[u8]> = operations
        .iter()
        .filter_map(|operation| match &operation.asked {
            Asked::Put { value, .. } | Asked::PutBoth { value, .. } | Asked::Swap { value, .. } => {
                Some(value.as_slice())
            }
            Asked::Delete { .. } | Asked::Get { .. } => None,
        })
        .collect();
    for change in told.iter().filter(|change| is_clients(&change.key)) {
        if let Some(value) = &change.value {
            assert!(asked.contains(value.as_slice()), "nobody put {change:?}");
        }
    }
}

/// Sweeps over all beginnings and ends in the order of time: who begins must come after everyone who has ended.
fn respects_real_time(placed: &[(&Operation, Place)]) {
    let mut moments: Vec<(Duration, bool, usize)> = Vec::new();
    for (number, (operation, _)) in placed.iter().enumerate() {
        moments.push((operation.began, false, number));
        // One whose end is unknown may end at any later time: it holds no one to anything.
        if operation.is_acknowledged() {
            moments.push((operation.ended, true, number));
        }
    }
    // At the same moment beginnings first: those two overlap.
    moments.sort_unstable();
    let mut latest: Option<usize> = None;
    for (_, ended, number) in moments {
        let place = placed[number].1;
        if ended {
            if latest.is_none_or(|latest| placed[latest].1 < place) {
                latest = Some(number);
            }
        } else if let Some(latest) = latest {
            let (before, earlier) = placed[latest];
            // Reads may share a place, and a read may follow the change that it shows.
            let later = place > earlier || (place.read && place == earlier);
            assert!(
                later,
                "{:?}\ncomes before\n{before:?}\nin the order, which had ended when it began",
                placed[number].0
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(revision: i64, value: &str) -> Told {
        Told {
            revision,
            key: "k/0".to_owned(),
            value: Some(value.into()),
            create_revision: 2,
        }
    }

    fn operation(asked: Asked, answered: Answered, began: u64, ended: u64) -> Operation {
        Operation {
            client: 0,
            asked,
            answered,
            began: Duration::from_millis(began),
            ended: Duration::from_millis(ended),
        }
    }

    fn put(value: &str, revision: i64, began: u64, ended: u64) -> Operation {
        let asked = Asked::Put {
            key: "k/0".to_owned(),
            value: value.into(),
        };
        operation(asked, Answered::Changed(revision), began, ended)
    }

    fn get(revision: i64, seen: Option<(&str, i64)>, began: u64, ended: u64) -> Operation {
        let asked = Asked::Get {
            key: "k/0".to_owned(),
            serializable: false,
        };
        let seen = seen.map(|(value, mod_revision)| Seen {
            value: value.into(),
            mod_revision,
        });
        operation(asked, Answered::Read(revision, seen), began, ended)
    }

    #[test]
    fn an_order_that_fits_is_accepted() {
        let history = [told(2, "a"), told(3, "b")];
        let operations = [
            put("a", 2, 0, 10),
            get(2, Some(("a", 2)), 5, 20),
            put("b", 3, 15, 40),
            get(2, Some(("a", 2)), 20, 30),
            get(3, Some(("b", 3)), 41, 42),
        ];
        check(&operations, &history);
    }

    #[test]
    #[should_panic(expected = "not in the history")]
    fn a_lost_put_is_found() {
        check(&[put("a", 2, 0, 10), put("b", 3, 20, 30)], &[told(2, "a")]);
    }

    #[test]
    #[should_panic(expected = "in the order, which had ended")]
    fn a_stale_read_is_found() {
        let history = [told(2, "a"), told(3, "b")];
        check(
            &[put("a", 2, 0, 1), put("b", 3, 2, 3), get(2, Some(("a", 2)), 4, 5)],
            &history,
        );
    }

    #[test]
    #[should_panic(expected = "where there was")]
    fn a_read_of_what_never_was_is_found() {
        check(&[get(2, Some(("b", 2)), 4, 5)], &[told(2, "a")]);
    }

    #[test]
    #[should_panic(expected = "put once")]
    fn a_put_that_happened_twice_is_found() {
        check(&[put("a", 2, 0, 1)], &[told(2, "a"), told(3, "a")]);
    }

    #[test]
    #[should_panic(expected = "nobody put")]
    fn a_change_out_of_nowhere_is_found() {
        check(&[put("a", 2, 0, 1)], &[told(2, "a"), told(3, "x")]);
    }
}
