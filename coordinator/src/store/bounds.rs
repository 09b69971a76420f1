//! Which keys a request means.

use std::ops::Bound;

use bytes::Bytes;

/// Bounds as the standard library's maps take them.
pub(super) type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// One key, or a half-open range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounds {
    One(Bytes),
    /// From the first key up to, without, the second.
    Range(Bytes, Bytes),
    From(Bytes),
}

impl Bounds {
    /// The protocol's rule: no end is one key, one zero byte as end is "to the last key".
    pub fn new(key: &Bytes, range_end: &Bytes) -> Self {
        match range_end.as_ref() {
            [] => Self::One(key.clone()),
            [0] => Self::From(key.clone()),
            _ => Self::Range(key.clone(), range_end.clone()),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Range(from, to) => from <= key && key < to.as_ref(),
            Self::From(from) => from <= key,
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Range(from, to) if from >= to)
    }

    /// The same as bounds of an ordered map; `None` where no key can lie within.
    pub(super) fn as_range(&self) -> Option<KeyRange<'_>> {
        match self {
            _ if self.is_empty() => None,
            Self::One(one) => Some((Bound::Included(one), Bound::Included(one))),
            Self::Range(from, to) => Some((Bound::Included(from), Bound::Excluded(to))),
            Self::From(from) => Some((Bound::Included(from), Bound::Unbounded)),
        }
    }

    /// Whether some key lies within both.
    pub fn overlaps(&self, other: &Self) -> bool {
        fn parts(bounds: &Bounds) -> (&[u8], Option<&[u8]>, bool) {
            match bounds {
                Bounds::One(one) => (one, Some(one), true),
                Bounds::Range(from, to) => (from, Some(to), false),
                Bounds::From(from) => (from, None, false),
            }
        }
        /// Whether the range that ends at `end` reaches `start`.
        fn reaches(end: Option<&[u8]>, included: bool, start: &[u8]) -> bool {
            end.is_none_or(|end| if included { start <= end } else { start < end })
        }
        if self.is_empty() || other.is_empty() {
            return false;
        }
        let ((start, end, included), (other_start, other_end, other_included)) = (parts(self), parts(other));
        reaches(end, included, other_start) && reaches(other_end, other_included, start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(key: &'static str, end: &'static str) -> Bounds {
        Bounds::new(&Bytes::from_static(key.as_bytes()), &Bytes::from_static(end.as_bytes()))
    }

    #[test]
    fn overlap_means_a_common_key() {
        for (one, other, expected) in [
            (bounds("a", ""), bounds("a", ""), true),
            (bounds("a", ""), bounds("b", ""), false),
            (bounds("a", "c"), bounds("b", ""), true),
            (bounds("a", "c"), bounds("c", ""), false),
            (bounds("a", "c"), bounds("c", "d"), false),
            (bounds("a", "c"), bounds("b", "\0"), true),
            (bounds("c", "a"), bounds("b", ""), false),
            (bounds("b", "\0"), bounds("z", "\0"), true),
            (bounds("b", "\0"), bounds("a", ""), false),
        ] {
            assert_eq!(one.overlaps(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.overlaps(&one), expected, "{other:?} {one:?}");
        }
    }
}
