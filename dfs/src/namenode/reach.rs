//! Under which address a client is told of a data node.
//!
//! A data node that listens on all addresses and runs on the name node's machine has no address of its own: it called over
//! the loopback, which only this machine reaches. It is registered as [`EVERYWHERE`], and each caller is given the address by
//! which it reached the name node: the machine is the same.

use std::future::Future;
use std::net::IpAddr;

/// In the place of the address of a data node that is wherever the name node is.
pub const EVERYWHERE: &str = "0.0.0.0";

tokio::task_local! {
    /// The host by which the caller that is being answered reached the name node.
    static REACHED: String;
}

/// Answers a caller that reached the name node at `host`.
pub async fn at<F: Future>(host: String, answer: F) -> F::Output {
    REACHED.scope(host, answer).await
}

/// `registered`, or what stands for it to the caller that is being answered.
pub fn host(registered: &str) -> String {
    if registered != EVERYWHERE {
        return registered.to_owned();
    }
    REACHED
        .try_with(Clone::clone)
        .unwrap_or_else(|_| "127.0.0.1".to_owned())
}

/// What a data node is registered as that says it is at `claimed` and calls from `peer`.
pub fn registered(claimed: &str, peer: IpAddr) -> String {
    let is_everywhere = matches!(claimed, "" | "0.0.0.0" | "::");
    match peer.to_canonical() {
        _ if !is_everywhere => claimed.to_owned(),
        peer if peer.is_loopback() => EVERYWHERE.to_owned(),
        peer => peer.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_data_node_on_all_addresses_is_where_the_caller_reached_the_name_node() {
        let near = registered("0.0.0.0", "127.0.0.1".parse().unwrap());
        assert_eq!(at("10.1.1.1".to_owned(), async { host(&near) }).await, "10.1.1.1");
        assert_eq!(host(&near), "127.0.0.1");
        let far = registered("::", "::ffff:10.1.1.2".parse().unwrap());
        assert_eq!(at("10.1.1.1".to_owned(), async { host(&far) }).await, "10.1.1.2");
        let named = registered("dn.example", "127.0.0.1".parse().unwrap());
        assert_eq!(at("10.1.1.1".to_owned(), async { host(&named) }).await, "dn.example");
    }
}
