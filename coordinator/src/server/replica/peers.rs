//! What other members say to this one: consensus's messages, calls that only the leader can answer, and questions of
//! those who want to join.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use coordinator_wire::coordinatorpb::peer_call::Call;
use coordinator_wire::coordinatorpb::{PeerAnswer, PeerCall};
use prost::Message as _;
use raft::consensus::{Event, Message};
use raft::node::{Inbox, Pending, Sink};
use tokio::sync::Semaphore;

use crate::Error;
use crate::server::replica::corruption;
use crate::server::replica::node::Node;
use crate::server::replica::snapshot_transfer::Incoming;
use crate::server::service::cluster;

/// Messages of other members that may wait for consensus.
const MESSAGES_WAITING_MAX: usize = 1_024;

/// The door for other members. The node behind it is set once it runs.
pub(in crate::server) struct PeerInbox {
    node: OnceLock<Weak<Node>>,
    room: Arc<Semaphore>,
}

impl fmt::Debug for PeerInbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PeerInbox").finish_non_exhaustive()
    }
}

impl PeerInbox {
    pub(in crate::server) fn new() -> Arc<Self> {
        Arc::new(Self {
            node: OnceLock::new(),
            room: Arc::new(Semaphore::new(MESSAGES_WAITING_MAX)),
        })
    }

    pub(in crate::server) fn open(&self, node: &Arc<Node>) {
        let _opened_once = self.node.set(Arc::downgrade(node));
    }

    fn node(&self) -> Option<Arc<Node>> {
        self.node.get().and_then(Weak::upgrade)
    }
}

impl Inbox for PeerInbox {
    fn message(&self, from: u64, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                return;
            };
            match (self.node(), Message::decode(bytes)) {
                (Some(node), Ok(message)) if message.from == from => node.raft().message(message, permit),
                (_, Err(error)) => {
                    tracing::warn!(from = format!("{from:x}"), %error, "ignored an undecodable raft message")
                }
                _ => {}
            }
        })
    }

    fn call(&self, _from: u64, body: Bytes) -> Pending<'_, Bytes> {
        Box::pin(async move {
            let answer = match (self.node(), PeerCall::decode(body)) {
                (Some(node), Ok(PeerCall { call: Some(call) })) => answer(&node, call).await,
                (None, _) => Err(Error::Stopped),
                _ => Err(Error::NotCapable),
            };
            let answer = answer.unwrap_or_else(|refusal| PeerAnswer {
                refusal: refusal.to_string(),
                ..Default::default()
            });
            answer.encode_to_vec().into()
        })
    }

    fn ask(&self, body: Bytes) -> Pending<'_, Bytes> {
        // A member compares its keys before it has streams; everyone else wants to know who is here.
        let is_about_keys = PeerCall::decode(body.clone()).is_ok_and(|call| matches!(call.call, Some(Call::HashKv(_))));
        if is_about_keys {
            return self.call(0, body);
        }
        Box::pin(async move {
            let members = self.node().map(|node| node.machine().members().to_stored());
            members.unwrap_or_default().encode_to_vec().into()
        })
    }

    fn receive(&self, _from: u64, about: Bytes) -> io::Result<Box<dyn Sink>> {
        let node = self.node().ok_or_else(|| io::Error::other("the server is stopping"))?;
        Ok(Box::new(Incoming::begin(&node, about)?))
    }

    fn connected(&self, member: u64) {
        if let Some(node) = self.node() {
            node.metrics.peers.connected(member);
        }
    }

    fn lost(&self, member: u64, _refused: bool) {
        if let Some(node) = self.node() {
            node.metrics.peers.lost(member);
            node.raft().event(Event::Unreachable { peer: member });
        }
    }

    fn removed(&self) {
        if let Some(node) = self.node() {
            node.fail_as_removed();
        }
    }

    fn is_removed(&self, member: u64) -> bool {
        self.node()
            .is_some_and(|node| node.machine().members().is_removed(member))
    }

    fn observe_traffic(&self, member: u64, sent: usize, received: usize) {
        if let Some(node) = self.node() {
            node.metrics.peers.observe(member, sent, received);
        }
    }
}

/// What only the leader can do, or what is asked of this very member, done here.
pub(in crate::server) async fn answer(node: &Node, call: Call) -> Result<PeerAnswer, Error> {
    match call {
        Call::Add(request) => cluster::add(node, request).await,
        Call::Promote(request) => cluster::promote(node, request.id).await,
        Call::Remove(request) => cluster::remove(node, request.id).await,
        Call::Update(request) => cluster::update(node, request).await,
        Call::Renew(request) => node.renew_here(request.id).await,
        Call::TimeToLive(request) => node.time_to_live_here(request.id),
        Call::HashKv(request) => corruption::answer(node, request).await,
    }
}
