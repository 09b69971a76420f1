//! `--auth-token`, `--auth-token-ttl`, `--bcrypt-cost`, understood.

use std::time::Duration;

use super::jwt::{self, Jwt};

/// What bcrypt takes; Go's bcrypt, which etcd uses, takes its default in place of any other.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=31;
const BCRYPT_COST_DEFAULT: u32 = 10;
/// What `--auth-token-ttl=0` means.
const SIMPLE_TTL_DEFAULT: Duration = Duration::from_secs(300);

/// How tokens are made.
#[derive(Debug, Clone)]
pub(in crate::server) enum TokenKind {
    Simple { ttl: Duration },
    Signed(Jwt),
    None,
}

/// How users are told apart.
#[derive(Debug, Clone)]
pub(in crate::server) struct Options {
    pub(super) token: TokenKind,
    pub(super) bcrypt_cost: u32,
    pub(super) trusts_certificates: bool,
}

impl Options {
    /// `token` is etcd's notation: `simple`, or `jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m`.
    ///
    /// # Errors
    /// A sentence that names the flag.
    pub(in crate::server) fn parse(
        token: &str,
        ttl_seconds: u64,
        bcrypt_cost: u32,
        trusts_certificates: bool,
    ) -> Result<Self, String> {
        let (kind, rest) = token.split_once(',').unwrap_or((token, ""));
        let mut options = Vec::new();
        for option in rest.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option
                .split_once('=')
                .filter(|(name, value)| !value.contains('=') && options.iter().all(|(given, _)| given != name))
                .ok_or_else(|| format!("--auth-token={token}: {option:?} is not NAME=VALUE, or is there twice"))?;
            options.push((name, value));
        }
        let token = match kind {
            "simple" => TokenKind::Simple {
                ttl: match ttl_seconds {
                    0 => SIMPLE_TTL_DEFAULT,
                    seconds => Duration::from_secs(seconds),
                },
            },
            "jwt" => TokenKind::Signed(jwt::load(&options).map_err(|why| format!("--auth-token={token}: {why}"))?),
            "" => TokenKind::None,
            _ => return Err(format!("--auth-token={token}: it is `simple` or `jwt,…`")),
        };
        Ok(Self {
            token,
            bcrypt_cost: if BCRYPT_COSTS.contains(&bcrypt_cost) {
                bcrypt_cost
            } else {
                BCRYPT_COST_DEFAULT
            },
            trusts_certificates,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_as_etcd_takes_them() {
        let kind = |token: &str| Options::parse(token, 0, 10, false).map(|options| options.token);
        assert!(matches!(kind("simple"), Ok(TokenKind::Simple { ttl }) if ttl == SIMPLE_TTL_DEFAULT));
        assert!(matches!(kind(""), Ok(TokenKind::None)));
        for (wrong, named) in [
            ("magic", "simple"),
            ("jwt", "sign-method"),
            ("jwt,sign-method=XX256,priv-key=/k", "XX256"),
            ("jwt,sign-method=ES512,priv-key=/k", "ES512"),
            ("jwt,sign-method=RS256", "priv-key"),
            ("jwt,sign-method=RS256,priv-key=/nowhere/key", "/nowhere/key"),
            ("jwt,sign-method", "NAME=VALUE"),
            ("jwt,ttl=1s,ttl=2s", "twice"),
            ("jwt,sign-method=HS256,priv-key=/k,ttl=soon", "soon"),
        ] {
            let refusal = kind(wrong).expect_err(wrong);
            assert!(refusal.contains("--auth-token") && refusal.contains(named), "{refusal}");
        }
        let cost = |cost| Options::parse("simple", 300, cost, false).map(|options| options.bcrypt_cost);
        assert_eq!((cost(4), cost(0), cost(32)), (Ok(4), Ok(10), Ok(10)));
    }
}
