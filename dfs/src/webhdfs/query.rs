//! Requests: the path, the operation, its parameters.

use std::collections::BTreeMap;

use axum::http::Uri;

use super::{ANONYMOUS, PREFIX};
use crate::Error;

/// A request's address, taken apart. Names of parameters are lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub path: String,
    pub operation: String,
    parameters: BTreeMap<String, String>,
}

impl Query {
    pub fn parse(uri: &Uri) -> Result<Self, Error> {
        let bad = |what: &str| Error::IllegalArgument(format!("{what} is not properly percent-encoded"));
        let path = decode(uri.path().strip_prefix(PREFIX).unwrap_or("/"), false).ok_or_else(|| bad("the path"))?;
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let mut parameters = BTreeMap::new();
        for pair in uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, true).ok_or_else(|| bad("a parameter's name"))?;
            let value = decode(value, true).ok_or_else(|| bad("a parameter's value"))?;
            parameters.insert(name.to_ascii_lowercase(), value);
        }
        let operation = parameters
            .get("op")
            .map(|op| op.to_ascii_uppercase())
            .unwrap_or_default();
        Ok(Self {
            path,
            operation,
            parameters,
        })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty() && *value != "null")
    }

    pub fn user(&self) -> String {
        self.get("user.name").unwrap_or(ANONYMOUS).to_owned()
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(invalid(name, &format!("Failed to parse \"{other}\" to Boolean."))),
        }
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let parse = |value: &str| {
            value.parse().map_err(|_| {
                invalid(
                    name,
                    &format!("Failed to parse \"{value}\" as a radix-10 long integer."),
                )
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// A permission: octal digits.
    pub fn permission(&self, name: &str, default: u32) -> Result<u32, Error> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => u32::from_str_radix(value, 8)
                .ok()
                .filter(|bits| *bits <= 0o1777)
                .ok_or_else(|| invalid(name, &format!("Failed to parse \"{value}\" as a radix-8 integer."))),
        }
    }

    pub fn required(&self, name: &str) -> Result<&str, Error> {
        self.get(name)
            .ok_or_else(|| Error::IllegalArgument(format!("{name} is missing")))
    }

    /// The parameters again, for a redirect.
    pub fn encode_parameters(&self) -> String {
        let pairs: Vec<String> = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        pairs.join("&")
    }
}

fn invalid(name: &str, why: &str) -> Error {
    Error::IllegalArgument(format!("Invalid value for webhdfs parameter \"{name}\": {why}"))
}

fn decode(text: &str, form: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                let digits = std::str::from_utf8(digits).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = tail;
            }
            b'+' if form => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes all but letters, digits and a few marks; slashes stay.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let uri: Uri = "/webhdfs/v1/a%20b/%C3%A4?op=liststatus&user.name=x+y&Overwrite=True"
            .parse()
            .unwrap();
        let query = Query::parse(&uri).unwrap();
        assert_eq!(
            (query.path.as_str(), query.operation.as_str()),
            ("/a b/ä", "LISTSTATUS")
        );
        assert_eq!(
            (query.user().as_str(), query.flag("overwrite", false).unwrap()),
            ("x y", true)
        );
        assert_eq!(encode(&query.path), "/a%20b/%C3%A4");
        assert!(Query::parse(&"/webhdfs/v1/%zz?op=OPEN".parse().unwrap()).is_err());
        assert_eq!(Query::parse(&"/webhdfs/v1?op=OPEN".parse().unwrap()).unwrap().path, "/");
    }
}
