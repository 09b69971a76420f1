//! Arrays, maps and rows.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

use super::arguments::{array_of, as_int, as_text, boolean, common, first, int, map_of, text};
use super::cast::append_converted;
use super::math::compare;
use super::string::{give, give_bool, give_int, null};
use super::{Call, Failure, Function};
use crate::format::column::Column;
use crate::format::view::{Value, View};
use crate::output::text as shown;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["ARRAY"], "a*", |types| Ok(array_of(common(types)?)), make_array).with_nulls(),
    Function::new(&["MAP"], "a*", map_type, make_map).with_nulls(),
    Function::new(&["ROW"], "a*", row_type, make_row).with_nulls(),
    Function::new(&["ITEM"], "aa", item_type, item),
    Function::new(&["ELEMENT"], "l", item_of_first, |_, a, out| match items(&a[0]) {
        (Some(list), from, to) if to - from == 1 => give_value(out, list.value(from)),
        (_, from, to) if from == to => null(out),
        _ => Err("ELEMENT wants an array of one element.".to_owned()),
    }),
    Function::new(&["CARDINALITY"], "a", int, |_, a, out| match a[0] {
        Value::List { from, to, .. } | Value::Map { from, to, .. } => give_int(out, (to - from) as i64),
        _ => Err("CARDINALITY wants an array or a map.".to_owned()),
    }),
    Function::new(&["ARRAY_CONTAINS"], "la", boolean, |_, a, out| {
        let found = values(&a[0]).iter().any(|value| same(value, &a[1]));
        if matches!(a[0], Value::Null) {
            null(out)
        } else {
            give_bool(out, found)
        }
    })
    .with_nulls(),
    Function::new(&["ARRAY_POSITION"], "la", int, |_, a, out| {
        give_int(
            out,
            values(&a[0])
                .iter()
                .position(|value| same(value, &a[1]))
                .map_or(0, |at| at as i64 + 1),
        )
    }),
    Function::new(&["ARRAY_DISTINCT"], "l", first, |_, a, out| {
        let mut kept: Vec<Value<'_>> = Vec::new();
        for value in values(&a[0]) {
            if !kept.iter().any(|earlier| same(earlier, &value)) {
                kept.push(value);
            }
        }
        give_list(out, kept)
    }),
    Function::new(&["ARRAY_REMOVE"], "la", first, |_, a, out| {
        if matches!(a[0], Value::Null) {
            return null(out);
        }
        give_list(out, values(&a[0]).into_iter().filter(|value| !same(value, &a[1])))
    })
    .with_nulls(),
    Function::new(&["ARRAY_REVERSE"], "l", first, |_, a, out| {
        give_list(out, values(&a[0]).into_iter().rev())
    }),
    Function::new(&["ARRAY_SLICE"], "li?i", first, slice),
    Function::new(&["ARRAY_SORT"], "l?bb", first, sort),
    Function::new(&["ARRAY_CONCAT"], "l*", common, |_, a, out| {
        give_list(out, a.iter().flat_map(values))
    }),
    Function::new(&["ARRAY_UNION"], "ll", common, |_, a, out| {
        let mut kept: Vec<Value<'_>> = Vec::new();
        for value in a.iter().flat_map(values) {
            if !kept.iter().any(|earlier| same(earlier, &value)) {
                kept.push(value);
            }
        }
        give_list(out, kept)
    }),
    Function::new(&["ARRAY_MAX"], "l", item_of_first, |_, a, out| {
        extreme(out, &a[0], Ordering::Greater)
    }),
    Function::new(&["ARRAY_MIN"], "l", item_of_first, |_, a, out| {
        extreme(out, &a[0], Ordering::Less)
    }),
    Function::new(&["ARRAY_JOIN"], "ls?s", text, join),
    Function::new(&["ARRAY_APPEND"], "la", first, |call, a, out| {
        extended(call, out, &a[0], &a[1], false)
    })
    .with_nulls(),
    Function::new(&["ARRAY_PREPEND"], "la", first, |call, a, out| {
        extended(call, out, &a[0], &a[1], true)
    })
    .with_nulls(),
    Function::new(
        &["MAP_KEYS"],
        "m",
        |types| entry_type(types, 0).map(array_of),
        |_, a, out| match a[0] {
            Value::Map { keys, from, to, .. } => give_list(out, (from..to).map(|row| keys.value(row))),
            _ => null(out),
        },
    ),
    Function::new(
        &["MAP_VALUES"],
        "m",
        |types| entry_type(types, 1).map(array_of),
        |_, a, out| match a[0] {
            Value::Map { values, from, to, .. } => give_list(out, (from..to).map(|row| values.value(row))),
            _ => null(out),
        },
    ),
    Function::new(&["MAP_FROM_ARRAYS"], "ll", arrays_map_type, map_from_arrays),
];

fn give_value(out: &mut Column, value: Value<'_>) -> Result<(), Failure> {
    if !out.append_value(value) {
        out.append_null();
    }
    Ok(())
}

fn give_list<'a>(out: &mut Column, values: impl IntoIterator<Item = Value<'a>>) -> Result<(), Failure> {
    let Column::List { item, shape, .. } = out else {
        return null(out);
    };
    for value in values {
        give_value(item, value)?;
    }
    shape.close(item.len(), true);
    Ok(())
}

fn values<'a>(list: &Value<'a>) -> Vec<Value<'a>> {
    match *list {
        Value::List { items, from, to } => (from..to).map(|row| items.value(row)).collect(),
        _ => Vec::new(),
    }
}

/// Equality that takes null for equal to null.
fn same(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::List { .. }, Value::List { .. }) => {
            let (a, b) = (values(a), values(b));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same(a, b))
        }
        (
            Value::Row {
                children: a, row: i, ..
            },
            Value::Row {
                children: b, row: j, ..
            },
        ) => a.len() == b.len() && a.iter().zip(*b).all(|(a, b)| same(&a.value(*i), &b.value(*j))),
        // NaN is not equal to itself, and zeros are equal.
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Double(a), Value::Double(b)) => a == b,
        _ => compare(a, b) == Ordering::Equal,
    }
}

fn make_array(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let Column::List { item, shape, .. } = out else {
        return null(out);
    };
    for value in a {
        append_converted(call.session, item, *value)?;
    }
    shape.close(item.len(), true);
    Ok(())
}

fn map_type(types: &[DataType]) -> Result<DataType, Failure> {
    if types.is_empty() || !types.len().is_multiple_of(2) {
        return Err("MAP wants keys and values in turn.".to_owned());
    }
    let every_second = |from: usize| types.iter().skip(from).step_by(2).cloned().collect::<Vec<_>>();
    Ok(map_of(common(&every_second(0))?, common(&every_second(1))?))
}

fn make_map(call: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let Column::Map {
        keys, values, shape, ..
    } = out
    else {
        return null(out);
    };
    let pairs: Vec<&[Value<'_>]> = a.chunks_exact(2).collect();
    for (index, pair) in pairs.iter().enumerate() {
        if pairs[index + 1..].iter().any(|later| same(&later[0], &pair[0])) {
            continue;
        }
        if matches!(pair[0], Value::Null) {
            if !keys.append_null_key() {
                return Err("A key of MAP is null, and its keys are no strings. Leave the pair out.".to_owned());
            }
        } else {
            append_converted(call.session, keys, pair[0])?;
        }
        append_converted(call.session, values, pair[1])?;
    }
    shape.close(keys.len(), true);
    Ok(())
}

fn row_type(types: &[DataType]) -> Result<DataType, Failure> {
    let fields: Fields = types
        .iter()
        .enumerate()
        .map(|(i, t)| Arc::new(Field::new(format!("EXPR${i}"), t.clone(), true)))
        .collect();
    Ok(DataType::Struct(fields))
}

fn make_row(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let Column::Row { children, valid, .. } = out else {
        return null(out);
    };
    for (child, value) in children.iter_mut().zip(a) {
        give_value(child, *value)?;
    }
    valid.push(true);
    Ok(())
}

fn item_type(types: &[DataType]) -> Result<DataType, Failure> {
    match types {
        [DataType::List(item), index] if index.is_integer() || index.is_null() => Ok(item.data_type().clone()),
        [DataType::Map(..), _] => entry_type(types, 1),
        [DataType::Null, _] => Ok(DataType::Null),
        _ => Err("Cannot apply 'ITEM': write array[index] or map[key].".to_owned()),
    }
}

fn item(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    match a[0] {
        Value::List { items, from, to } => match usize::try_from(as_int(&a[1]) - 1) {
            Ok(index) if from + index < to => give_value(out, items.value(from + index)),
            Ok(_) => null(out),
            Err(_) => Err("Array element access needs an index starting at 1.".to_owned()),
        },
        Value::Map { keys, values, from, to } => match (from..to).find(|row| same(&keys.value(*row), &a[1])) {
            Some(row) => give_value(out, values.value(row)),
            None => null(out),
        },
        _ => null(out),
    }
}

fn item_of_first(types: &[DataType]) -> Result<DataType, Failure> {
    match types {
        [DataType::List(item), ..] => Ok(item.data_type().clone()),
        _ => Ok(DataType::Null),
    }
}

fn entry_type(types: &[DataType], index: usize) -> Result<DataType, Failure> {
    match types {
        [DataType::Map(entries, _), ..] => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Ok(fields[index].data_type().clone()),
            _ => Ok(DataType::Null),
        },
        _ => Ok(DataType::Null),
    }
}

fn slice(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let all = values(&a[0]);
    let len = all.len() as i64;
    // Negative positions count from the end, 0 is the first.
    let place = |position: i64| match position {
        0 => 1,
        position if position < 0 => len + position + 1,
        position => position,
    };
    let (start, end) = (place(as_int(&a[1])), a.get(2).map_or(len, |end| place(as_int(end))));
    let (start, end) = (start.max(1), end.min(len));
    if start > end {
        return give_list(out, []);
    }
    give_list(out, all[start as usize - 1..end as usize].iter().copied())
}

fn sort(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let flag = |index: usize| match a.get(index) {
        Some(Value::Boolean(flag)) => Some(*flag),
        _ => None,
    };
    let ascending = flag(1).unwrap_or(true);
    let nulls_first = flag(2).unwrap_or(ascending);
    let mut all = values(&a[0]);
    all.sort_by(|a, b| match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => {
            if nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (_, Value::Null) => {
            if nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        _ if ascending => compare(a, b),
        _ => compare(b, a),
    });
    give_list(out, all)
}

fn extreme(out: &mut Column, list: &Value<'_>, wanted: Ordering) -> Result<(), Failure> {
    let present = values(list).into_iter().filter(|value| !matches!(value, Value::Null));
    match present.reduce(|best, value| if compare(&value, &best) == wanted { value } else { best }) {
        Some(value) => give_value(out, value),
        None => null(out),
    }
}

fn join(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let parts: Vec<String> = values(&a[0])
        .iter()
        .filter_map(|value| match value {
            Value::Null => a.get(2).map(|null| as_text(null).to_owned()),
            value => {
                let mut part = String::new();
                shown::write_value(&mut part, *value);
                Some(part)
            }
        })
        .collect();
    give(out, &parts.join(as_text(&a[1])))
}

fn extended(
    call: &Call<'_>,
    out: &mut Column,
    list: &Value<'_>,
    value: &Value<'_>,
    front: bool,
) -> Result<(), Failure> {
    let Column::List { item, shape, .. } = out else {
        return null(out);
    };
    if matches!(list, Value::Null) {
        shape.close(item.len(), false);
        return Ok(());
    }
    if front {
        append_converted(call.session, item, *value)?;
    }
    for present in values(list) {
        give_value(item, present)?;
    }
    if !front {
        append_converted(call.session, item, *value)?;
    }
    shape.close(item.len(), true);
    Ok(())
}

fn arrays_map_type(types: &[DataType]) -> Result<DataType, Failure> {
    Ok(map_of(item_of_first(&types[..1])?, item_of_first(&types[1..])?))
}

fn map_from_arrays(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let (from_keys, from_values) = (values(&a[0]), values(&a[1]));
    if from_keys.len() != from_values.len() {
        return Err(format!(
            "Invalid function MAP_FROM_ARRAYS call: {} keys and {} values. Give as many of both.",
            from_keys.len(),
            from_values.len()
        ));
    }
    let Column::Map {
        keys, values, shape, ..
    } = out
    else {
        return null(out);
    };
    for (key, value) in from_keys.into_iter().zip(from_values) {
        give_value(keys, key)?;
        give_value(values, value)?;
    }
    shape.close(keys.len(), true);
    Ok(())
}

fn items<'a>(list: &Value<'a>) -> (Option<&'a View<'a>>, usize, usize) {
    match *list {
        Value::List { items, from, to } => (Some(items), from, to),
        _ => (None, 0, 0),
    }
}
