//! The data node in the coordinator: its own registration, and where it finds its name node.

use std::sync::Arc;
use std::time::Duration;

use coordinator_client::Client;
use coordinator_client::registry::{self, Id, Registrar, RegistrarError, Registration};
use host::Shutdown;

use super::{Addresses, Args, DataNode};

const DEFAULT_NAME_NODE: &str = "127.0.0.1:8020";
const PAUSE: Duration = Duration::from_millis(500);

/// The name node that is given, or registered, or else where one is by default. Waits until one is registered; `None` when
/// the shutdown comes first.
pub(super) async fn name_node(
    given: Option<&str>,
    coordinator: Option<&Client>,
    shutdown: &Shutdown,
) -> Option<String> {
    let client = match (given, coordinator) {
        (Some(given), _) => return Some(given.to_owned()),
        (None, None) => return Some(DEFAULT_NAME_NODE.to_owned()),
        (None, Some(client)) => client,
    };
    let mut told = false;
    loop {
        let found = tokio::select! {
            found = registered_name_node(client) => found,
            () = shutdown.requested() => return None,
        };
        match found {
            Ok(address) => return Some(address),
            Err(reason) if !told => {
                tracing::warn!(reason, "waiting for a name node to register");
                told = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.requested() => return None,
        }
    }
}

async fn registered_name_node(client: &Client) -> Result<String, String> {
    let found = registry::find(client, "namenode")
        .await
        .map_err(|error| error.to_string())?;
    let address = found.iter().find_map(|registration| registration.address("rpc"));
    address
        .map(str::to_owned)
        .ok_or_else(|| "no name node is registered in the coordinator".to_owned())
}

/// Looks for the name node again while it does not answer: it may have moved.
pub(super) async fn follow_name_node(client: Client, node: Arc<DataNode>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        if !node.is_registered()
            && let Ok(address) = registered_name_node(&client).await
            && address != node.name_node()
        {
            tracing::info!(address, "the name node has moved");
            node.set_name_node(address);
        }
    }
}

/// Registers under the data node's own id: two processes on copies of one directory are not two data nodes.
pub(super) async fn start(args: &Args, node: &DataNode) -> Result<Option<Registrar>, RegistrarError> {
    let address = |bound| registry::address(bound, args.advertise.as_deref(), &args.coordinator);
    let data = std::path::absolute(&args.data).unwrap_or_else(|_| args.data.clone());
    let owner = format!("{} {}", node.identity.uuid, data.display());
    let Addresses { transfer, ipc, http } = node.addresses;
    let registration = Registration::new("datanode", env!("CARGO_PKG_VERSION"), owner)
        .with_address("transfer", address(transfer))
        .with_address("ipc", address(ipc))
        .with_address("http", address(http));
    Registrar::start(&args.coordinator, registration, Id::Fixed(node.identity.uuid.clone())).await
}
