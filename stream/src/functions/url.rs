//! URLs: their parts, and their escapes.

use super::arguments::{as_text, text};
use super::string::{give, null};
use super::{Call, Failure, Function};
use crate::format::column::Column;
use crate::format::view::Value;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["PARSE_URL"], "ss?s", text, parse_url),
    Function::new(&["URL_ENCODE"], "s", text, |_, a, out| {
        give(out, &encode(as_text(&a[0])))
    }),
    Function::new(&["URL_DECODE"], "s", text, |_, a, out| match decode(as_text(&a[0])) {
        Some(text) => give(out, &text),
        None => null(out),
    }),
];

/// The parts of `scheme://authority/path?query#fragment`, each without its separator.
struct Parts<'a> {
    scheme: &'a str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let known = ["http", "https", "ftp", "file", "jar"];
        if !known.contains(&scheme.to_ascii_lowercase().as_str()) {
            return None;
        }
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rest, None),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        Some(Self {
            scheme,
            authority,
            path,
            query,
            fragment,
        })
    }

    fn user(&self) -> Option<&'a str> {
        self.authority.rsplit_once('@').map(|(user, _)| user)
    }

    fn host(&self) -> Option<&'a str> {
        let host = self.authority.rsplit_once('@').map_or(self.authority, |(_, host)| host);
        let end = if host.starts_with('[') {
            host.find(']').map_or(host.len(), |at| at + 1)
        } else {
            host.find(':').unwrap_or(host.len())
        };
        Some(&host[..end]).filter(|host| !host.is_empty())
    }
}

fn parse_url(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let Some(parts) = Parts::of(as_text(&a[0])) else {
        return null(out);
    };
    let file;
    let part = match as_text(&a[1]) {
        "HOST" => parts.host(),
        "PATH" => Some(parts.path),
        "QUERY" => match a.get(2) {
            None => parts.query,
            Some(key) => parts
                .query
                .and_then(|query| {
                    query
                        .split('&')
                        .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == as_text(key)))
                })
                .map(|(_, value)| value),
        },
        "REF" => parts.fragment,
        "PROTOCOL" => Some(parts.scheme),
        "AUTHORITY" => Some(parts.authority).filter(|authority| !authority.is_empty()),
        "USERINFO" => parts.user(),
        "FILE" => {
            file = parts
                .query
                .map_or_else(|| parts.path.to_owned(), |query| format!("{}?{query}", parts.path));
            Some(file.as_str())
        }
        _ => None,
    };
    match part {
        Some(part) => give(out, part),
        None => null(out),
    }
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| (b as char).to_digit(16));
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
