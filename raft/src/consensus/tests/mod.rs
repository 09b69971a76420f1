//! The core by itself: several members, a network that is a queue, a disk that is a list.

mod chaos;
mod cluster;
mod hostile;
mod log_view;
mod membership;
mod replication;
mod wire;
mod writes;

use cluster::Cluster;
