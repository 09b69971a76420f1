//! `--config-file`: etcd's flags as a file.
//!
//! The format is YAML, of which etcd's files use little: one `name: value` a line, and below `client-transport-security:`
//! and `peer-transport-security:` some more, indented. That is read here; anything else is refused with its line. As in
//! etcd, flags beside the file are not looked at.

use std::ffi::OsString;

use crate::server::settings::flags::etcd_spelling;

/// The arguments with what a config file says in the place of the flags, if one is named.
pub(in crate::server) fn arguments(argv: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let Some(path) = named(&argv) else { return Ok(argv) };
    let read = std::fs::read_to_string(&path);
    let text = read.map_err(|error| format!("--config-file={}: {error}", path.display()))?;
    let flags = flags(&text).map_err(|reason| format!("--config-file={}: {reason}", path.display()))?;
    let program = argv.into_iter().take(1);
    // Names are as old in files as they are on command lines.
    Ok(etcd_spelling(program.chain(flags.into_iter().map(OsString::from))))
}

fn named(argv: &[OsString]) -> Option<std::path::PathBuf> {
    let mut rest = argv.iter().skip(1);
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("--config-file") => return rest.next().map(Into::into),
            Some(text) => {
                if let Some(path) = text.strip_prefix("--config-file=") {
                    return Some(path.into());
                }
            }
            None => {}
        }
    }
    std::env::var_os("ETCD_CONFIG_FILE").map(Into::into)
}

/// The flags that a file stands for.
fn flags(text: &str) -> Result<Vec<String>, String> {
    let mut flags = Vec::new();
    let mut section = None;
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}", number + 1);
        let content = without_comment(line);
        if content.trim().is_empty() || content.trim() == "---" {
            continue;
        }
        let indented = content.starts_with([' ', '\t']);
        let (name, value) = content
            .split_once(':')
            .ok_or_else(|| wrong("it is not `name: value`"))?;
        let (name, value) = (name.trim(), unquoted(value.trim()));
        if value.starts_with(['[', '{', '|', '>', '&', '*', '!']) || name.starts_with('-') {
            return Err(wrong("only `name: value` is understood"));
        }
        if !indented {
            section = None;
            if value.is_empty() && name.ends_with("-transport-security") {
                section = Some(name.trim_end_matches("transport-security"));
                continue;
            }
        }
        if value.is_empty() || value == "null" {
            continue;
        }
        let prefix = match (section, indented) {
            (Some("peer-"), true) => "peer-",
            (Some(_), true) | (None, false) => "",
            _ => return Err(wrong("it is indented below nothing that has parts")),
        };
        flags.push(format!("--{prefix}{name}={value}"));
    }
    Ok(flags)
}

/// A line up to `#`, where that does not stand in quotes or in a word.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if before.is_whitespace() => return &line[..at],
            _ => {}
        }
        before = c;
    }
    line
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_flags() {
        let text = "# etcd\nname: 'n1'\ndata-dir: /var/lib/x # here\nquota-backend-bytes: 0\n\
            initial-cluster: \"n1=http://h:1\"\nlog-outputs:\nclient-transport-security:\n  cert-file: a#b\n  client-cert-auth: true\n\
            peer-transport-security:\n  key-file: k\npre-vote: false\n";
        assert_eq!(
            flags(text).expect("it is plain"),
            [
                "--name=n1",
                "--data-dir=/var/lib/x",
                "--quota-backend-bytes=0",
                "--initial-cluster=n1=http://h:1",
                "--cert-file=a#b",
                "--client-cert-auth=true",
                "--peer-key-file=k",
                "--pre-vote=false",
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line) in [
            ("name: a\nnonsense", "line 2"),
            ("cors: [a]", "line 1"),
            ("- a: b", "line 1"),
            ("  a: b", "line 1"),
        ] {
            let refusal = flags(text).expect_err(text);
            assert!(refusal.contains(line), "{refusal}");
        }
    }

    #[test]
    fn names_that_were_once_experimental_are_known_in_files_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("etcd.yml");
        std::fs::write(&path, "experimental-initial-corrupt-check: true\nlog-level: panic\n").expect("written");
        let flag = format!("--config-file={}", path.display());
        let argv = arguments(vec!["coordinator".into(), flag.into()]).expect("readable");
        assert_eq!(
            argv,
            ["coordinator", "--initial-corrupt-check=true", "--log-level=error"]
        );
    }
}
