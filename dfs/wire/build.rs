//! Compiles the `.proto` files without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "rpc.proto",
        "hdfs.proto",
        "namenode.proto",
        "datatransfer.proto",
        "cluster.proto",
        "admin.proto",
    ];
    for file in files {
        println!("cargo::rerun-if-changed=proto/{file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new()
        .bytes([
            ".hadoop.hdfs.HdfsFileStatusProto.path",
            ".hadoop.hdfs.GetListingRequestProto.startAfter",
            ".hadoop.hdfs.GetBatchedListingRequestProto.startAfter",
            ".hadoop.hdfs.GetBatchedListingResponseProto.startAfter",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
