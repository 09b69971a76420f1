//! Ranges of keys, united.

use bytes::Bytes;
use coordinator_wire::authpb::permission::Type;
use coordinator_wire::authpb::{Permission, Role};

use crate::store::Bounds;

/// What a permission is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Read,
    Write,
}

/// From the first key up to, without, the second; without end if there is none. A single key `k` is the range from `k` to
/// its successor `k\0`, which no other key lies in: so there is one rule for keys and ranges, and a permission on a key
/// covers no range that has more in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interval {
    from: Bytes,
    to: Option<Bytes>,
}

impl Interval {
    fn new(key: &Bytes, range_end: &Bytes) -> Self {
        let (from, to) = match Bounds::new(key, range_end) {
            Bounds::One(key) => {
                let successor = [key.as_ref(), &[0]].concat();
                (key, Some(successor.into()))
            }
            Bounds::Range(from, to) => (from, Some(to)),
            Bounds::From(from) => (from, None),
        };
        Self { from, to }
    }

    fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    /// Whether this one ends at or behind the end of `other`.
    fn reaches_end_of(&self, other: &Self) -> bool {
        match (&self.to, &other.to) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own >= other,
        }
    }
}

/// A set of keys: intervals in order, none of which touches the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Keys(Vec<Interval>);

impl Keys {
    fn united(mut intervals: Vec<Interval>) -> Self {
        intervals.retain(|interval| !interval.is_empty());
        intervals.sort_by(|a, b| a.from.cmp(&b.from));
        let mut united: Vec<Interval> = Vec::with_capacity(intervals.len());
        for interval in intervals {
            match united.last_mut() {
                Some(last) if last.to.as_ref().is_none_or(|to| *to >= interval.from) => {
                    if !last.reaches_end_of(&interval) {
                        last.to = interval.to;
                    }
                }
                _ => united.push(interval),
            }
        }
        Self(united)
    }

    fn cover(&self, wanted: &Interval) -> bool {
        let behind = self.0.partition_point(|interval| interval.from <= wanted.from);
        // An empty range has no key that one could do harm to; etcd refuses it all the same.
        !wanted.is_empty()
            && self.0[..behind]
                .last()
                .is_some_and(|interval| interval.reaches_end_of(wanted))
    }
}

/// What a user's roles allow together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    read: Keys,
    write: Keys,
}

impl Permissions {
    /// The union of what `roles` allow.
    pub fn of<'a>(roles: impl IntoIterator<Item = &'a Role>) -> Self {
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for permission in roles.into_iter().flat_map(|role| &role.key_permission) {
            let interval = Interval::new(&permission.key, &permission.range_end);
            match Type::try_from(permission.perm_type) {
                Ok(Type::Read) => read.push(interval),
                Ok(Type::Write) => write.push(interval),
                Ok(Type::Readwrite) => {
                    read.push(interval.clone());
                    write.push(interval);
                }
                // A kind that this release does not know allows nothing.
                Err(_) => {}
            }
        }
        Self {
            read: Keys::united(read),
            write: Keys::united(write),
        }
    }

    /// Whether every key from `key` to `range_end`, in the protocol's notation, is allowed.
    pub fn allow(&self, right: Right, key: &Bytes, range_end: &Bytes) -> bool {
        let keys = match right {
            Right::Read => &self.read,
            Right::Write => &self.write,
        };
        keys.cover(&Interval::new(key, range_end))
    }
}

/// Whether a permission's range means anything: it has a first key, and an end behind it or none.
pub(super) fn is_valid(permission: &Permission) -> bool {
    let (key, range_end) = (&permission.key, &permission.range_end);
    !key.is_empty() && !Bounds::new(key, range_end).is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn permission(right: Type, key: &[u8], range_end: &[u8]) -> Permission {
        Permission {
            perm_type: right.into(),
            key: Bytes::copy_from_slice(key),
            range_end: Bytes::copy_from_slice(range_end),
        }
    }

    fn permissions(granted: &[(Type, &str, &str)]) -> Permissions {
        let key_permission = granted
            .iter()
            .map(|(right, key, end)| permission(*right, key.as_bytes(), end.as_bytes()))
            .collect();
        let role = Role {
            name: Bytes::new(),
            key_permission,
        };
        Permissions::of([&role])
    }

    fn allows(granted: &[(Type, &str, &str)], right: Right, key: &'static str, end: &'static str) -> bool {
        permissions(granted).allow(
            right,
            &Bytes::from_static(key.as_bytes()),
            &Bytes::from_static(end.as_bytes()),
        )
    }

    /// GHSA-xg4h-6gfc-h4m8.
    #[test]
    fn a_permission_on_one_key_covers_no_range_that_has_more_in_it() {
        let one = [(Type::Readwrite, "k", "")];
        for right in [Right::Read, Right::Write] {
            assert!(allows(&one, right, "k", ""));
            assert!(allows(&one, right, "k", "k\0"), "the range that has only k in it");
            for (key, end) in [
                ("k", "\0"),
                ("k", "l"),
                ("k", "k\0\0"),
                ("k", "k0"),
                ("a", "z"),
                ("a", "\0"),
                ("\0", "\0"),
                ("k\0", ""),
                ("j", ""),
                ("", ""),
            ] {
                assert!(!allows(&one, right, key, end), "{key:?} {end:?}");
            }
        }
    }

    #[test]
    fn a_range_covers_its_keys_and_the_ranges_within() {
        let range = [(Type::Read, "b", "d")];
        for (key, end, expected) in [
            ("b", "", true),
            ("c", "", true),
            ("b", "d", true),
            ("bb", "c", true),
            ("d", "", false),
            ("a", "c", false),
            ("c", "dd", false),
            ("b", "\0", false),
            ("c", "b", false),
        ] {
            assert_eq!(allows(&range, Right::Read, key, end), expected, "{key:?} {end:?}");
            assert!(!allows(&range, Right::Write, key, end), "it is for reading");
        }
    }

    #[test]
    fn an_open_end_covers_all_behind() {
        let open = [(Type::Write, "m", "\0")];
        for (key, end, expected) in [
            ("m", "\0", true),
            ("z", "\0", true),
            ("m", "z", true),
            ("m", "", true),
            ("l", "\0", false),
            ("l", "", false),
        ] {
            assert_eq!(allows(&open, Right::Write, key, end), expected, "{key:?} {end:?}");
        }
        assert!(allows(&[(Type::Read, "\0", "\0")], Right::Read, "\0", "\0"));
    }

    #[test]
    fn what_touches_counts_as_one_and_what_leaves_a_gap_does_not() {
        let touching = [
            (Type::Read, "a", "b"),
            (Type::Readwrite, "b", "c"),
            (Type::Read, "c", ""),
        ];
        assert!(allows(&touching, Right::Read, "a", "c"));
        assert!(allows(&touching, Right::Read, "a", "c\0"));
        assert!(!allows(&touching, Right::Read, "a", "d"));
        assert!(!allows(&touching, Right::Write, "a", "c"));
        let apart = [(Type::Read, "a", "b"), (Type::Read, "b\0", "c")];
        assert!(!allows(&apart, Right::Read, "a", "c"), "b itself is missing");
        let within = [(Type::Read, "a", "z"), (Type::Read, "b", "c")];
        assert!(allows(&within, Right::Read, "a", "z"));
    }

    #[test]
    fn what_a_permission_may_say() {
        for (key, end, expected) in [
            ("a", "", true),
            ("a", "b", true),
            ("a", "\0", true),
            ("", "", false),
            ("", "\0", false),
            ("", "b", false),
            ("b", "a", false),
            ("a", "a", false),
        ] {
            let permission = permission(Type::Read, key.as_bytes(), end.as_bytes());
            assert_eq!(is_valid(&permission), expected, "{key:?} {end:?}");
        }
    }

    /// Short keys of few letters, so that ranges meet often; an end may be none, open, or a key.
    fn range() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let key = || proptest::collection::vec(0_u8..3, 1..3);
        let end = prop_oneof![
            Just(Vec::new()),
            Just(vec![0]),
            proptest::collection::vec(0_u8..4, 1..4)
        ];
        (key(), end)
    }

    proptest! {
        /// Against the definition: a range is allowed if there are keys in it and every one is in some permission. Where
        /// one range ends and no other goes on, the end itself is a key that is missing, so keys as long as ends suffice.
        #[test]
        fn covering_means_every_key(granted in proptest::collection::vec(range(), 0..4), asked in range()) {
            let role = Role {
                name: Bytes::new(),
                key_permission: granted.iter().map(|(key, end)| permission(Type::Read, key, end)).collect(),
            };
            let (key, end) = (Bytes::from(asked.0), Bytes::from(asked.1));
            let allowed = Permissions::of([&role]).allow(Right::Read, &key, &end);
            let asked = Bounds::new(&key, &end);
            let granted: Vec<Bounds> = role.key_permission.iter().map(|p| Bounds::new(&p.key, &p.range_end)).collect();
            let mut keys = all_keys().into_iter().filter(|key| asked.contains(key)).peekable();
            let every = keys.peek().is_some() && keys.all(|key| granted.iter().any(|range| range.contains(&key)));
            prop_assert_eq!(allowed, every, "{:?} of {:?}", asked, granted);
        }
    }

    fn all_keys() -> Vec<Vec<u8>> {
        let mut keys = vec![Vec::new()];
        let mut last = keys.clone();
        for _ in 0..4 {
            last = last
                .iter()
                .flat_map(|key: &Vec<u8>| (0..4).map(move |letter| [key.as_slice(), &[letter]].concat()))
                .collect();
            keys.extend(last.iter().cloned());
        }
        keys
    }
}
