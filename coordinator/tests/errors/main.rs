//! The refusals against etcd's own list.
//!
//! `rpctypes.txt` has one line for each error that etcd 3.6 may answer with: gRPC's code, a tab, the text.

use std::collections::BTreeMap;

use coordinator::Error;

/// Go's gRPC spells one code otherwise.
fn code_of(error: &Error) -> String {
    match format!("{:?}", error.code()).as_str() {
        "Cancelled" => "Canceled".to_owned(),
        other => other.to_owned(),
    }
}

#[test]
fn all_of_etcds_errors_have_their_text_and_code_and_there_are_no_others() {
    let expected: BTreeMap<&str, &str> = include_str!("rpctypes.txt")
        .lines()
        .map(|line| line.split_once('\t').expect("a code and a text"))
        .map(|(code, text)| (text, code))
        .collect();
    assert_eq!(expected.len(), 63);
    let ours: BTreeMap<String, String> = Error::REFUSALS
        .iter()
        .map(|error| (error.to_string(), code_of(error)))
        .collect();
    assert_eq!(ours.len(), Error::REFUSALS.len(), "no text twice");
    for (text, code) in &expected {
        assert_eq!(ours.get(*text).map(String::as_str), Some(*code), "{text}");
    }
    assert_eq!(ours.len(), expected.len());
}
