use dfs::ipc::{CLIENT_DATANODE_PROTOCOL, Client};
use dfs_wire::proto::hdfs::{GetDatanodeInfoRequestProto, GetDatanodeInfoResponseProto};

use super::Facts;

pub const CALL: &str = "HDFS's getDatanodeInfo";

pub async fn ask(address: &str) -> Result<Facts, String> {
    let id = uuid::Uuid::new_v4().into_bytes();
    let mut client = Client::new(address, "bonsai", CLIENT_DATANODE_PROTOCOL, id);
    let answer = client.call("getDatanodeInfo", &GetDatanodeInfoRequestProto {}).await;
    let answer: GetDatanodeInfoResponseProto = answer.map_err(|error| error.to_string())?;
    let info = answer.local_info;
    Ok(Facts::default()
        .with("version", info.software_version)
        .with("uptime_s", info.uptime)
        .summary(format!("up for {} s", info.uptime)))
}
