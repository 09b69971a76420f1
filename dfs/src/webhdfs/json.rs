//! Answers in Hadoop's JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use dfs_wire::proto::hdfs::hdfs_file_status_proto::FileType;
use dfs_wire::proto::hdfs::{
    AclStatusProto, ContentSummaryProto, DatanodeInfoProto, HdfsFileStatusProto, LocatedBlockProto, LocatedBlocksProto,
    XAttrProto,
};
use serde_json::{Value, json};

use crate::Error;
use crate::namenode::attributes;
use crate::namenode::status::FLAG_HAS_ACL;

/// An error as a client of WebHDFS gets it.
#[derive(Debug)]
pub struct Failure(pub Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            Error::FileNotFound(_) | Error::ReplicaNotFound(_) => StatusCode::NOT_FOUND,
            Error::IllegalArgument(_) | Error::Unsupported(_) | Error::NoSuchMethod(..) | Error::InvalidPath(_) => {
                StatusCode::BAD_REQUEST
            }
            _ => StatusCode::FORBIDDEN,
        };
        let class = match &self.0 {
            Error::IllegalArgument(_) => "java.lang.IllegalArgumentException",
            other => other.java_class(),
        };
        remote_exception(status, class, &self.0.to_string())
    }
}

pub fn remote_exception(status: StatusCode, class: &str, message: &str) -> Response {
    let exception = class.rsplit('.').next().unwrap_or(class);
    let body = json!({"RemoteException": {
        "exception": exception, "javaClassName": class, "message": message,
    }});
    (status, Json(body)).into_response()
}

pub fn acl_status(status: &AclStatusProto) -> Value {
    let entries: Vec<String> = status.entries.iter().map(attributes::entry_text).collect();
    json!({"AclStatus": {
        "entries": entries, "group": status.group, "owner": status.owner, "stickyBit": status.sticky,
        "permission": format!("{:o}", status.permission.map_or(0, |permission| permission.perm)),
    }})
}

/// Attributes with their values, encoded as is asked for: `TEXT`, `HEX` or `BASE64`.
pub fn xattrs(xattrs: &[XAttrProto], encoding: Option<&str>) -> Result<Value, Error> {
    let one = |xattr: &XAttrProto| {
        let value = encoded(xattr.value(), encoding)?;
        Ok(json!({"name": attributes::xattr_name(xattr), "value": value}))
    };
    let xattrs = xattrs.iter().map(one).collect::<Result<Vec<Value>, Error>>()?;
    Ok(json!({"XAttrs": xattrs}))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As Hadoop's XAttrCodec: text in quotation marks, `0x` and hexadecimal digits, or `0s` and base64.
fn encoded(value: &[u8], encoding: Option<&str>) -> Result<String, Error> {
    match encoding.unwrap_or("TEXT").to_ascii_uppercase().as_str() {
        "TEXT" => Ok(format!("\"{}\"", String::from_utf8_lossy(value))),
        "HEX" => Ok(format!("0x{}", hex(value))),
        "BASE64" => Ok(format!("0s{}", BASE64.encode(value))),
        other => Err(Error::IllegalArgument(format!(
            "Invalid value for webhdfs parameter \"encoding\": No enum constant \
             org.apache.hadoop.fs.XAttrCodec.{other}"
        ))),
    }
}

/// The inverse of [`encoded`]; what is in no such form is text.
pub fn decoded(text: &str) -> Result<Vec<u8>, Error> {
    let invalid = || Error::IllegalArgument(format!("the value of an extended attribute cannot be read: {text}"));
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    if let Some(digits) = digits {
        let pairs: Vec<&[u8]> = digits.as_bytes().chunks(2).collect();
        let byte = |pair: &&[u8]| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        };
        return pairs.iter().map(byte).collect::<Option<Vec<u8>>>().ok_or_else(invalid);
    }
    if let Some(rest) = text.strip_prefix("0s").or_else(|| text.strip_prefix("0S")) {
        return BASE64.decode(rest).map_err(|_| invalid());
    }
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Ok(quoted.unwrap_or(text).as_bytes().to_vec())
}

pub fn file_status(status: &HdfsFileStatusProto) -> Value {
    let directory = status.file_type() == FileType::IsDir;
    let mut value = json!({
        "accessTime": status.access_time,
        "blockSize": status.blocksize(),
        "childrenNum": status.children_num().max(0),
        "fileId": status.file_id(),
        "group": status.group,
        "length": status.length,
        "modificationTime": status.modification_time,
        "owner": status.owner,
        "pathSuffix": String::from_utf8_lossy(&status.path),
        "permission": format!("{:o}", status.permission.perm),
        "replication": status.block_replication(),
        "storagePolicy": 0,
        "type": if directory { "DIRECTORY" } else { "FILE" },
    });
    // Only where it is set, as in HDFS.
    if status.flags() & FLAG_HAS_ACL != 0 {
        value["aclBit"] = json!(true);
    }
    value
}

pub fn content_summary(summary: &ContentSummaryProto) -> Value {
    json!({"ContentSummary": {
        "directoryCount": summary.directory_count,
        "ecPolicy": "",
        "fileCount": summary.file_count,
        "length": summary.length,
        "quota": summary.quota as i64,
        "spaceConsumed": summary.space_consumed,
        "spaceQuota": summary.space_quota as i64,
        "typeQuota": {},
    }})
}

/// `GET_BLOCK_LOCATIONS`, the older and private form.
pub fn located_blocks(located: &LocatedBlocksProto) -> Value {
    json!({"LocatedBlocks": {
        "fileLength": located.file_length,
        "isLastBlockComplete": located.is_last_block_complete,
        "isUnderConstruction": located.under_construction,
        "lastLocatedBlock": located.last_block.as_ref().map(located_block),
        "locatedBlocks": located.blocks.iter().map(located_block).collect::<Vec<_>>(),
    }})
}

fn located_block(block: &LocatedBlockProto) -> Value {
    json!({
        "block": {
            "blockId": block.b.block_id,
            "blockPoolId": block.b.pool_id,
            "generationStamp": block.b.generation_stamp,
            "numBytes": block.b.num_bytes(),
        },
        // An empty token in Hadoop's encoding.
        "blockToken": {"urlString": "AAAAAA"},
        "cachedLocations": [],
        "isCorrupt": block.corrupt,
        "locations": block.locs.iter().map(datanode).collect::<Vec<_>>(),
        "startOffset": block.offset,
        "storageTypes": vec!["DISK"; block.locs.len()],
    })
}

fn datanode(info: &DatanodeInfoProto) -> Value {
    let id = &info.id;
    json!({
        "adminState": "NORMAL",
        "blockPoolUsed": info.block_pool_used(),
        "cacheCapacity": 0,
        "cacheUsed": 0,
        "capacity": info.capacity(),
        "dfsUsed": info.dfs_used(),
        "hostName": id.host_name,
        "infoPort": id.info_port,
        "infoSecurePort": 0,
        "ipAddr": id.ip_addr,
        "ipcPort": id.ipc_port,
        "lastBlockReportMonotonic": info.last_block_report_monotonic(),
        "lastBlockReportTime": info.last_block_report_time(),
        "lastUpdate": info.last_update(),
        "lastUpdateMonotonic": info.last_update_monotonic(),
        "name": format!("{}:{}", id.ip_addr, id.xfer_port),
        "networkLocation": info.location(),
        "remaining": info.remaining(),
        "storageID": id.datanode_uuid,
        "xceiverCount": info.xceiver_count(),
        "xferPort": id.xfer_port,
    })
}

pub fn block_location(block: &LocatedBlockProto) -> Value {
    let address = |port: fn(&dfs_wire::proto::hdfs::DatanodeIdProto) -> u32| -> Vec<String> {
        block
            .locs
            .iter()
            .map(|info| format!("{}:{}", info.id.ip_addr, port(&info.id)))
            .collect()
    };
    json!({
        "cachedHosts": [],
        "corrupt": block.corrupt,
        "hosts": block.locs.iter().map(|info| info.id.host_name.clone()).collect::<Vec<_>>(),
        "length": block.b.num_bytes(),
        "names": address(|id| id.xfer_port),
        "offset": block.offset,
        "storageTypes": vec!["DISK"; block.locs.len()],
        "topologyPaths":
            address(|id| id.xfer_port).iter().map(|name| format!("/default-rack/{name}")).collect::<Vec<_>>(),
    })
}
