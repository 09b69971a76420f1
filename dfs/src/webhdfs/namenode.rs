//! The name node's side.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Json, Router};
use dfs_wire::proto::hdfs::{
    ConcatRequestProto, DeleteRequestProto, FsPermissionProto, MkdirsRequestProto, ModifyAclEntriesRequestProto,
    RemoveAclEntriesRequestProto, RemoveAclRequestProto, RemoveDefaultAclRequestProto, RemoveXAttrRequestProto,
    Rename2RequestProto, RenameRequestProto, SetAclRequestProto, SetOwnerRequestProto, SetPermissionRequestProto,
    SetReplicationRequestProto, SetTimesRequestProto, SetXAttrRequestProto, TruncateRequestProto,
};
use serde_json::{Value, json};

use super::PREFIX;
use super::json::{self, Failure, remote_exception};
use super::query::{Query, encode};
use crate::Error;
use crate::namenode::attributes;
use crate::namenode::directory::Asker;
use crate::namenode::reach;
use crate::namenode::state::NameNode;

/// The name node and where clients call it.
#[derive(Clone)]
struct Served {
    node: Arc<NameNode>,
    rpc: SocketAddr,
}

pub fn router(node: Arc<NameNode>, rpc: SocketAddr) -> Router {
    Router::new()
        .route(PREFIX, any(answer))
        .route(&format!("{PREFIX}/"), any(answer))
        .route(&format!("{PREFIX}/{{*path}}"), any(answer))
        .with_state(Served { node, rpc })
}

async fn answer(
    State(served): State<Served>,
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<SocketAddr>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let host = host_of(&headers).unwrap_or_else(|| served.rpc.ip().to_string());
    let answer = try_answer(&served, peer, &method, &uri);
    match reach::at(host, answer).await {
        Ok(response) => response,
        Err(error) => Failure(error).into_response(),
    }
}

/// The host by which the client reached this name node, in its own words: they hold behind a forwarded port too.
fn host_of(headers: &HeaderMap) -> Option<String> {
    let authority = headers.get(header::HOST)?.to_str().ok()?;
    let authority: axum::http::uri::Authority = authority.parse().ok()?;
    Some(authority.host().to_owned())
}

async fn try_answer(served: &Served, peer: SocketAddr, method: &Method, uri: &Uri) -> Result<Response, Error> {
    let query = Query::parse(uri)?;
    let (user, real) = query.users();
    let ip = peer.ip().to_string();
    if let Some(real) = &real {
        served.node.check_impersonation(real, &user, &ip)?;
    }
    let asker = served.node.asker(&user, ip, None);
    match method.as_str() {
        "GET" => get(served, &asker, &query),
        "PUT" => put(served, &asker, &query).await,
        "POST" => match query.operation.as_str() {
            "APPEND" => {
                let path = &query.path;
                let status = served
                    .node
                    .file_info(&asker, path)?
                    .ok_or_else(|| not_found_by_name(path))?;
                let last = status.length.checked_sub(1);
                redirect(served, &asker, &query, last)
            }
            "CONCAT" => {
                let srcs = query.required("sources")?.split(',').map(str::to_owned).collect();
                let trg = query.path.clone();
                served.node.concat(&asker, ConcatRequestProto { trg, srcs }).await?;
                Ok(StatusCode::OK.into_response())
            }
            "TRUNCATE" => {
                query.required("newlength")?;
                let new_length = query.number("newlength")?.unwrap_or_default();
                let asked = TruncateRequestProto {
                    src: query.path.clone(),
                    new_length,
                    client_name: format!("DFSClient_WebHDFS_{}", asker.user),
                };
                let result = served.node.truncate(&asker, asked).await?.message()?.result;
                Ok(Json(json!({"boolean": result})).into_response())
            }
            "UNSETSTORAGEPOLICY" | "UNSETECPOLICY" => unsupported(&query),
            _ => Ok(unknown(&query, "POST")),
        },
        "DELETE" => match query.operation.as_str() {
            "DELETE" => {
                let asked = DeleteRequestProto {
                    src: query.path.clone(),
                    recursive: query.flag("recursive", false)?,
                };
                let result = served.node.delete(&asker, asked).await?.message()?.result;
                Ok(Json(json!({"boolean": result})).into_response())
            }
            "DELETESNAPSHOT" => unsupported(&query),
            _ => Ok(unknown(&query, "DELETE")),
        },
        _ => Ok(StatusCode::METHOD_NOT_ALLOWED.into_response()),
    }
}

fn unsupported(query: &Query) -> Result<Response, Error> {
    Err(Error::Unsupported(format!(
        "{} is not supported by this name node.",
        query.operation
    )))
}

fn unknown(query: &Query, method: &str) -> Response {
    let message = format!(
        "Invalid value for webhdfs parameter \"op\": java.lang.IllegalArgumentException: {} is not a valid {method} \
         operation.",
        if query.operation.is_empty() {
            "null"
        } else {
            &query.operation
        }
    );
    remote_exception(StatusCode::BAD_REQUEST, "java.lang.IllegalArgumentException", &message)
}

/// A permission as in `r-x`.
fn access(symbols: &str) -> Result<i32, Error> {
    let entry = attributes::parse_entries(&format!("other::{symbols}"), true)?;
    Ok(entry[0].permissions)
}

fn not_found(path: &str) -> Error {
    Error::FileNotFound(format!("File does not exist: {path}"))
}

fn get(served: &Served, asker: &Asker, query: &Query) -> Result<Response, Error> {
    let (node, path) = (&served.node, query.path.as_str());
    let body = match query.operation.as_str() {
        "OPEN" => return open(served, asker, query),
        "GETFILECHECKSUM" => {
            let length = node.lock().replicated.names.file(path)?.1.length();
            return redirect(served, asker, query, length.checked_sub(1));
        }
        "GETFILESTATUS" | "GETFILELINKSTATUS" => {
            let status = node.file_info(asker, path)?.ok_or_else(|| not_found(path))?;
            json!({"FileStatus": json::file_status(&status)})
        }
        "LISTSTATUS" => list(node, asker, path)?,
        "LISTSTATUS_BATCH" => {
            let after = query.get("startafter").unwrap_or_default();
            let listing = node
                .listing(asker, path, after.as_bytes(), false)?
                .ok_or_else(|| not_found(path))?;
            let statuses: Vec<Value> = listing.partial_listing.iter().map(json::file_status).collect();
            json!({"DirectoryListing": {
                "partialListing": {"FileStatuses": {"FileStatus": statuses}},
                "remainingEntries": listing.remaining_entries,
            }})
        }
        "GETCONTENTSUMMARY" => json::content_summary(&node.content_summary(asker, path)?),
        "GETHOMEDIRECTORY" => json!({"Path": format!("/user/{}", asker.user)}),
        "GETTRASHROOT" => json!({"Path": format!("/user/{}/.Trash", asker.user)}),
        operation @ ("GETFILEBLOCKLOCATIONS" | "GET_BLOCK_LOCATIONS") => {
            let offset = query.number("offset")?.unwrap_or(0);
            let length = query.number("length")?.unwrap_or(u64::MAX);
            let located = node.block_locations(asker, path, offset, length, &asker.ip)?;
            if operation == "GET_BLOCK_LOCATIONS" {
                return Ok(Json(json::located_blocks(&located)).into_response());
            }
            let blocks: Vec<Value> = located.blocks.iter().map(json::block_location).collect();
            json!({"BlockLocations": {"BlockLocation": blocks}})
        }
        "GETSERVERDEFAULTS" => {
            let defaults = node.server_defaults();
            json!({"FsServerDefaults": {
                "replication": defaults.replication, "encryptDataTransfer": false,
                "defaultStoragePolicyId": 0, "writePacketSize": defaults.write_packet_size,
                "fileBufferSize": defaults.file_buffer_size, "checksumType": 2,
                "trashInterval": defaults.trash_interval(), "keyProviderUri": "",
                "blockSize": defaults.block_size, "bytesPerChecksum": defaults.bytes_per_checksum,
            }})
        }
        "GETACLSTATUS" => json::acl_status(&node.acl_status(asker, path)?),
        "CHECKACCESS" => {
            let action = query.required("fsaction")?;
            node.check_access(asker, path, access(action)?)?;
            return Ok(StatusCode::OK.into_response());
        }
        "GETXATTRS" => {
            let named = query.xattr_names.iter().map(|name| attributes::xattr_of_name(name));
            let named = named.collect::<Result<Vec<_>, _>>()?;
            json::xattrs(&node.xattrs(asker, path, &named)?, query.get("encoding"))?
        }
        "LISTXATTRS" => {
            let names: Vec<String> = node
                .xattr_names(asker, path)?
                .iter()
                .map(attributes::xattr_name)
                .collect();
            json!({"XAttrNames": json!(names).to_string()})
        }
        "GETDELEGATIONTOKEN"
        | "GETSTORAGEPOLICY"
        | "GETALLSTORAGEPOLICY"
        | "GETSNAPSHOTDIFF"
        | "GETSNAPSHOTTABLEDIRECTORYLIST"
        | "GETECPOLICY"
        | "GETQUOTAUSAGE"
        | "GETLINKTARGET"
        | "GETSNAPSHOTLIST" => return unsupported(query),
        _ => return Ok(unknown(query, "GET")),
    };
    Ok(Json(body).into_response())
}

/// All entries: WebHDFS has no pages unless asked for.
fn list(node: &NameNode, asker: &Asker, path: &str) -> Result<Value, Error> {
    let mut statuses = Vec::new();
    let mut after = Vec::new();
    loop {
        let listing = node
            .listing(asker, path, &after, false)?
            .ok_or_else(|| not_found(path))?;
        statuses.extend(listing.partial_listing.iter().map(json::file_status));
        match listing.partial_listing.last() {
            Some(last) if listing.remaining_entries > 0 => after = last.path.to_vec(),
            _ => return Ok(json!({"FileStatuses": {"FileStatus": statuses}})),
        }
    }
}

fn open(served: &Served, asker: &Asker, query: &Query) -> Result<Response, Error> {
    let path = &query.path;
    let status = served
        .node
        .file_info(asker, path)?
        .ok_or_else(|| not_found_by_name(path))?;
    let offset = query.number("offset")?.unwrap_or(0);
    query.number("length")?;
    // How long an open file is only its data nodes know.
    let open = served
        .node
        .lock()
        .replicated
        .names
        .file(path)
        .is_ok_and(|(_, file)| file.last_open);
    if !open && status.length > 0 && offset >= status.length {
        return Err(super::out_of_range(offset, status.length, path));
    }
    redirect(served, asker, query, Some(offset))
}

fn not_found_by_name(path: &str) -> Error {
    Error::FileNotFound(format!("File {path} not found."))
}

async fn put(served: &Served, asker: &Asker, query: &Query) -> Result<Response, Error> {
    let (node, src) = (&served.node, query.path.clone());
    let body = match query.operation.as_str() {
        "CREATE" => return redirect(served, asker, query, None),
        "MKDIRS" => {
            let masked = FsPermissionProto {
                perm: query.permission("permission", 0o755)?,
            };
            let asked = MkdirsRequestProto {
                src,
                masked,
                create_parent: true,
                unmasked: None,
            };
            json!({"boolean": node.mkdirs(asker, asked).await?.message()?.result})
        }
        "RENAME" => {
            let dst = query.required("destination")?.to_owned();
            match query.get("renameoptions") {
                None => {
                    json!({"boolean": node.rename(asker, RenameRequestProto { src, dst }).await?.message()?.result})
                }
                Some(options) => {
                    let overwrite_dest = options
                        .split(',')
                        .any(|option| option.eq_ignore_ascii_case("OVERWRITE"));
                    let asked = Rename2RequestProto {
                        src,
                        dst,
                        overwrite_dest,
                        move_to_trash: None,
                    };
                    node.rename2(asker, asked).await?;
                    return Ok(StatusCode::OK.into_response());
                }
            }
        }
        _ => return put_attributes(served, asker, query).await,
    };
    Ok(Json(body).into_response())
}

async fn put_attributes(served: &Served, asker: &Asker, query: &Query) -> Result<Response, Error> {
    let (node, src) = (&served.node, query.path.clone());
    match query.operation.as_str() {
        "SETREPLICATION" => {
            let replication = query
                .number_from("replication", 1)?
                .unwrap_or(node.settings.replication.into());
            let asked = SetReplicationRequestProto {
                src,
                replication: u32::try_from(replication).unwrap_or(u32::MAX),
            };
            let result = node.set_replication(asker, asked).await?.message()?.result;
            return Ok(Json(json!({"boolean": result})).into_response());
        }
        "SETPERMISSION" => {
            let permission = FsPermissionProto {
                perm: query.permission("permission", 0o755)?,
            };
            node.set_permission(asker, SetPermissionRequestProto { src, permission })
                .await?;
        }
        "SETOWNER" => {
            let given = |name: &str| query.get(name).map(str::to_owned);
            let (username, groupname) = (given("owner"), given("group"));
            if username.is_none() && groupname.is_none() {
                return Err(Error::IllegalArgument("Both owner and group are empty.".to_owned()));
            }
            node.set_owner(
                asker,
                SetOwnerRequestProto {
                    src,
                    username,
                    groupname,
                },
            )
            .await?;
        }
        "SETTIMES" => {
            let time = |name: &str| Ok::<_, Error>(query.number_from(name, -1)?.unwrap_or(-1) as u64);
            let (mtime, atime) = (time("modificationtime")?, time("accesstime")?);
            node.set_times(asker, SetTimesRequestProto { src, mtime, atime })
                .await?;
        }
        "MODIFYACLENTRIES" => {
            let acl_spec = attributes::parse_entries(query.required("aclspec")?, true)?;
            node.modify_acl(asker, ModifyAclEntriesRequestProto { src, acl_spec })
                .await?;
        }
        "REMOVEACLENTRIES" => {
            let acl_spec = attributes::parse_entries(query.required("aclspec")?, false)?;
            node.remove_acl_entries(asker, RemoveAclEntriesRequestProto { src, acl_spec })
                .await?;
        }
        "REMOVEDEFAULTACL" => {
            node.remove_default_acl(asker, RemoveDefaultAclRequestProto { src })
                .await?;
        }
        "REMOVEACL" => {
            node.remove_acl(asker, RemoveAclRequestProto { src }).await?;
        }
        "SETACL" => {
            let acl_spec = attributes::parse_entries(query.required("aclspec")?, true)?;
            node.set_acl(asker, SetAclRequestProto { src, acl_spec }).await?;
        }
        "SETXATTR" => {
            let mut xattr = attributes::xattr_of_name(query.required("xattr.name")?)?;
            xattr.value = Some(json::decoded(query.get("xattr.value").unwrap_or_default())?);
            let flag = match query.get("flag") {
                None => 0,
                Some(flags) => flags.split(',').fold(0, |bits, flag| {
                    bits | u32::from(flag.eq_ignore_ascii_case("CREATE"))
                        | u32::from(flag.eq_ignore_ascii_case("REPLACE")) << 1
                }),
            };
            let asked = SetXAttrRequestProto {
                src,
                x_attr: Some(xattr),
                flag: Some(flag),
            };
            node.set_xattr(asker, asked).await?;
        }
        "REMOVEXATTR" => {
            let x_attr = Some(attributes::xattr_of_name(query.required("xattr.name")?)?);
            node.remove_xattr(asker, RemoveXAttrRequestProto { src, x_attr })
                .await?;
        }
        "CREATESYMLINK"
        | "ALLOWSNAPSHOT"
        | "DISALLOWSNAPSHOT"
        | "CREATESNAPSHOT"
        | "RENAMESNAPSHOT"
        | "SETSTORAGEPOLICY"
        | "SATISFYSTORAGEPOLICY"
        | "SETQUOTA"
        | "SETQUOTABYSTORAGETYPE"
        | "SETECPOLICY"
        | "ENABLEECPOLICY"
        | "DISABLEECPOLICY"
        | "RENEWDELEGATIONTOKEN"
        | "CANCELDELEGATIONTOKEN" => {
            return unsupported(query);
        }
        _ => return Ok(unknown(query, "PUT")),
    }
    Ok(StatusCode::OK.into_response())
}

/// Sends the client on to a data node: one that has the block at `offset`, where there is one.
/// Where the client that is being answered reaches the name node's RPC port.
fn rpc_address(rpc: SocketAddr) -> String {
    if rpc.ip().is_unspecified() {
        format!("{}:{}", reach::host(reach::EVERYWHERE), rpc.port())
    } else {
        rpc.to_string()
    }
}

fn redirect(served: &Served, asker: &Asker, query: &Query, offset: Option<u64>) -> Result<Response, Error> {
    let node = &served.node;
    let located = offset.and_then(|offset| node.block_locations(asker, &query.path, offset, 1, "").ok());
    let near = match located.map(|located| (located.blocks.into_iter().next(), located.last_block)) {
        // None of its replicas can be read.
        Some((Some(block), _)) if block.locs.is_empty() => {
            return Err(Error::Io("No active nodes contain this block".to_owned()));
        }
        Some((block, last)) => block.or(last).and_then(|block| block.locs.into_iter().next()),
        None => None,
    };
    let near = near.map(|info| info.id);
    let target = match near {
        Some(id) => id,
        None => {
            let state = node.lock();
            let chosen = state.soft.blocks.place(1, 0, &[], "", node.now(), node.seed());
            let info = chosen
                .first()
                .map(|id| crate::namenode::status::datanode_info(state.soft.blocks.node(*id)));
            info.ok_or_else(|| Error::Io("Failed to find datanode, suggest to check cluster health.".to_owned()))?
                .id
        }
    };
    let location = format!(
        "http://{}:{}{PREFIX}{}?{}&namenoderpcaddress={}",
        target.ip_addr,
        target.info_port,
        encode(&query.path),
        query.encode_parameters(),
        rpc_address(served.rpc)
    );
    if query.flag("noredirect", false)? {
        return Ok(Json(json!({"Location": location})).into_response());
    }
    Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response())
}
