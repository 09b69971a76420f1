//! Leases: granting, revoking, keeping alive.

use std::time::Duration;

use coordinator_wire::etcdserverpb as pb;
use futures::StreamExt;
use pb::lease_client::LeaseClient;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::connection::{Backoff, Fate, Kind};
use crate::{Client, Error};

/// A lease is renewed this many times within its time to live, so that two lost tries do no harm.
const RENEWALS_PER_TTL: u32 = 3;

/// Keeps a lease alive from a task of its own until dropped, through restarts of the server.
#[derive(Debug)]
pub struct LeaseKeeper {
    lease: i64,
    lost: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl LeaseKeeper {
    pub fn lease(&self) -> i64 {
        self.lease
    }

    /// Resolves when the lease is gone: it expired, or was revoked. Cancel safe.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An error means that the task ended, after which nothing keeps the lease.
        let _ended = lost.wait_for(|lost| *lost).await;
    }

    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Grants a lease of this many seconds; the server may choose a longer time. Returns its id and its time to live.
    pub async fn lease_grant(&self, ttl_seconds: i64) -> Result<(i64, i64), Error> {
        let request = pb::LeaseGrantRequest {
            ttl: ttl_seconds,
            id: 0,
        };
        // A grant sent twice leaves an unused lease that expires by itself, so it is tried again like a read.
        let answer = self
            .connection
            .call(Kind::Read, |channel| async move {
                LeaseClient::new(channel).lease_grant(request).await
            })
            .await?;
        Ok((answer.id, answer.ttl))
    }

    /// Ends a lease and deletes its keys.
    pub async fn lease_revoke(&self, lease: i64) -> Result<(), Error> {
        let request = pb::LeaseRevokeRequest { id: lease };
        let call = self.connection.call(Kind::Write, |channel| async move {
            LeaseClient::new(channel).lease_revoke(request).await
        });
        match call.await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(Code::NotFound) => Err(Error::LeaseNotFound(lease)),
            Err(error) => Err(error),
        }
    }

    /// Renews a lease once and returns its time to live in seconds.
    pub async fn lease_keep_alive_once(&self, lease: i64) -> Result<i64, Error> {
        let answer = self
            .connection
            .call(Kind::Read, |channel| async move {
                let once = tokio_stream::once(pb::LeaseKeepAliveRequest { id: lease });
                let mut answers = LeaseClient::new(channel).lease_keep_alive(once).await?.into_inner();
                let answer = answers.message().await?;
                answer
                    .map(tonic::Response::new)
                    .ok_or_else(|| Status::unavailable("the stream ended"))
            })
            .await?;
        if answer.ttl <= 0 {
            Err(Error::LeaseNotFound(lease))
        } else {
            Ok(answer.ttl)
        }
    }

    /// Keeps a lease alive in the background until the keeper is dropped or the lease is lost.
    pub fn lease_keep_alive(&self, lease: i64, ttl_seconds: i64) -> LeaseKeeper {
        let (lost_sender, lost) = watch::channel(false);
        let client = self.clone();
        let ttl = Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0).max(1));
        let task = tokio::spawn(async move {
            client.keep(lease, ttl).await;
            lost_sender.send_replace(true);
        });
        LeaseKeeper { lease, lost, task }
    }

    /// Renews over one stream after the other; returns when the lease does not exist any more.
    async fn keep(&self, lease: i64, ttl: Duration) {
        let mut backoff = Backoff::default();
        let mut renewed = Instant::now();
        loop {
            let (endpoint, transport) = self.connection.transport().await;
            let (requests, receiver) = mpsc::channel(1);
            let outcome: Result<(), Status> = async {
                let mut client = LeaseClient::new(transport?);
                requests
                    .send(pb::LeaseKeepAliveRequest { id: lease })
                    .await
                    .map_err(closed)?;
                let mut answers = client
                    .lease_keep_alive(ReceiverStream::new(receiver))
                    .await?
                    .into_inner();
                loop {
                    let waited = timeout(ttl, answers.next()).await;
                    let answer = waited
                        .map_err(|_| Status::unavailable("no answer"))?
                        .unwrap_or_else(|| Err(Status::unavailable("the stream ended")))?;
                    if answer.ttl <= 0 {
                        return Ok(());
                    }
                    renewed = Instant::now();
                    backoff = Backoff::default();
                    sleep(ttl / RENEWALS_PER_TTL).await;
                    requests
                        .send(pb::LeaseKeepAliveRequest { id: lease })
                        .await
                        .map_err(closed)?;
                }
            }
            .await;
            match outcome {
                Ok(()) => return,
                Err(status) if self.connection.renews(&status) => {}
                Err(status) if Fate::of(&status) == Fate::Answered && renewed.elapsed() > ttl => return,
                Err(status) => tracing::debug!(lease, %status, "keep-alive interrupted"),
            }
            self.connection.leave(endpoint);
            backoff.pause().await;
        }
    }
}

fn closed<T>(_unsent: mpsc::error::SendError<T>) -> Status {
    Status::unavailable("the stream ended")
}
