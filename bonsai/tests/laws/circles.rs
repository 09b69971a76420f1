//! Law: no circle of files, but for those on a list with a reason each.
//!
//! Files that name each other in a circle can only be read, moved and tested together. Some are one recursion in several
//! files, and stay; some wait for a leaf that they share to get a file of its own. A part of a folder may name the folder's
//! head (`mod.rs`), which does not count.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::edges;
use crate::tree::Tree;

/// Circles that are known: every file of one begins with one of these.
const KNOWN: [(&[&str], &str); 18] = [
    (
        &[
            "raft/src/consensus/candidate.rs",
            "raft/src/consensus/follower.rs",
            "raft/src/consensus/leader/",
            "raft/src/consensus/member.rs",
        ],
        "roles are types that become each other",
    ),
    (
        &[
            "raft/src/consensus/effects.rs",
            "raft/src/consensus/event.rs",
            "raft/src/consensus/message.rs",
            "raft/src/consensus/entry.rs",
            "raft/src/consensus/membership.rs",
        ],
        "ids and refusals wait for a file of their own",
    ),
    (
        &[
            "raft/src/node/driver.rs",
            "raft/src/node/handle.rs",
            "raft/src/node/peer.rs",
            "raft/src/node/transfer.rs",
            "raft/src/node/transport.rs",
        ],
        "the handle starts the driver that serves it; transport and transfer share a state that waits for its own file",
    ),
    (
        &["coordinator/src/auth/manage.rs", "coordinator/src/auth/tokens.rs"],
        "the outcome of a call on users waits for a file of its own",
    ),
    (
        &["coordinator/src/machine/apply.rs", "coordinator/src/machine/txn.rs"],
        "transactions hold operations, and an operation may be a transaction",
    ),
    (
        &["coordinator/src/store/kv.rs", "coordinator/src/store/writer.rs"],
        "a store and the one writer that it lends out",
    ),
    (
        &["log-broker/src/server/"],
        "the broker's handle waits for a file apart from what serves it",
    ),
    (
        &["log-broker/wire/src/error.rs", "log-broker/wire/src/field.rs"],
        "an error names the limit that was passed",
    ),
    (&["log-broker/client/src/"], "a client and its calls, by subject"),
    (
        &["dfs/src/namespace/"],
        "an inode holds its ACL and attributes, and the edits that set them name all three",
    ),
    (
        &["dfs/src/namenode/"],
        "commands, their results and the state that they change name each other's types",
    ),
    (
        &["dfs/src/datanode/mod.rs", "dfs/src/webhdfs/datanode.rs"],
        "a data node starts its own HTTP pages",
    ),
    (
        &["stream/src/format/column.rs", "stream/src/format/view.rs"],
        "columns and the values in them",
    ),
    (
        &["stream/src/gateway/", "stream/src/runtime/"],
        "operations of a session run jobs, and jobs report to operations",
    ),
    (
        &["stream/src/sql/"],
        "types, expressions and queries of SQL contain each other",
    ),
    (
        &["batch/src/engine/join/", "batch/src/spatial/functions/"],
        "a join's build side and probe side; a geometry's reference system is read by a function",
    ),
    (
        &["bonsai/src/launch/"],
        "the supervisor's pieces wait for the state that they share to get a file of its own",
    ),
    (
        &["bonsai/src/map/lettering.rs", "bonsai/src/map/svg.rs"],
        "escaping waits for a file of its own",
    ),
];

pub fn broken(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for krate in &tree.crates {
        for circle in circles(&edges(tree, krate)) {
            let is_known = KNOWN.iter().any(|(files, _)| {
                let listed = |path: &&str| files.iter().any(|file| path.starts_with(file));
                circle.iter().all(listed)
            });
            if !is_known {
                let files = circle.into_iter().collect::<Vec<_>>().join(", ");
                broken.push(format!("{files}: these files name each other in a circle"));
            }
        }
    }
    broken
}

/// The largest sets of files, of two at least, each of which reaches each other.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<&str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|file| (file.as_str(), reach(edges, file))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for (file, from) in &reached {
        if !from.contains(file) || circles.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        circles.push(
            from.iter()
                .copied()
                .filter(|other| reached.get(other).is_some_and(|back| back.contains(file)))
                .collect(),
        );
    }
    circles
}

fn reach<'a>(edges: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&String> = edges.get(from).into_iter().flatten().collect();
    while let Some(file) = open.pop() {
        if found.insert(file.as_str()) {
            open.extend(edges.get(file).into_iter().flatten());
        }
    }
    found
}
