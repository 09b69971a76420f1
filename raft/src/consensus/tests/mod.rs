//! The core by itself: several members, a network that is a queue, a disk that is a list.

mod chaos;
mod cluster;
mod replication;
mod wire;

use cluster::Cluster;
