//! Compiles `proto/` without protoc: protox parses, tonic-prost-build writes the Rust.

use std::error::Error;

const FILES: &[&str] = &[
    "mvcc.proto",
    "permission.proto",
    "kv.proto",
    "watch.proto",
    "lease.proto",
    "cluster.proto",
    "maintenance.proto",
    "auth.proto",
    "lock.proto",
    "election.proto",
    "health.proto",
    "log.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // Keys and values are shared with the buffer they arrived in instead of being copied.
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::Codec")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
