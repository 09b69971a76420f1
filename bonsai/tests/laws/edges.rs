//! Law: who may depend on whom.
//!
//! A service knows no other service but by its `client` or `wire`, so that each can be replaced by the original. What lies
//! below knows nothing of what stands on it. Only the launcher links the five. The simulated world and the tests' own crate
//! are development dependencies.

use cargo_metadata::DependencyKind;

use crate::tree::{Crate, Role, Tree};

pub fn broken(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for krate in &tree.crates {
        if krate.role == Role::Unknown {
            broken.push(format!(
                "{}: a crate is a service, its wire or client, host, host/disk, raft, cluster, bonsai, sim or testing",
                krate.folder
            ));
        }
        for (name, kind) in &krate.edges {
            let Some(other) = tree.krate(name) else { continue };
            if !allowed(krate, other, *kind) {
                broken.push(format!(
                    "{}: {} may not depend on {}",
                    krate.folder, krate.name, other.name
                ));
            }
        }
    }
    broken
}

fn allowed(from: &Crate, to: &Crate, kind: DependencyKind) -> bool {
    let for_tests = kind == DependencyKind::Development;
    match (&from.role, &to.role) {
        (_, Role::Simulation | Role::Testing) => for_tests,
        (Role::Testing, _) => to.role == Role::Host,
        // A crate's own tests may enable more of its features.
        _ if for_tests && from.name == to.name => true,
        (Role::Launcher | Role::Simulation, _) => true,
        (Role::Service(_), Role::Host | Role::Disk | Role::Raft | Role::Cluster | Role::Wire(_) | Role::Client(_)) => true,
        (Role::Client(of), Role::Wire(other)) => of == other,
        // A client is tried against its own server.
        (Role::Client(of), Role::Service(other)) => for_tests && of == other,
        (Role::Client(_), Role::Host | Role::Disk) => for_tests,
        (Role::Raft, Role::Disk) => true,
        _ => false,
    }
}
