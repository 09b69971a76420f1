//! etcd's v3 API as Rust types, clients and server traits.
//!
//! The `.proto` files in `proto/` are our own; packages, names and field numbers are etcd 3.6's, because they are the
//! protocol. They are cut by subject (kv, watch, lease, cluster, maintenance, auth), which on the wire makes no
//! difference. Every `bytes` field is a [`bytes::Bytes`], so a value is one allocation from the socket to the log.
//! Left out are the annotations for the JSON gateway and 3.7's `RangeStream`.
//!
//! [`coordinatorpb`] is the one package that is not etcd's: the entries of the coordinator's own log.
//! This crate does no I/O; tonic is here for the generated service traits only.

#![allow(clippy::all, reason = "generated code")]

pub mod codec;

/// All of `proto/`, described by protobuf's own `FileDescriptorSet`: for translations that need no generated type.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod authpb {
    //! Users, roles, permissions.
    tonic::include_proto!("authpb");
}
pub mod coordinatorpb {
    //! The entries of the coordinator's log.
    tonic::include_proto!("coordinatorpb");
}
pub mod etcdserverpb {
    //! The services KV, Watch, Lease, Cluster, Maintenance and Auth.
    tonic::include_proto!("etcdserverpb");
}
pub mod health {
    //! gRPC's health check.
    tonic::include_proto!("grpc.health.v1");
}
pub mod mvccpb {
    //! Key-value pairs and events.
    tonic::include_proto!("mvccpb");
}
pub mod v3electionpb {
    //! The service Election.
    tonic::include_proto!("v3electionpb");
}
pub mod v3lockpb {
    //! The service Lock.
    tonic::include_proto!("v3lockpb");
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// Field numbers that a slip of the pen would shift silently, against bytes worked out by hand from etcd's API.
    #[test]
    fn field_numbers_are_etcds() {
        let put = etcdserverpb::PutRequest {
            key: "k".into(),
            value: "v".into(),
            prev_kv: true,
            ..Default::default()
        };
        assert_eq!(put.encode_to_vec(), [0x0a, 1, b'k', 0x12, 1, b'v', 0x20, 1]);
        let compare = etcdserverpb::Compare {
            key: "k".into(),
            range_end: "z".into(),
            target_union: Some(etcdserverpb::compare::TargetUnion::Lease(7)),
            ..Default::default()
        };
        assert_eq!(compare.encode_to_vec(), [0x1a, 1, b'k', 0x40, 7, 0x82, 0x04, 1, b'z']);
        let answer = etcdserverpb::WatchResponse {
            watch_id: 1,
            events: vec![mvccpb::Event {
                r#type: 1,
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(answer.encode_to_vec(), [0x10, 1, 0x5a, 2, 0x08, 1]);
    }
}
