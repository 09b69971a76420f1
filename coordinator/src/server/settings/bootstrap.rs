//! Bootstrap: a member starts a new cluster by its flags, or joins an existing one.
//!
//! Members that bootstrap a cluster together need not talk to each other for it: the same `--initial-cluster` and
//! `--initial-cluster-token` give each of them the same ids and the same first state. That state counts as entry 1 of term
//! 1, which is in no member's log; so a member that joins later gets it as a snapshot, members included.
//! A member that joins asks those that are there who they are, finds its own peer URLs among them, and begins with nothing.
//! Both happens once; from then on what is on the disk counts, whatever the flags say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coordinator_wire::coordinatorpb::StoredMembers;
use coordinator_wire::etcdserverpb as pb;
use prost::Message;
use raft::node::{Connect, Transport};

use crate::members::{Members, cluster_id, member_id};
use crate::server::settings::limits::ChangeRules;
use crate::server::settings::url::Url;
use crate::server::settings::values::{split, urls};
use crate::server::storage::store_file::Identity;

/// How often those who are there are asked while none answers.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// For so long.
const ASK_ATTEMPTS: usize = 20;
/// etcd's limits of the two times, in milliseconds.
const ELECTION_MS_MAX: u64 = 50_000;

/// etcd's flags about members.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::server) struct MemberArguments {
    /// Comma-separated list of URLs to listen on for peer traffic.
    #[arg(
        long,
        value_name = "URLS",
        default_value = DEFAULT_PEER_URL,
        env = "ETCD_LISTEN_PEER_URLS",
        hide_env = true
    )]
    pub(in crate::server) listen_peer_urls: String,
    /// Comma-separated list of this member's peer URLs to advertise to the cluster; as in --initial-cluster by default.
    #[arg(long, value_name = "URLS", env = "ETCD_INITIAL_ADVERTISE_PEER_URLS", hide_env = true)]
    initial_advertise_peer_urls: Option<String>,
    /// Initial cluster configuration for bootstrapping: comma-separated NAME=URL pairs.
    #[arg(long, value_name = "NAME=URL", env = "ETCD_INITIAL_CLUSTER", hide_env = true)]
    initial_cluster: Option<String>,
    /// Initial cluster token for bootstrapping; clusters with the same URLs need different ones.
    #[arg(
        long,
        value_name = "TOKEN",
        default_value = "etcd-cluster",
        env = "ETCD_INITIAL_CLUSTER_TOKEN",
        hide_env = true
    )]
    initial_cluster_token: String,
    /// Initial cluster state: `new` to bootstrap a cluster, `existing` to join one that this member was added to.
    #[arg(long, default_value = "new", env = "ETCD_INITIAL_CLUSTER_STATE", hide_env = true)]
    initial_cluster_state: String,
    /// Force a new one-member cluster that keeps all committed entries. For a cluster that has lost its quorum for good: the
    /// other members are removed.
    #[arg(
        long,
        default_value_t = false,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        env = "ETCD_FORCE_NEW_CLUSTER",
        hide_env = true
    )]
    force_new_cluster: bool,
    /// Heartbeat interval, in milliseconds.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 100,
        env = "ETCD_HEARTBEAT_INTERVAL",
        hide_env = true
    )]
    heartbeat_interval: u64,
    /// Election timeout, in milliseconds.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 1_000,
        env = "ETCD_ELECTION_TIMEOUT",
        hide_env = true
    )]
    election_timeout: u64,
    /// Enable Raft's pre-vote, so that a member that was partitioned does not disrupt the cluster when it returns.
    #[arg(
        long,
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        env = "ETCD_PRE_VOTE",
        hide_env = true
    )]
    pre_vote: bool,
    /// Reject reconfiguration requests that would cause quorum loss.
    #[arg(
        long,
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        env = "ETCD_STRICT_RECONFIG_CHECK",
        hide_env = true
    )]
    strict_reconfig_check: bool,
    /// Maximum number of learners in the cluster.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        env = "ETCD_MAX_LEARNERS",
        hide_env = true
    )]
    max_learners: usize,
    /// Number of log entries to keep after compacting the log, so that a slow follower can catch up without a snapshot.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5_000,
        env = "ETCD_SNAPSHOT_CATCHUP_ENTRIES",
        hide_env = true
    )]
    snapshot_catchup_entries: u64,
}

const DEFAULT_PEER_URL: &str = "http://127.0.0.1:2380";

/// What the flags say about members.
#[derive(Debug, Clone)]
pub(in crate::server) struct Bootstrap {
    pub(in crate::server) name: String,
    pub(in crate::server) listen: Vec<Url>,
    /// The address is the default: a single member starts without it if it is taken.
    pub(in crate::server) listen_is_default: bool,
    /// The initial members, this one among them, by name.
    members: BTreeMap<String, Vec<String>>,
    token: String,
    joins: bool,
    /// Whether this member goes on without the others.
    pub(in crate::server) force_new_cluster: bool,
    pub(in crate::server) heartbeat_ms: u64,
    pub(in crate::server) election_ms: u64,
    pub(in crate::server) pre_vote: bool,
    pub(in crate::server) changes: ChangeRules,
    pub(in crate::server) catch_up_entries: u64,
}

impl Bootstrap {
    /// `Err` is one sentence that names the flag and says what to do.
    pub(in crate::server) fn from_arguments(
        name: &str,
        arguments: &MemberArguments,
        has_state: bool,
    ) -> Result<Self, String> {
        let listen = urls("--listen-peer-urls", &arguments.listen_peer_urls)?;
        let advertised = arguments
            .initial_advertise_peer_urls
            .as_deref()
            .unwrap_or(&arguments.listen_peer_urls);
        urls("--initial-advertise-peer-urls", advertised)?;
        let joins = match arguments.initial_cluster_state.as_str() {
            "new" => false,
            "existing" => true,
            other => return Err(format!("--initial-cluster-state={other}: it is `new` or `existing`")),
        };
        let (heartbeat_ms, election_ms) = (arguments.heartbeat_interval, arguments.election_timeout);
        if heartbeat_ms == 0 || election_ms < 5 * heartbeat_ms || election_ms > ELECTION_MS_MAX {
            return Err(format!(
                "--election-timeout={election_ms} must be at least five times --heartbeat-interval={heartbeat_ms}, \
                 and at most {ELECTION_MS_MAX}"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            listen,
            listen_is_default: arguments.listen_peer_urls == DEFAULT_PEER_URL
                && arguments.initial_cluster.is_none()
                && arguments.initial_advertise_peer_urls.is_none(),
            members: founding_members(name, arguments, &split(advertised), has_state)?,
            token: arguments.initial_cluster_token.clone(),
            joins,
            force_new_cluster: arguments.force_new_cluster,
            heartbeat_ms,
            election_ms,
            pre_vote: arguments.pre_vote,
            changes: ChangeRules {
                strict: arguments.strict_reconfig_check,
                learners_max: arguments.max_learners,
            },
            catch_up_entries: arguments.snapshot_catchup_entries,
        })
    }

    /// This member's peer URLs, as the flags have them.
    pub(in crate::server) fn own_urls(&self) -> &[String] {
        self.members.get(&self.name).map_or(&[], Vec::as_slice)
    }

    /// The initial members, and this member's identity among them.
    pub(in crate::server) fn found(&self) -> (Identity, Members) {
        let ids = self
            .members
            .values()
            .map(|urls| (member_id(urls, &self.token, None), urls));
        // All begin with the same state, so no one's name is in it: each tells its own when it has started.
        let members = Members::found(ids.map(|(id, urls)| pb::Member {
            id,
            peer_ur_ls: urls.clone(),
            ..Default::default()
        }));
        let identity = Identity {
            cluster: cluster_id(members.iter().map(|member| member.id)),
            member: member_id(self.own_urls(), &self.token, None),
        };
        (identity, members)
    }

    /// Whether this member joins a cluster that exists, where it has no state yet.
    pub(in crate::server) fn joins(&self) -> bool {
        self.joins
    }

    /// Asks the other members who they are, and finds this one among them.
    ///
    /// # Errors
    /// One sentence: no member answers, or this member was not added.
    pub(in crate::server) async fn join(&self, connect: Arc<dyn Connect>) -> Result<(Identity, Members), String> {
        let nobody = raft::node::Identity { cluster: 0, member: 0 };
        let transport = Transport::new(nobody, connect, tokio::runtime::Handle::current());
        let others: Vec<&String> = self
            .members
            .iter()
            .filter(|(name, _)| **name != self.name)
            .flat_map(|(_, urls)| urls)
            .collect();
        if others.is_empty() {
            return Err(
                "--initial-cluster-state=existing needs the other members in --initial-cluster, as NAME=URL".to_owned(),
            );
        }
        let mut last = String::new();
        for attempt in 0..ASK_ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(ASK_INTERVAL).await;
            }
            for url in &others {
                let answer = transport.ask(url, Bytes::new()).await;
                let stored = answer.map(|(cluster, body)| (cluster, StoredMembers::decode(body)));
                match stored {
                    Ok((cluster, Ok(stored))) if !stored.members.is_empty() => {
                        return self.find_in(cluster, Members::restore(stored), url);
                    }
                    Ok(_) => last = format!("{url} is not ready"),
                    Err(error) => last = format!("{url}: {error}"),
                }
            }
        }
        Err(format!(
            "--initial-cluster-state=existing: no member of the cluster answers ({last}); start one, or look at --initial-cluster"
        ))
    }

    fn find_in(&self, cluster: u64, members: Members, asked: &str) -> Result<(Identity, Members), String> {
        let own = sorted(self.own_urls());
        let found = members.iter().find(|member| sorted(&member.peer_ur_ls) == own);
        match found {
            Some(member) => Ok((
                Identity {
                    cluster,
                    member: member.id,
                },
                members,
            )),
            None => Err(format!(
                "the cluster at {asked} has no member with the peer URLs {}: add it there first with `etcdctl member add`",
                self.own_urls().join(",")
            )),
        }
    }
}

fn sorted(urls: &[String]) -> Vec<String> {
    let mut urls: Vec<String> = urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
    urls.sort();
    urls
}

/// The members that --initial-cluster names; without it this one alone. Where there is state already they are of the past,
/// and this one may have moved since.
fn founding_members(
    name: &str,
    arguments: &MemberArguments,
    advertised: &[String],
    has_state: bool,
) -> Result<BTreeMap<String, Vec<String>>, String> {
    let Some(cluster) = &arguments.initial_cluster else {
        return Ok(BTreeMap::from([(name.to_owned(), advertised.to_vec())]));
    };
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for member in split(cluster) {
        let Some((member, url)) = member.split_once('=') else {
            return Err(format!("--initial-cluster: {member:?} is not NAME=URL"));
        };
        urls("--initial-cluster", url)?;
        members.entry(member.to_owned()).or_default().push(url.to_owned());
    }
    let Some(own) = members.get(name) else {
        return Err(format!(
            "--initial-cluster does not name this member, which is --name={name}: add {name}=URL to it"
        ));
    };
    if !has_state && arguments.initial_advertise_peer_urls.is_some() && sorted(own) != sorted(advertised) {
        return Err(format!(
            "--initial-cluster has {} for this member, --initial-advertise-peer-urls has {}: make them the same",
            own.join(","),
            advertised.join(",")
        ));
    }
    let mut all: Vec<&String> = members.values().flatten().collect();
    all.sort();
    if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("--initial-cluster has {} for two members", twice[0]));
    }
    Ok(members)
}
