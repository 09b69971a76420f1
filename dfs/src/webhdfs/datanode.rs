//! The data node's side: contents.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use dfs_wire::proto::hdfs::{CreateRequestProto, FsPermissionProto};
use futures::StreamExt;

use super::PREFIX;
use super::client::{FileSystem, Upload, download};
use super::json::{Failure, remote_exception};
use super::query::Query;
use crate::Error;
use crate::datanode::DataNode;

/// What a client may still send after its upload failed.
const DRAIN_BYTES_MAX: usize = 64 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub fn router(node: Arc<DataNode>) -> Router {
    Router::new()
        .route(PREFIX, any(answer))
        .route(&format!("{PREFIX}/"), any(answer))
        .route(&format!("{PREFIX}/{{*path}}"), any(answer))
        .with_state(node)
}

async fn answer(State(node): State<Arc<DataNode>>, method: Method, uri: Uri, body: Body) -> Response {
    match try_answer(&node, &method, &uri, body).await {
        Ok(response) => response,
        Err(error) => Failure(error).into_response(),
    }
}

async fn try_answer(node: &Arc<DataNode>, method: &Method, uri: &Uri, body: Body) -> Result<Response, Error> {
    let query = Query::parse(uri)?;
    // Always the own name node, whatever address the request names.
    let fs = FileSystem::new(&node.name_node(), query.users());
    match (method.as_str(), query.operation.as_str()) {
        ("PUT", "CREATE") => create(fs, &query, body).await,
        ("POST", "APPEND") => {
            receive(fs.append(&query.path).await?, body).await?;
            Ok(StatusCode::OK.into_response())
        }
        ("GET", "OPEN") => open(fs, &query).await,
        ("GET", "GETFILECHECKSUM") => super::checksum::answer(fs, &query).await,
        _ => {
            let message = format!(
                "Invalid value for webhdfs parameter \"op\": {} is not an operation of a data node.",
                query.operation
            );
            Ok(remote_exception(
                StatusCode::BAD_REQUEST,
                "java.lang.IllegalArgumentException",
                &message,
            ))
        }
    }
}

async fn create(fs: FileSystem, query: &Query, body: Body) -> Result<Response, Error> {
    let overwrite = query.flag("overwrite", false)?;
    let asked = CreateRequestProto {
        src: query.path.clone(),
        masked: FsPermissionProto {
            perm: query.permission("permission", 0o644)?,
        },
        create_flag: if overwrite { 3 } else { 1 },
        create_parent: query.flag("createparent", true)?,
        replication: query.number_from("replication", 1)?.unwrap_or(0).min(u32::MAX.into()) as u32,
        block_size: query.number_from("blocksize", 1)?.unwrap_or(0).unsigned_abs(),
        ..Default::default()
    };
    receive(fs.create(asked).await?, body).await?;
    let location = format!(
        "webhdfs://{}{}",
        query.get("namenoderpcaddress").unwrap_or_default(),
        query.path
    );
    let location = axum::http::HeaderValue::from_str(&location);
    let mut response = StatusCode::CREATED.into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Writes a request's body. What came is kept and the file closed even if the client goes away in the middle, as in HDFS;
/// so it is done by a task of its own, which does not end with the connection.
async fn receive(mut upload: Upload, body: Body) -> Result<(), Error> {
    let task = tokio::spawn(async move {
        let mut pieces = body.into_data_stream();
        match write_body(&mut upload, &mut pieces).await {
            Ok(broken) => broken.map_or(Ok(()), Err),
            Err(error) => {
                upload.abandon();
                drain(&mut pieces).await;
                Err(error)
            }
        }
    });
    task.await.map_err(|error| Error::Io(error.to_string()))?
}

/// Reads on for a while: a client that still sends would not read why its upload failed.
async fn drain(pieces: &mut BodyDataStream) {
    let reading = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(piece)) = pieces.next().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, reading).await;
}

/// Writes and closes the file. `Some`: the body broke off, and the file has what came before.
async fn write_body(upload: &mut Upload, pieces: &mut BodyDataStream) -> Result<Option<Error>, Error> {
    let mut broken = None;
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => upload.write(&piece).await?,
            Err(error) => {
                broken = Some(Error::Io(format!("the request's body broke off: {error}")));
                break;
            }
        }
    }
    upload.close().await?;
    Ok(broken)
}

async fn open(mut fs: FileSystem, query: &Query) -> Result<Response, Error> {
    let offset = query.number("offset")?.unwrap_or(0);
    let asked = query.number("length")?.unwrap_or(u64::MAX);
    let mut located = fs.locations(&query.path, offset, asked.min(i64::MAX as u64)).await?;
    fs.add_open_block(&mut located).await?;
    if located.file_length > 0 && offset >= located.file_length {
        return Err(super::out_of_range(offset, located.file_length, &query.path));
    }
    let length = asked.min(located.file_length.saturating_sub(offset));
    let mut pieces = download(fs.client_name().to_owned(), located, offset, length);
    // A file that cannot be read at all is an error, not an answer that breaks off.
    let first = match length {
        0 => None,
        _ => pieces
            .recv()
            .await
            .transpose()
            .map_err(|error| Error::Io(format!("Could not obtain block of {}: {error}", query.path)))?,
    };
    let rest = futures::stream::unfold(pieces, |mut pieces| async { Some((pieces.recv().await?, pieces)) });
    let stream = futures::stream::iter(first.map(Ok)).chain(rest);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}
