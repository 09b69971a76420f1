//! What the coordinator knows of the other services: brokers for tables without a bootstrap address, the name node behind
//! `hdfs://bonsai/`.
//!
//! One process uses one coordinator, so what was found is the process's own, like its environment.

use std::sync::OnceLock;

use coordinator_client::registry::{Directory, NAME_SERVICE};
use coordinator_client::{Options, OptionsError};

static DIRECTORY: OnceLock<Directory> = OnceLock::new();

/// Finds services through the coordinator that `options` name, if any, from now on.
pub async fn follow(options: &Options) -> Result<(), OptionsError> {
    if let Some(client) = options.client()? {
        let _first_and_only = DIRECTORY.set(Directory::follow(client).await);
    }
    Ok(())
}

/// Whether there is a coordinator to ask.
pub fn is_there() -> bool {
    DIRECTORY.get().is_some()
}

/// The bootstrap address: all registered brokers.
pub fn brokers() -> Option<String> {
    let brokers = DIRECTORY.get()?.addresses("log-broker", "listen");
    (!brokers.is_empty()).then(|| brokers.join(","))
}

/// The name node at `host`, where that is the name of the registered one.
pub fn name_node(host: &str) -> Option<String> {
    if host != NAME_SERVICE {
        return None;
    }
    DIRECTORY.get()?.addresses("namenode", "rpc").into_iter().next()
}
