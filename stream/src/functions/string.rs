//! Functions on text. Positions count characters from 1.

use super::arguments::{array_of, as_int, as_text, boolean, int, map_of, text};
use super::{Call, Failure, Function};
use crate::format::column::Column;
use crate::format::view::Value;
use arrow::datatypes::DataType;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["UPPER"], "s", text, |_, a, out| {
        give(out, &as_text(&a[0]).to_uppercase())
    }),
    Function::new(&["LOWER"], "s", text, |_, a, out| {
        give(out, &as_text(&a[0]).to_lowercase())
    }),
    Function::new(&["INITCAP"], "s", text, |_, a, out| give(out, &initcap(as_text(&a[0])))),
    Function::new(&["CHAR_LENGTH", "CHARACTER_LENGTH"], "s", int, |_, a, out| {
        give_int(out, as_text(&a[0]).chars().count() as i64)
    }),
    Function::new(&["OCTET_LENGTH"], "s", int, |_, a, out| {
        give_int(out, as_text(&a[0]).len() as i64)
    }),
    Function::new(&["CONCAT"], "ss*", text, concat),
    Function::new(&["CONCAT_OPERATOR"], "ss*", text, concat),
    Function::new(&["CONCAT_WS"], "ss*", text, concat_ws).with_nulls(),
    Function::new(&["SUBSTRING", "SUBSTR"], "si?i", text, substring),
    Function::new(&["LEFT"], "si", text, |_, a, out| {
        give(
            out,
            &as_text(&a[0])
                .chars()
                .take(as_int(&a[1]).max(0) as usize)
                .collect::<String>(),
        )
    }),
    Function::new(&["RIGHT"], "si", text, |_, a, out| {
        let text = as_text(&a[0]);
        let skip = (text.chars().count() as i64 - as_int(&a[1]).max(0)).max(0);
        give(out, &text.chars().skip(skip as usize).collect::<String>())
    }),
    Function::new(&["POSITION"], "ss", int, |_, a, out| {
        give_int(out, position(as_text(&a[0]), as_text(&a[1]), 1))
    }),
    Function::new(&["LOCATE"], "ss?i", int, |_, a, out| {
        give_int(
            out,
            position(as_text(&a[0]), as_text(&a[1]), a.get(2).map_or(1, as_int)),
        )
    }),
    Function::new(&["INSTR"], "ss?ii", int, instr),
    Function::new(&["OVERLAY"], "ssi?i", text, overlay),
    Function::new(&["LPAD"], "sis", text, |_, a, out| pad(out, a, true)),
    Function::new(&["RPAD"], "sis", text, |_, a, out| pad(out, a, false)),
    Function::new(&["TRIM"], "sss", text, trim),
    Function::new(&["LTRIM"], "s?s", text, |_, a, out| {
        let set = a.get(1).map_or(" ", as_text);
        give(out, as_text(&a[0]).trim_start_matches(|c| set.contains(c)))
    }),
    Function::new(&["RTRIM"], "s?s", text, |_, a, out| {
        let set = a.get(1).map_or(" ", as_text);
        give(out, as_text(&a[0]).trim_end_matches(|c| set.contains(c)))
    }),
    Function::new(&["BTRIM"], "s?s", text, |_, a, out| {
        let set = a.get(1).map_or(" ", as_text);
        give(out, as_text(&a[0]).trim_matches(|c| set.contains(c)))
    }),
    Function::new(&["REPLACE"], "sss", text, |_, a, out| {
        give(out, &as_text(&a[0]).replace(as_text(&a[1]), as_text(&a[2])))
    }),
    Function::new(&["TRANSLATE"], "sss", text, translate),
    Function::new(&["REVERSE"], "s", text, |_, a, out| {
        give(out, &as_text(&a[0]).chars().rev().collect::<String>())
    }),
    Function::new(&["REPEAT"], "si", text, repeat),
    Function::new(&["SPLIT_INDEX"], "sai", text, split_index),
    Function::new(&["SPLIT"], "ss", |_| Ok(array_of(DataType::Utf8)), split),
    Function::new(&["STARTSWITH"], "ss", boolean, |_, a, out| {
        give_bool(out, as_text(&a[0]).starts_with(as_text(&a[1])))
    }),
    Function::new(&["ENDSWITH"], "ss", boolean, |_, a, out| {
        give_bool(out, as_text(&a[0]).ends_with(as_text(&a[1])))
    }),
    Function::new(&["ASCII"], "s", int, |_, a, out| {
        give_int(
            out,
            as_text(&a[0]).as_bytes().first().map_or(0, |b| i64::from(*b as i8)),
        )
    }),
    Function::new(&["CHR"], "i", text, |_, a, out| match as_int(&a[0]) {
        code if code < 0 => give(out, ""),
        code => give(out, &char::from((code & 0xff) as u8).to_string()),
    }),
    Function::new(&["ELT"], "is*", text, |_, a, out| {
        match a.get(as_int(&a[0]).max(0) as usize) {
            Some(Value::Text(text)) if as_int(&a[0]) > 0 => give(out, text),
            _ => null(out),
        }
    })
    .with_nulls(),
    Function::new(
        &["STR_TO_MAP"],
        "s?ss",
        |_| Ok(map_of(DataType::Utf8, DataType::Utf8)),
        str_to_map,
    ),
    Function::new(&["UUID"], "", text, |call, _, out| {
        let (high, low) = ((call.outside.random)(), (call.outside.random)());
        let bits = u128::from(high) << 64 | u128::from(low);
        let uuid = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
        give(out, &uuid.to_string())
    })
    .volatile(),
    Function::new(&["CURRENT_DATABASE"], "", text, |_, _, out| {
        give(out, "default_database")
    }),
    Function::new(&["CURRENT_CATALOG"], "", text, |_, _, out| give(out, "default_catalog")),
];

/// The longest text a function makes, in bytes; longer ones fail the row, not the process.
const TEXT_BYTES_MAX: usize = 256 << 20;

pub fn give(out: &mut Column, text: &str) -> Result<(), Failure> {
    match out {
        Column::Text(values) => values.append_value(text),
        other => other.append_null(),
    }
    Ok(())
}

pub fn give_int(out: &mut Column, value: i64) -> Result<(), Failure> {
    if !out.append_value(Value::Integer(value)) {
        out.append_null();
    }
    Ok(())
}

pub fn give_bool(out: &mut Column, value: bool) -> Result<(), Failure> {
    if !out.append_value(Value::Boolean(value)) {
        out.append_null();
    }
    Ok(())
}

pub fn null(out: &mut Column) -> Result<(), Failure> {
    out.append_null();
    Ok(())
}

/// Words are runs of ASCII letters and digits, as Calcite has them; other letters are left alone.
fn initcap(text: &str) -> String {
    let mut inside = false;
    let cased = text.chars().map(|c| {
        let cased = if inside {
            c.to_ascii_lowercase()
        } else {
            c.to_ascii_uppercase()
        };
        inside = c.is_ascii_alphanumeric();
        cased
    });
    cased.collect()
}

fn concat(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    give(out, &a.iter().map(as_text).collect::<String>())
}

fn concat_ws(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    if matches!(a[0], Value::Null) {
        return null(out);
    }
    let parts: Vec<&str> = a[1..]
        .iter()
        .filter(|v| !matches!(v, Value::Null))
        .map(as_text)
        .collect();
    give(out, &parts.join(as_text(&a[0])))
}

fn substring(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let text = as_text(&a[0]);
    let count = text.chars().count() as i64;
    let len = a.get(2).map_or(i64::MAX, as_int);
    let start = match as_int(&a[1]) {
        0 => 0,
        start if start > 0 => start - 1,
        start => count + start,
    };
    if len < 0 || start < 0 || start >= count {
        return give(out, "");
    }
    give(
        out,
        &text
            .chars()
            .skip(start as usize)
            .take(usize::try_from(len).unwrap_or(usize::MAX))
            .collect::<String>(),
    )
}

/// Where `part` begins in `text`, from the character `from` on; 0 is nowhere.
fn position(part: &str, text: &str, from: i64) -> i64 {
    if part.is_empty() {
        return 1;
    }
    let Some(skip) = usize::try_from(from - 1).ok() else {
        return 0;
    };
    let start = text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at);
    text[start..]
        .find(part)
        .map_or(0, |at| text[..start + at].chars().count() as i64 + 1)
}

fn instr(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (text, part) = (as_text(&a[0]), as_text(&a[1]));
    let nth = a.get(3).map_or(1, as_int);
    let mut from = a.get(2).map_or(1, as_int);
    if from <= 0 || nth <= 0 {
        return null(out);
    }
    let mut found = 0;
    for _ in 0..nth.min(text.len() as i64 + 1) {
        found = position(part, text, from);
        if found == 0 {
            break;
        }
        from = found + 1;
    }
    give_int(out, found)
}

/// The text of UTF-16 units; half a character is shown as Java encodes it.
fn of_units(units: &[u16]) -> String {
    char::decode_utf16(units.iter().copied())
        .map(|decoded| decoded.unwrap_or('?'))
        .collect()
}

/// As Flink computes it on Java's strings, positions count UTF-16 units.
fn overlay(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let text: Vec<u16> = as_text(&a[0]).encode_utf16().collect();
    let new: Vec<u16> = as_text(&a[1]).encode_utf16().collect();
    let count = text.len() as i64;
    let start = as_int(&a[2]);
    let len = a.get(3).map_or(new.len() as i64, as_int);
    if start <= 0 || start > count {
        return give(out, as_text(&a[0]));
    }
    let mut units = text[..start as usize - 1].to_vec();
    units.extend(new);
    let end = start - 1 + len;
    if (0..count).contains(&end) {
        units.extend(&text[end as usize..]);
    }
    give(out, &of_units(&units))
}

/// Lengths count UTF-16 units, as in [`overlay`].
fn pad(out: &mut Column, a: &[Value<'_>], left: bool) -> Result<(), Failure> {
    let len = as_int(&a[1]);
    let text: Vec<u16> = as_text(&a[0]).encode_utf16().collect();
    let filler: Vec<u16> = as_text(&a[2]).encode_utf16().collect();
    let count = text.len() as i64;
    if len < 0 || (filler.is_empty() && len > count) {
        return null(out);
    }
    if len as usize > TEXT_BYTES_MAX / 4 {
        return Err(format!("A text of {len} characters is too long. Pad to fewer."));
    }
    let cut = &text[..text.len().min(len as usize)];
    let mut units: Vec<u16> = filler
        .iter()
        .copied()
        .cycle()
        .take((len - count).max(0) as usize)
        .collect();
    if left {
        units.extend(cut);
    } else {
        units = [cut, units.as_slice()].concat();
    }
    give(out, &of_units(&units))
}

fn trim(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (side, part, text) = (as_text(&a[0]), as_text(&a[1]), as_text(&a[2]));
    let cut = |c: char| part.contains(c);
    give(
        out,
        match side {
            "LEADING" => text.trim_start_matches(cut),
            "TRAILING" => text.trim_end_matches(cut),
            _ => text.trim_matches(cut),
        },
    )
}

fn translate(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (from, to): (Vec<char>, Vec<char>) = (as_text(&a[1]).chars().collect(), as_text(&a[2]).chars().collect());
    let changed = as_text(&a[0])
        .chars()
        .filter_map(|c| match from.iter().position(|f| *f == c) {
            Some(index) => to.get(index).copied(),
            None => Some(c),
        });
    give(out, &changed.collect::<String>())
}

fn repeat(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (text, times) = (as_text(&a[0]), as_int(&a[1]).max(0) as usize);
    if text.len().saturating_mul(times) > TEXT_BYTES_MAX {
        return Err(format!(
            "REPEAT makes a text of more than 256 MB: {times} times {} bytes. Repeat less.",
            text.len()
        ));
    }
    give(out, &text.repeat(times))
}

fn split_index(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let text = as_text(&a[0]);
    let separator = match a[1] {
        Value::Integer(code) if (1..=255).contains(&code) => char::from(code as u8).to_string(),
        Value::Integer(_) => return null(out),
        ref other => as_text(other).to_owned(),
    };
    if separator.is_empty() || text.is_empty() {
        return null(out);
    }
    match usize::try_from(as_int(&a[2]))
        .ok()
        .and_then(|index| text.split(separator.as_str()).nth(index))
    {
        Some(part) => give(out, part),
        None => null(out),
    }
}

fn split(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (text, separator) = (as_text(&a[0]), as_text(&a[1]));
    let Column::List { item, shape, .. } = out else {
        return null(out);
    };
    if separator.is_empty() {
        for c in text.chars() {
            give(item, &c.to_string())?;
        }
    } else {
        text.split(separator).try_for_each(|part| give(item, part))?;
    }
    shape.close(item.len(), true);
    Ok(())
}

fn str_to_map(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (pairs, keys_and_values) = (a.get(1).map_or(",", as_text), a.get(2).map_or("=", as_text));
    let pairs = call.regexes.get(pairs)?.clone();
    let keys_and_values = call.regexes.get(keys_and_values)?.clone();
    let mut entries: Vec<(&str, Option<&str>)> = Vec::new();
    for pair in pairs.split(as_text(&a[0])) {
        let mut halves = keys_and_values.splitn(pair, 2);
        let (key, value) = (halves.next().unwrap_or_default(), halves.next());
        entries.retain(|(earlier, _)| *earlier != key);
        entries.push((key, value));
    }
    let Column::Map {
        keys, values, shape, ..
    } = out
    else {
        return null(out);
    };
    for (key, value) in entries {
        give(keys, key)?;
        match value {
            Some(value) => give(values, value)?,
            None => values.append_null(),
        }
    }
    shape.close(keys.len(), true);
    Ok(())
}
