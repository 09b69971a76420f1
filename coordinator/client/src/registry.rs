//! Service discovery: how the programs of a stack register, and how they find each other.
//!
//! A program that runs has one key, `/bonsai/services/PROGRAM/ID`, whose value is a JSON object:
//!
//! ```json
//! {"program":"log-broker","id":"0","addresses":{"listen":"127.0.0.1:9092","admin":"127.0.0.1:9644"},
//!  "version":"0.1.0","started":1767225600000,"owner":"5L6g3nShT-eMCtK--X86sw /var/lib/log-broker"}
//! ```
//!
//! `addresses` are by listener, as another machine reaches them; `started` is in milliseconds since 1970. The key is bound
//! to a lease of [`LEASE_SECONDS`], so it outlives a killed program by no more than that.
//!
//! An id is claimed by a transaction that creates the key only if it is absent; the key's `create_revision` then fences
//! every later write that depends on it ([`Claim::fence`]). A key that another program holds is never overwritten: the
//! claim is refused ([`Id::Fixed`]) or takes the next number ([`Id::Next`]). `owner` tells two programs apart: it names what
//! only one process at a time can hold, such as a locked data directory. A program that finds its own owner was restarted
//! within its old lease: it revokes that lease and claims again, so its key has a new `create_revision`.
//!
//! A registration that is lost (the lease expired, the key was deleted) is made again by [`Registrar::keep`]. All of this is plain
//! etcd v3, and works the same on etcd.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::wire::etcdserverpb::response_op::Response;
use crate::{Change, Client, Compare, Error, KeyValue, Keys, LeaseKeeper, Op, Options, OptionsError, RangeOptions};

/// All registrations are below this key.
pub const PREFIX: &str = "/bonsai/services/";

/// What stands for the registered name node in a URL: `hdfs://bonsai/path`.
pub const NAME_SERVICE: &str = "bonsai";

/// How long a registration outlives a program that was killed.
pub const LEASE_SECONDS: i64 = 10;

/// Ids that [`Id::Next`] tries.
const NEXT_MAX: u32 = 1_000;
/// How often a key with our own owner is taken away from the process before.
const TAKEOVERS_MAX: u32 = 10;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a program's start waits for the coordinator.
const START_MAX: Duration = Duration::from_secs(2);
/// How old what a [`Directory`] knows may be.
const REFRESH: Duration = Duration::from_secs(1);
/// How long a coordinator may take to answer one attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);

/// A program that runs, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub program: String,
    pub id: String,
    /// `HOST:PORT` by listener.
    pub addresses: BTreeMap<String, String>,
    pub version: String,
    /// Milliseconds since 1970.
    pub started: u64,
    /// What only one process at a time can hold.
    pub owner: String,
}

impl Registration {
    /// Of a program that starts now; its id is set by the claim.
    pub fn new(program: &str, version: &str, owner: impl Into<String>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            program: program.to_owned(),
            id: String::new(),
            addresses: BTreeMap::new(),
            version: version.to_owned(),
            started: since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            owner: owner.into(),
        }
    }

    pub fn with_address(mut self, listener: &str, address: impl Into<String>) -> Self {
        self.addresses.insert(listener.to_owned(), address.into());
        self
    }

    pub fn address(&self, listener: &str) -> Option<&str> {
        self.addresses.get(listener).map(String::as_str)
    }

    fn key(&self) -> String {
        format!("{PREFIX}{}/{}", self.program, self.id)
    }

    fn parse(pair: &KeyValue) -> Option<Self> {
        serde_json::from_slice(&pair.value).ok()
    }
}

/// Which id a program claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// This one, or none.
    Fixed(String),
    /// The lowest number that is free.
    Next,
}

/// Why an id was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Operator: stop the other program, or give this one another id or another coordinator.
    #[error("{key} is registered by another program{}: stop that one, or use another coordinator", describe(.holder.as_deref()))]
    Taken {
        key: String,
        holder: Option<Box<Registration>>,
    },
    #[error("the coordinator did not answer within {} seconds", ATTEMPT_MAX.as_secs())]
    Silent,
    #[error(transparent)]
    Client(#[from] Error),
}

fn describe(holder: Option<&Registration>) -> String {
    let Some(holder) = holder else { return String::new() };
    let at: Vec<&str> = holder.addresses.values().map(String::as_str).collect();
    format!(" ({} at {})", holder.owner, at.join(", "))
}

/// A key that this process holds, for as long as its lease lives.
#[derive(Debug)]
pub struct Claim {
    pub registration: Registration,
    pub key: String,
    pub create_revision: i64,
    client: Client,
    keeper: LeaseKeeper,
}

impl Claim {
    /// The condition that the key is still held by this claim, for transactions that depend on it.
    pub fn fence(&self) -> Compare {
        Compare::create_revision(self.key.clone(), self.create_revision)
    }

    /// Resolves when the key is lost: its lease ended, or it was deleted or overwritten.
    pub async fn lost(&self) {
        tokio::select! {
            () = self.keeper.lost() => {}
            () = self.changed() => {}
        }
    }

    async fn changed(&self) {
        loop {
            if let Ok(mut watch) = self
                .client
                .watch(Keys::one(self.key.clone()), self.create_revision + 1)
                .await
            {
                while let Some(Ok(batch)) = watch.next().await {
                    let foreign = |change: &Change| match change {
                        Change::Put(pair) => {
                            pair.create_revision != self.create_revision || pair.lease != self.keeper.lease()
                        }
                        Change::Delete(_) => true,
                    };
                    if batch.changes.iter().any(foreign) {
                        return;
                    }
                }
            }
            // The watch ended: its start may have been compacted away. The key itself says what became of it.
            if let Ok(found) = self.client.get(self.key.clone()).await
                && found.is_none_or(|pair| pair.create_revision != self.create_revision)
            {
                return;
            }
            tokio::time::sleep(PAUSE_FIRST).await;
        }
    }

    /// Takes the key away.
    pub async fn release(self) {
        let lease = self.keeper.lease();
        drop(self.keeper);
        // What cannot be revoked now ends by itself.
        let _ = tokio::time::timeout(ATTEMPT_MAX, self.client.lease_revoke(lease)).await;
    }
}

/// Claims an id and registers under it.
///
/// # Errors
/// [`ClaimError::Taken`] where another program holds the id; otherwise the coordinator could not be asked.
pub async fn claim(client: &Client, registration: &Registration, id: &Id) -> Result<Claim, ClaimError> {
    let attempt = tokio::time::timeout(ATTEMPT_MAX, client.lease_grant(LEASE_SECONDS));
    let (lease, ttl) = attempt.await.map_err(|_| ClaimError::Silent)??;
    // From here on, so that the lease does not end while ids are tried.
    let keeper = client.lease_keep_alive(lease, ttl);
    let outcome = claim_with(client, registration, id, lease).await;
    match outcome {
        Ok((registration, create_revision)) => Ok(Claim {
            key: registration.key(),
            registration,
            create_revision,
            client: client.clone(),
            keeper,
        }),
        Err(error) => {
            drop(keeper);
            let _ends_by_itself = tokio::time::timeout(ATTEMPT_MAX, client.lease_revoke(lease)).await;
            Err(error)
        }
    }
}

/// The registration with its id, and its key's `create_revision`.
async fn claim_with(
    client: &Client,
    registration: &Registration,
    id: &Id,
    lease: i64,
) -> Result<(Registration, i64), ClaimError> {
    let mut number = 0;
    let mut takeovers = 0;
    loop {
        let mut wanted = registration.clone();
        wanted.id = match id {
            Id::Fixed(id) => id.clone(),
            Id::Next => number.to_string(),
        };
        let key = wanted.key();
        let value = serde_json::to_string(&wanted).unwrap_or_default();
        let attempt = client.txn(
            vec![Compare::absent(key.clone())],
            vec![Op::put_with_lease(key.clone(), value, lease)],
            vec![Op::get(key.clone())],
        );
        let result = match tokio::time::timeout(ATTEMPT_MAX, attempt).await {
            Err(_) => return Err(ClaimError::Silent),
            // Whether it was carried out, the next round sees.
            Ok(Err(Error::Unknown(_))) => continue,
            Ok(result) => result?,
        };
        if result.succeeded {
            return Ok((wanted, result.revision));
        }
        let holder = result.responses.into_iter().find_map(|answer| match answer.response {
            Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
            _ => None,
        });
        // Gone between two looks: try again.
        let Some(pair) = holder else { continue };
        if pair.lease == lease {
            return Ok((wanted, pair.create_revision));
        }
        let found = Registration::parse(&pair);
        let is_predecessor = found
            .as_ref()
            .is_some_and(|found| found.owner == wanted.owner && found.started <= wanted.started);
        if is_predecessor && takeovers < TAKEOVERS_MAX {
            takeovers += 1;
            end_predecessor(client, &pair).await?;
            continue;
        }
        match id {
            Id::Next if number < NEXT_MAX => number += 1,
            _ => {
                return Err(ClaimError::Taken {
                    key,
                    holder: found.map(Box::new),
                });
            }
        }
    }
}

/// Takes away the key of the process that was here before this one.
async fn end_predecessor(client: &Client, pair: &KeyValue) -> Result<(), Error> {
    let ended = if pair.lease == 0 {
        let fence = Compare::mod_revision(pair.key.clone(), pair.mod_revision);
        let delete = Op::delete(pair.key.clone());
        client.txn(vec![fence], vec![delete], Vec::new()).await.map(|_done| ())
    } else {
        client.lease_revoke(pair.lease).await
    };
    match ended {
        Err(Error::LeaseNotFound(_) | Error::Unknown(_)) => Ok(()),
        ended => ended,
    }
}

/// Why a program must not serve under the id that it wants.
#[derive(Debug, thiserror::Error)]
pub enum RegistrarError {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Taken(ClaimError),
}

/// A program that is, or is going to be, registered.
#[derive(Debug)]
pub struct Registrar {
    client: Client,
    registration: Registration,
    id: Id,
    claimed: Option<Claim>,
}

impl Registrar {
    /// Claims the id, where `options` name a coordinator and it answers soon. One that cannot be reached does not keep a
    /// program from serving: the claim is made later, by [`Registrar::keep`].
    ///
    /// # Errors
    /// Another program has the id, or the options lead nowhere.
    pub async fn start(options: &Options, registration: Registration, id: Id) -> Result<Option<Self>, RegistrarError> {
        let Some(client) = options.client()? else {
            return Ok(None);
        };
        let attempt = tokio::time::timeout(START_MAX, claim(&client, &registration, &id));
        let claimed = match attempt.await {
            Ok(Ok(claim)) => Some(claim),
            Ok(Err(error @ ClaimError::Taken { .. })) => return Err(RegistrarError::Taken(error)),
            Ok(Err(_)) | Err(_) => None,
        };
        Ok(Some(Self {
            client,
            registration,
            id,
            claimed,
        }))
    }

    /// Keeps the program registered until `end`, then takes its key away. The program serves meanwhile, whether or not the
    /// coordinator can be reached.
    pub async fn keep(mut self, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        let mut pause = PAUSE_FIRST;
        let mut told = false;
        loop {
            let claim = match self.claimed.take() {
                Some(claim) => Ok(claim),
                None => tokio::select! {
                    claim = claim(&self.client, &self.registration, &self.id) => claim,
                    () = &mut end => return,
                },
            };
            match claim {
                Ok(claim) => {
                    (pause, told) = (PAUSE_FIRST, false);
                    let revision = claim.create_revision;
                    tracing::info!(
                        key = claim.key,
                        create_revision = revision,
                        "registered in the coordinator"
                    );
                    tokio::select! {
                        () = claim.lost() => {
                            tracing::warn!(key = claim.key, "the registration was lost; registering again");
                        }
                        () = &mut end => return claim.release().await,
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "not registered in the coordinator; serving, and trying again");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = &mut end => return,
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

/// Who is registered under `program`, by id. What is no registration is left out.
///
/// # Errors
/// The coordinator's.
pub async fn find(client: &Client, program: &str) -> Result<Vec<Registration>, Error> {
    list(client, &format!("{PREFIX}{program}/")).await
}

/// All registrations.
///
/// # Errors
/// The coordinator's.
pub async fn all(client: &Client) -> Result<Vec<Registration>, Error> {
    list(client, PREFIX).await
}

async fn list(client: &Client, prefix: &str) -> Result<Vec<Registration>, Error> {
    let found = client
        .range(Keys::prefix(prefix.to_owned()), RangeOptions::default())
        .await?;
    Ok(found.kvs.iter().filter_map(Registration::parse).collect())
}

/// All registrations, kept up to date while this lives, for code that cannot wait.
#[derive(Debug)]
pub struct Directory {
    found: Arc<RwLock<Vec<Registration>>>,
    task: JoinHandle<()>,
}

impl Directory {
    /// Reads the registrations, waiting a moment where the coordinator does not answer at once, and follows them from then
    /// on.
    pub async fn follow(client: Client) -> Self {
        let found = Arc::new(RwLock::new(Vec::new()));
        let _tried_again_below = tokio::time::timeout(START_MAX, refresh(&client, &found)).await;
        let task = tokio::spawn({
            let found = Arc::clone(&found);
            async move {
                loop {
                    tokio::time::sleep(REFRESH).await;
                    // What is known stays known while the coordinator is silent.
                    let _tried_again = refresh(&client, &found).await;
                }
            }
        });
        Self { found, task }
    }

    /// The addresses of a program's listener, by id.
    pub fn addresses(&self, program: &str, listener: &str) -> Vec<String> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found
            .iter()
            .filter(|registration| registration.program == program)
            .filter_map(|registration| registration.address(listener).map(str::to_owned))
            .collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn refresh(client: &Client, found: &RwLock<Vec<Registration>>) -> Result<(), Error> {
    let now = all(client).await?;
    *found.write().unwrap_or_else(PoisonError::into_inner) = now;
    Ok(())
}

/// The owner of a program without a data directory: only one process of a machine has an address.
pub fn owner_at(address: &str) -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {address}", machine.trim()).trim_start().to_owned()
}

/// The address under which a listener is registered: the advertised host, or the one it is bound to; where it is bound to
/// all addresses, the one by which this machine reaches the coordinator.
pub fn address(bound: SocketAddr, advertise: Option<&str>, options: &Options) -> String {
    let port = bound.port();
    match advertise {
        Some(host) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        Some(host) => format!("{host}:{port}"),
        None if bound.ip().is_unspecified() => {
            let endpoints = options.coordinator.as_deref().unwrap_or_default();
            SocketAddr::new(own_address(endpoints), port).to_string()
        }
        None => bound.to_string(),
    }
}

/// This machine's address on the way to `endpoints`, or, where they are on this machine themselves, to the rest of the world.
fn own_address(endpoints: &str) -> IpAddr {
    let host = |endpoint: &str| {
        let endpoint = endpoint.trim();
        endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest).to_owned()
    };
    endpoints
        .split(',')
        .find_map(|endpoint| route_to(&host(endpoint)))
        .filter(|address| !address.is_loopback())
        .unwrap_or_else(outer_address)
}

/// The address by which other machines may reach this one; the loopback where it has no other.
pub fn outer_address() -> IpAddr {
    // An address that is kept free for documentation: it stands for the rest of the world.
    const ELSEWHERE: &str = "192.0.2.1:9";
    let without_a_route = || {
        let table = std::fs::read_to_string("/proc/net/fib_trie").ok()?;
        local_addresses(&table).into_iter().next()
    };
    route_to(ELSEWHERE)
        .or_else(without_a_route)
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// This machine's address on the way to `target`. Nothing is sent: connecting a UDP socket only chooses the route.
fn route_to(target: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The machine's own addresses but the loopback's, in Linux's table of routes: `|-- ADDRESS`, then `/32 host LOCAL`.
fn local_addresses(table: &str) -> Vec<IpAddr> {
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[1].starts_with("/32 host LOCAL"))
        .filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse::<IpAddr>().ok())
        .filter(|address| !address.is_loopback())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registered_address_is_one_that_others_reach() {
        let all: SocketAddr = "0.0.0.0:9092".parse().unwrap();
        let one: SocketAddr = "127.0.0.1:9092".parse().unwrap();
        let near = Options::plain("http://127.0.0.1:2379");
        assert_eq!(address(one, None, &near), "127.0.0.1:9092");
        assert_eq!(address(all, None, &near), format!("{}:9092", outer_address()));
        assert_eq!(address(all, Some("db.example"), &near), "db.example:9092");
        assert_eq!(address(all, Some("::1"), &near), "[::1]:9092");
    }

    #[test]
    fn a_machine_without_a_way_out_still_has_addresses() {
        let table = "Main:\n  +-- 10.77.0.0/24 2 0 2\n     |-- 10.77.0.0\n        /24 link UNICAST\n     |-- 10.77.0.1\n        \
                     /32 host LOCAL\n  +-- 127.0.0.0/8 2 0 2\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(local_addresses(table), ["10.77.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_registration_is_read_as_it_was_written() {
        let written = Registration::new("batch", "1.2.3", "host 127.0.0.1:1").with_address("flight", "127.0.0.1:1");
        let value = serde_json::to_vec(&written).unwrap();
        let pair = KeyValue {
            value: value.into(),
            ..KeyValue::default()
        };
        assert_eq!(Registration::parse(&pair), Some(written));
    }
}
