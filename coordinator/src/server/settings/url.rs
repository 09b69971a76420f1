//! Where to listen and where to connect, as etcd writes it.

use std::fmt;
use std::path::PathBuf;

/// What is spoken, and over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Scheme {
    Http,
    Https,
    Unix,
    /// TLS over a socket in the file system.
    Unixs,
}

/// `http://HOST:PORT`, `https://HOST:PORT`, `unix://PATH`, `unixs://PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Url {
    scheme: Scheme,
    /// `HOST:PORT`, or a path, which in etcd often looks like that.
    address: String,
}

impl Url {
    /// `Err` says what is wrong with what `flag` has.
    pub(in crate::server) fn parse(flag: &str, url: &str) -> Result<Self, String> {
        let wrong = || format!("{flag}={url}: write http://HOST:PORT, https://HOST:PORT or unix://PATH");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(wrong()),
        };
        let address = match scheme {
            Scheme::Unix | Scheme::Unixs => rest,
            Scheme::Http | Scheme::Https => {
                let address = rest.strip_suffix('/').unwrap_or(rest);
                let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
                if host.is_empty() || address.contains('/') || port.parse::<u16>().is_err() {
                    return Err(wrong());
                }
                address
            }
        };
        if address.is_empty() || address.contains('\0') {
            return Err(wrong());
        }
        Ok(Self {
            scheme,
            address: address.to_owned(),
        })
    }

    pub(in crate::server) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether TLS is spoken there.
    pub(in crate::server) fn is_secure(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Unixs)
    }

    /// `HOST:PORT`, or the path.
    pub(in crate::server) fn address(&self) -> &str {
        &self.address
    }

    /// The path of a socket in the file system.
    pub(in crate::server) fn path(&self) -> Option<PathBuf> {
        matches!(self.scheme, Scheme::Unix | Scheme::Unixs).then(|| PathBuf::from(&self.address))
    }

    /// Whether the other is of the same host and port, but one with TLS and one without.
    pub(in crate::server) fn shares_port(&self, other: &Self) -> bool {
        let is_picked = self.address.ends_with(":0");
        !is_picked && self.path().is_none() && self.address == other.address && self.is_secure() != other.is_secure()
    }

    /// The host that a certificate is to be good for.
    pub(in crate::server) fn host(&self) -> &str {
        let host = self
            .address
            .rsplit_once(':')
            .map_or(self.address.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        };
        write!(formatter, "{scheme}://{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_takes_is_taken() {
        for (text, scheme, address, host) in [
            ("http://127.0.0.1:2379", Scheme::Http, "127.0.0.1:2379", "127.0.0.1"),
            ("https://[::1]:2379/", Scheme::Https, "[::1]:2379", "::1"),
            ("unix://localhost:2379", Scheme::Unix, "localhost:2379", "localhost"),
            (
                "unixs:///run/etcd.sock",
                Scheme::Unixs,
                "/run/etcd.sock",
                "/run/etcd.sock",
            ),
        ] {
            let url = Url::parse("--flag", text).expect(text);
            assert_eq!((url.scheme(), url.address(), url.host()), (scheme, address, host));
            assert_eq!(url.to_string(), text.strip_suffix('/').unwrap_or(text));
        }
    }

    #[test]
    fn what_is_none_is_refused_by_the_flags_name() {
        for text in [
            "",
            "localhost:1",
            "ftp://h:1",
            "http://h",
            "http://:1",
            "http://h:port",
            "http://h:1/path",
            "unix://",
        ] {
            let refusal = Url::parse("--flag", text).expect_err(text);
            assert!(refusal.contains("--flag"), "{refusal}");
        }
    }
}
