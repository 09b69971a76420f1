//! NULL or not, and the lengths, of what functions give.

use crate::sql::data_type::{Length, SqlType};
use crate::sql::facts::Facts;

/// Functions that may find nothing, whatever they are given.
const MAY_BE_NULL: [&str; 33] = [
    "ARRAY_MAX",
    "ARRAY_MIN",
    "CONVERT_TZ",
    "DATE_FORMAT",
    "DECODE",
    "ELEMENT",
    "ELT",
    "FROM_BASE64",
    "FROM_UNIXTIME",
    "IF",
    "ITEM",
    "JSON_EXISTS",
    "JSON_QUERY",
    "JSON_VALUE",
    "LPAD",
    "PARSE_URL",
    "REGEXP_COUNT",
    "REGEXP_EXTRACT",
    "REGEXP_EXTRACT_ALL",
    "REGEXP_INSTR",
    "REGEXP_SUBSTR",
    "RPAD",
    "SPLIT_INDEX",
    "STR_TO_MAP",
    "SUBSTR",
    "SUBSTRING",
    "TO_BASE64",
    "TO_DATE",
    "TO_TIMESTAMP",
    "TO_TIMESTAMP_LTZ",
    "UNHEX",
    "URL_DECODE",
    "URL_ENCODE",
];
/// Functions that are never NULL, whatever they are given.
const NEVER_NULL: [&str; 4] = ["ARRAY", "IS_JSON", "MAP", "ROW"];

/// The facts of what `name` gives for arguments of these facts.
pub fn result_facts(name: &str, args: &[Facts]) -> Facts {
    let not_null = if MAY_BE_NULL.contains(&name) {
        false
    } else {
        NEVER_NULL.contains(&name) || args.iter().all(|arg| arg.not_null)
    };
    let first = args.first().cloned().unwrap_or_default();
    let facts = match name {
        "UPPER" | "LOWER" | "CEIL" | "FLOOR" | "ABS" | "ARRAY_DISTINCT" | "ARRAY_REVERSE" | "ARRAY_SLICE"
        | "ARRAY_SORT" => first,
        "SUBSTRING" | "SUBSTR" => varying(first),
        // TRIM(side, what, text)
        "TRIM" => varying(args.last().cloned().unwrap_or_default()),
        "CONCAT_OPERATOR" => joined(args),
        "GREATEST" | "LEAST" => together(args.iter()),
        "TIMESTAMPADD" => args.get(2).cloned().unwrap_or_default(),
        "ITEM" => first.children.last().cloned().unwrap_or_default(),
        "ARRAY" => Facts {
            children: vec![together(args.iter())],
            ..Facts::default()
        },
        "MAP" => Facts {
            children: vec![
                together(args.iter().step_by(2)),
                together(args.iter().skip(1).step_by(2)),
            ],
            ..Facts::default()
        },
        "ROW" => Facts {
            children: args.to_vec(),
            ..Facts::default()
        },
        _ => Facts::default(),
    };
    facts.with_not_null(not_null)
}

/// The facts of a cast value: those of the target, NULL where the value is or where TRY_CAST may fail.
pub fn cast_facts(from: &Facts, target: &SqlType, lenient: bool) -> Facts {
    target.facts().with_not_null(from.not_null && !lenient)
}

fn together<'a>(mut facts: impl Iterator<Item = &'a Facts>) -> Facts {
    let first = facts.next().cloned().unwrap_or_default();
    facts.fold(first, |all, facts| all.either(facts))
}

fn varying(facts: Facts) -> Facts {
    let length = facts.length.map(|length| match length {
        Length::Char(n) => Length::VarChar(n),
        other => other,
    });
    Facts { length, ..facts }
}

/// `||`: CHAR and CHAR are a CHAR of both lengths, VARCHAR and anything a VARCHAR.
fn joined(args: &[Facts]) -> Facts {
    let mut lengths = args.iter().map(|arg| arg.length);
    let first = lengths.next().flatten();
    let length = lengths.try_fold(first, |all, next| {
        Some(match (all?, next?) {
            (Length::Char(a), Length::Char(b)) => Some(Length::Char(a.saturating_add(b))),
            (Length::Char(a) | Length::VarChar(a), Length::Char(b) | Length::VarChar(b)) => {
                Some(Length::VarChar(a.saturating_add(b)))
            }
            _ => return None,
        })
    });
    Facts {
        length: length.flatten(),
        ..Facts::default()
    }
}
