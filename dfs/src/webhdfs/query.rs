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
    /// The values of `xattr.name`, which may come several times.
    pub xattr_names: Vec<String>,
}

impl Query {
    pub fn parse(uri: &Uri) -> Result<Self, Error> {
        let bad = |what: &str| Error::IllegalArgument(format!("{what} is not properly percent-encoded"));
        let path = decode(uri.path().strip_prefix(PREFIX).unwrap_or("/"), false).ok_or_else(|| bad("the path"))?;
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let mut parameters = BTreeMap::new();
        let mut xattr_names = Vec::new();
        for pair in uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, true).ok_or_else(|| bad("a parameter's name"))?;
            let value = decode(value, true).ok_or_else(|| bad("a parameter's value"))?;
            if name.eq_ignore_ascii_case("xattr.name") && !value.is_empty() {
                xattr_names.push(value.clone());
            }
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
            xattr_names,
        })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty() && *value != "null")
    }

    /// Who acts, and through whom if that is another: `doas` and `user.name`.
    pub fn users(&self) -> (String, Option<String>) {
        let named = self.get("user.name").unwrap_or(ANONYMOUS).to_owned();
        match self.get("doas") {
            Some(effective) if effective != named => (effective.to_owned(), Some(named)),
            _ => (named, None),
        }
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(invalid(name, &format!("Failed to parse \"{other}\" to Boolean."))),
        }
    }

    /// A number of at least 0.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        Ok(self.number_from(name, 0)?.map(i64::unsigned_abs))
    }

    /// A number of at least `min`.
    pub fn number_from(&self, name: &str, min: i64) -> Result<Option<i64>, Error> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let number: i64 = value.parse().map_err(|_| {
            let why = format!("Failed to parse \"{value}\" as a radix-10 long integer.");
            invalid(name, &why)
        })?;
        match number < min {
            true => Err(invalid(
                name,
                &format!("Invalid parameter range: {name} = {number} < {min}"),
            )),
            false => Ok(Some(number)),
        }
    }

    /// A permission: octal digits.
    pub fn permission(&self, name: &str, default: u32) -> Result<u32, Error> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => u32::from_str_radix(value, 8)
                .ok()
                .filter(|bits| *bits <= 0o1777)
                .ok_or_else(|| {
                    invalid(
                        name,
                        &format!("Failed to parse \"{value}\" as a radix-8 short integer."),
                    )
                }),
        }
    }

    pub fn required(&self, name: &str) -> Result<&str, Error> {
        let operation = &self.operation;
        self.get(name).ok_or_else(|| {
            Error::IllegalArgument(format!("Required param {name} for op: {operation} is null or empty"))
        })
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
    Error::IllegalArgument(format!(
        "Invalid value for webhdfs parameter \"{name}\": java.lang.IllegalArgumentException: {why}"
    ))
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
            (query.users(), query.flag("overwrite", false).unwrap()),
            (("x y".to_owned(), None), true)
        );
        let uri: Uri = "/webhdfs/v1/a?op=OPEN&user.name=x&doas=y&offset=-1&length=99999999999999999999"
            .parse()
            .unwrap();
        let other = Query::parse(&uri).unwrap();
        assert_eq!(other.users(), ("y".to_owned(), Some("x".to_owned())));
        assert!(other.number("offset").is_err() && other.number("length").is_err());
        assert_eq!(other.number_from("offset", -1).unwrap(), Some(-1));
        assert_eq!(encode(&query.path), "/a%20b/%C3%A4");
        assert!(Query::parse(&"/webhdfs/v1/%zz?op=OPEN".parse().unwrap()).is_err());
        assert_eq!(Query::parse(&"/webhdfs/v1?op=OPEN".parse().unwrap()).unwrap().path, "/");
    }
}
