//! What an SQL type says beyond its Arrow type.

use super::data_type::Length;

/// The declared length, the precision of a time, NOT NULL, and the same of the types within: an array's element, a map's
/// key and value, a row's fields. Without children all within is nullable and without a length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub length: Option<Length>,
    /// Of TIME, TIMESTAMP and TIMESTAMP_LTZ, where it differs from that of the Arrow unit.
    pub precision: Option<u8>,
    pub not_null: bool,
    pub children: Vec<Facts>,
}

impl Facts {
    pub fn not_null() -> Self {
        Self {
            not_null: true,
            ..Self::default()
        }
    }

    pub fn length(length: Length) -> Self {
        Self {
            length: Some(length),
            ..Self::default()
        }
    }

    /// The same, NULL or not.
    pub fn with_not_null(self, not_null: bool) -> Self {
        Self { not_null, ..self }
    }

    /// The facts of a type within.
    pub fn child(&self, index: usize) -> Self {
        self.children.get(index).cloned().unwrap_or_default()
    }

    /// What holds for a value that is one of two: the longer length, NULL where one may be.
    pub fn either(&self, other: &Self) -> Self {
        Self {
            length: longer(self.length, other.length),
            precision: self.precision.max(other.precision),
            not_null: self.not_null && other.not_null,
            children: match (self.children.len(), other.children.len()) {
                (a, b) if a == b => self
                    .children
                    .iter()
                    .zip(&other.children)
                    .map(|(a, b)| a.either(b))
                    .collect(),
                _ => Vec::new(),
            },
        }
    }
}

/// CHAR(1) and CHAR(3) have VARCHAR(3) in common; STRING and anything have STRING.
fn longer(left: Option<Length>, right: Option<Length>) -> Option<Length> {
    use Length::{Binary, Char, VarBinary, VarChar};
    Some(match (left?, right?) {
        (a, b) if a == b => a,
        (Char(a) | VarChar(a), Char(b) | VarChar(b)) => VarChar(a.max(b)),
        (Binary(a) | VarBinary(a), Binary(b) | VarBinary(b)) => VarBinary(a.max(b)),
        _ => return None,
    })
}
