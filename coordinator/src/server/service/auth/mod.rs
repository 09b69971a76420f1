//! Who is asking: tokens, passwords and certificates, which need a clock and chance. What someone may do is decided in
//! [`crate::auth`].
//!
//! # How it moves
//! A client that shows its password ([`service`]) has it compared here, on a thread that may take its time; then an entry
//! goes through the log that makes every member learn the token. A request brings its token in the metadata `token` or
//! `authorization`; a member that has not applied the token's entry yet waits for it. With `--client-cert-auth` a client
//! without a token is whom its certificate names. While authentication is off, none of this is looked at.

pub(in crate::server) mod caller;
pub(in crate::server) mod credentials;
pub(in crate::server) mod gate;
mod jwt;
pub(in crate::server) mod options;
pub(in crate::server) mod service;
