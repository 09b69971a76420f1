//! What the program was told: flags, the config file and the environment, read once and checked before anything is opened.
//!
//! Nothing here knows the node: what other rooms need of the settings are plain values ([`limits`]).

pub(in crate::server) mod bootstrap;
pub(in crate::server) mod config_file;
pub(in crate::server) mod connection_settings;
pub(in crate::server) mod data_directory;
pub(in crate::server) mod features;
pub(in crate::server) mod flags;
pub(in crate::server) mod limits;
pub(in crate::server) mod other_flags;
pub(in crate::server) mod tls;
pub(in crate::server) mod url;
pub(in crate::server) mod values;
pub(in crate::server) mod version;
