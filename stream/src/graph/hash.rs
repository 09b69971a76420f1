//! The hash that routes keys: XXH64 with seed 0 over a byte form of the key that is written down here.
//!
//! It must not change with a release of a library, for a checkpoint is cut by it. Its name is in every manifest.
//!
//! The byte form of a key is that of its values one behind the other, each a tag and what the tag says; numbers are
//! little-endian. Whole numbers of all widths have one form, and a NaN is one NaN.

use twox_hash::XxHash64;

use crate::format::view::Value;

/// The name of hash and byte form, as a manifest has it.
pub const KEY_HASH: &str = "xxh64-key-bytes-1";

/// The hash of a key's byte form.
pub fn hash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// Appends the byte form of a value.
pub fn write(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => out.push(0),
        Value::Boolean(value) => out.extend([1, u8::from(value)]),
        Value::Integer(value) => tagged(out, 2, &value.to_le_bytes()),
        Value::Float(value) => {
            let value = if value.is_nan() { f32::NAN } else { value };
            tagged(out, 3, &value.to_bits().to_le_bytes());
        }
        Value::Double(value) => {
            let value = if value.is_nan() { f64::NAN } else { value };
            tagged(out, 4, &value.to_bits().to_le_bytes());
        }
        Value::Decimal { unscaled, scale } => {
            tagged(out, 5, &unscaled.to_le_bytes());
            out.push(scale as u8);
        }
        Value::Text(text) => sized(out, 6, text.as_bytes()),
        Value::Bytes(bytes) => sized(out, 7, bytes),
        Value::Date(days) => tagged(out, 8, &days.to_le_bytes()),
        Value::Time { second, nano, .. } => {
            tagged(out, 9, &second.to_le_bytes());
            out.extend(nano.to_le_bytes());
        }
        Value::Timestamp { moment, .. } => {
            tagged(out, 10, &moment.second.to_le_bytes());
            out.extend(moment.nano.to_le_bytes());
        }
        Value::Millis(millis) => tagged(out, 11, &millis.to_le_bytes()),
        Value::Months(months) => tagged(out, 12, &months.to_le_bytes()),
        Value::List { items, from, to } => {
            tagged(out, 13, &((to - from) as u64).to_le_bytes());
            (from..to).for_each(|row| write(out, items.value(row)));
        }
        Value::Map { keys, values, from, to } => {
            tagged(out, 14, &((to - from) as u64).to_le_bytes());
            for row in from..to {
                write(out, keys.value(row));
                write(out, values.value(row));
            }
        }
        Value::Row { children, row, .. } => {
            tagged(out, 15, &(children.len() as u64).to_le_bytes());
            children.iter().for_each(|child| write(out, child.value(row)));
        }
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

fn sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    tagged(out, tag, &(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changing one of these numbers strands every checkpoint that was written: then [`KEY_HASH`] needs a new name.
    #[test]
    fn the_hash_of_a_key_is_written_down() {
        let of = |values: &[Value<'_>]| {
            let mut bytes = Vec::new();
            values.iter().for_each(|value| write(&mut bytes, *value));
            hash(&bytes)
        };
        assert_eq!(hash(b""), 0xef46_db37_51d8_e999);
        let mut bytes = Vec::new();
        write(&mut bytes, Value::Integer(7));
        write(&mut bytes, Value::Text("a"));
        write(&mut bytes, Value::Null);
        assert_eq!(bytes, [2, 7, 0, 0, 0, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0, b'a', 0]);
        assert_eq!(of(&[Value::Double(f64::NAN)]), of(&[Value::Double(-f64::NAN)]));
        assert_ne!(
            of(&[Value::Text("ab"), Value::Text("c")]),
            of(&[Value::Text("a"), Value::Text("bc")])
        );
    }
}
