//! The flags that say who is believed: tokens and, with TLS, certificates.

use clap::ArgAction;

use super::auth;

/// etcd's default of `--auth-token-ttl`.
const TOKEN_TTL_SECONDS: u64 = 300;
const BCRYPT_COST: u32 = 10;

/// Flags of authentication and TLS.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SecurityArguments {
    /// `simple`, or `jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m`.
    #[arg(
        long,
        value_name = "KIND",
        default_value = "simple",
        env = "ETCD_AUTH_TOKEN",
        hide_env = true
    )]
    auth_token: String,
    /// How long a simple token is good for without being used, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = TOKEN_TTL_SECONDS, env = "ETCD_AUTH_TOKEN_TTL", hide_env = true)]
    auth_token_ttl: u64,
    /// How hard passwords are hashed.
    #[arg(long, value_name = "COST", default_value_t = BCRYPT_COST, env = "ETCD_BCRYPT_COST", hide_env = true)]
    bcrypt_cost: u32,
    /// Clients show a certificate; whoever has no token is whom it names.
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        env = "ETCD_CLIENT_CERT_AUTH",
        hide_env = true
    )]
    client_cert_auth: bool,
}

/// What the flags mean.
#[derive(Debug, Clone)]
pub(super) struct Security {
    pub(super) auth: auth::Options,
}

impl Security {
    /// `Err` is one sentence that names the flag and says what to do.
    pub(super) fn from_arguments(arguments: &SecurityArguments) -> Result<Self, String> {
        let auth = auth::Options::parse(
            &arguments.auth_token,
            arguments.auth_token_ttl,
            arguments.bcrypt_cost,
            arguments.client_cert_auth,
        )?;
        Ok(Self { auth })
    }
}
