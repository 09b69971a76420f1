//! Passwords, tokens and certificates, over the wire.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use coordinator_client::registry::{self, ClaimError, Id, Registration};
use coordinator_wire::authpb::permission::Type;
use coordinator_wire::authpb::{Permission, UserAddOptions};
use coordinator_wire::etcdserverpb as pb;
use host::tls::{Connected, Connector, Options};
use hyper_util::rt::TokioIo;
use pb::auth_client::AuthClient;
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::net::TcpStream;
use tonic::codegen::{BoxFuture, Service, http::Uri};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::program::Coordinator;

const DEADLINE: Duration = Duration::from_secs(30);

/// A request with a token.
fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("token", token.parse().expect("ASCII"));
    }
    request.set_timeout(DEADLINE);
    request
}

fn get(key: &'static str, range_end: &'static str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        ..Default::default()
    }
}

fn put(key: &'static str, value: &'static str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.into(),
        value: value.into(),
        ..Default::default()
    }
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, String) {
    let status = outcome.expect_err("it is to be refused");
    (status.code(), status.message().to_owned())
}

async fn token(auth: &mut AuthClient<Channel>, name: &str, password: &str) -> Result<String, Status> {
    let request = pb::AuthenticateRequest {
        name: name.to_owned(),
        password: password.to_owned(),
    };
    Ok(auth.authenticate(request).await?.into_inner().token)
}

/// Users root and ann; ann may read `k`; authentication is on.
async fn enable(auth: &mut AuthClient<Channel>, no_password: bool) -> Result<(), Status> {
    for name in ["root", "ann"] {
        let options = Some(UserAddOptions {
            no_password: no_password && name != "root",
        });
        let user = pb::AuthUserAddRequest {
            name: name.to_owned(),
            password: format!("{name}'s"),
            options,
            ..Default::default()
        };
        auth.user_add(user).await?;
    }
    let role = "reader".to_owned();
    auth.role_add(pb::AuthRoleAddRequest { name: role.clone() }).await?;
    let perm = Some(Permission {
        perm_type: Type::Read.into(),
        key: "k".into(),
        range_end: Default::default(),
    });
    let permission = pb::AuthRoleGrantPermissionRequest {
        name: role.clone(),
        perm,
    };
    auth.role_grant_permission(permission).await?;
    for (user, role) in [("root", "root"), ("ann", &role)] {
        let grant = pb::AuthUserGrantRoleRequest {
            user: user.to_owned(),
            role: role.to_owned(),
        };
        auth.user_grant_role(grant).await?;
    }
    auth.auth_enable(pb::AuthEnableRequest {}).await?;
    Ok(())
}

#[tokio::test]
async fn passwords_become_tokens_and_a_kill_forgets_no_user() {
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = Coordinator::start(data.path());
    let listen = coordinator.listen_url();
    let connect = async || {
        Endpoint::from_shared(listen.clone())
            .expect("a URL")
            .connect()
            .await
            .expect("it serves")
    };
    let channel = connect().await;
    let (mut auth, mut kv) = (AuthClient::new(channel.clone()), KvClient::new(channel.clone()));
    kv.put(put("k", "1")).await.expect("everybody may");
    enable(&mut auth, false).await.expect("it is off so far");

    let nobody = (Code::InvalidArgument, "etcdserver: user name is empty".to_owned());
    let denied = (Code::PermissionDenied, "etcdserver: permission denied".to_owned());
    let strange = (Code::Unauthenticated, "etcdserver: invalid auth token".to_owned());
    assert_eq!(refused(kv.range(get("k", "")).await), nobody);
    assert_eq!(refused(kv.put(put("k", "2")).await), nobody);
    let wrong = refused(token(&mut auth, "ann", "root's").await);
    assert_eq!(
        wrong.1,
        "etcdserver: authentication failed, invalid user ID or password"
    );
    let ann = token(&mut auth, "ann", "ann's").await.expect("her password");
    let root = token(&mut auth, "root", "root's").await.expect("his password");
    let found = kv.range(with(&ann, get("k", ""))).await.expect("she may").into_inner();
    assert_eq!(found.kvs[0].value, "1");
    // GHSA-xg4h-6gfc-h4m8: one key is not the range that begins with it.
    for range_end in ["\0", "l", "k\0\0"] {
        assert_eq!(refused(kv.range(with(&ann, get("k", range_end))).await), denied);
    }
    assert_eq!(refused(kv.put(with(&ann, put("k", "2"))).await), denied);
    kv.put(with(&root, put("k", "2"))).await.expect("he may");
    assert_eq!(refused(kv.range(with("no.1", get("k", ""))).await), strange);
    assert_eq!(watch(&channel, &ann, "k").await, None);
    assert_eq!(
        watch(&channel, &ann, "j").await.as_deref(),
        Some("rpc error: code = PermissionDenied desc = etcdserver: permission denied")
    );
    assert_eq!(
        watch(&channel, "", "k").await.as_deref(),
        Some("rpc error: code = InvalidArgument desc = etcdserver: user name is empty")
    );

    // Her tokens end with her password, his do not.
    let change = pb::AuthUserChangePasswordRequest {
        name: "ann".to_owned(),
        password: "new".to_owned(),
        ..Default::default()
    };
    auth.user_change_password(with(&root, change)).await.expect("he may");
    assert_eq!(refused(kv.range(with(&ann, get("k", ""))).await), strange);
    kv.range(with(&root, get("k", ""))).await.expect("his token stands");

    coordinator.kill();
    let _coordinator = Coordinator::start_at(data.path(), &listen);
    let channel = connect().await;
    let (mut auth, mut kv) = (AuthClient::new(channel.clone()), KvClient::new(channel));
    assert_eq!(refused(kv.range(get("k", "")).await), nobody, "it is still on");
    // As in etcd, entries that are applied again give their tokens again; but the change of her password comes after hers.
    assert_eq!(refused(kv.range(with(&ann, get("k", ""))).await), strange);
    let ann = token(&mut auth, "ann", "new").await.expect("her new password");
    kv.range(with(&ann, get("k", ""))).await.expect("she may");
}

/// Why a watch is not created; none if it is.
async fn watch(channel: &Channel, token: &str, key: &'static str) -> Option<String> {
    let create = pb::WatchCreateRequest {
        key: key.into(),
        ..Default::default()
    };
    let request = pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // The stream of requests must not end before the answer is there.
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(request), tokio_stream::pending());
    let answers = WatchClient::new(channel.clone()).watch(with(token, requests)).await;
    let answer = answers.expect("a stream").into_inner().message().await;
    let answer = answer.expect("no error").expect("an answer");
    assert!(answer.created);
    answer.canceled.then_some(answer.cancel_reason)
}

/// An authority and what it signs, in a directory.
struct Authority {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { directory, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Signs a certificate for `host` in the name of `name`.
    fn sign(&self, name: &str, host: &str) {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("written");
    }

    /// Someone who shows `name`'s certificate, or none.
    fn connector(&self, name: Option<&str>) -> Connector {
        let file = |end: &str| name.map_or_else(PathBuf::new, |name| self.path(&format!("{name}.{end}")));
        let options = Options {
            cert_file: file("pem"),
            key_file: file("key"),
            trusted_ca_file: Some(self.path("ca.pem")),
            protocols: vec!["h2"],
            ..Options::default()
        };
        Connector::new(options).expect("usable")
    }
}

/// Connects by TLS.
#[derive(Clone)]
struct Dial {
    address: SocketAddr,
    host: &'static str,
    connector: Connector,
}

impl Dial {
    async fn connect(self) -> io::Result<Connected<TcpStream>> {
        self.connector
            .connect(TcpStream::connect(self.address).await?, self.host)
            .await
    }

    async fn channel(self) -> Result<Channel, tonic::transport::Error> {
        Endpoint::from_static("http://coordinator")
            .connect_with_connector(self)
            .await
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Connected<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, io::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { dial.connect().await.map(TokioIo::new) })
    }
}

/// One that asks clients for certificates of this authority.
fn start(data: &Path, authority: &Authority) -> Coordinator {
    let file = |name: &str| authority.path(name).to_str().expect("a path").to_owned();
    let flags = [
        "--cert-file".to_owned(),
        file("server.pem"),
        "--key-file".to_owned(),
        file("server.key"),
        "--trusted-ca-file".to_owned(),
        file("ca.pem"),
        "--client-cert-auth".to_owned(),
    ];
    Coordinator::start_with(data, "https://127.0.0.1:0", &flags)
}

#[tokio::test]
async fn a_certificate_is_needed_and_says_who_asks() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("server", "localhost");
    authority.sign("ann", "client");
    authority.sign("bob", "client");
    stranger.sign("ann", "client");
    std::fs::copy(authority.path("ca.pem"), stranger.path("ca.pem")).expect("it trusts the server");
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = start(data.path(), &authority);
    let dial = |connector| Dial {
        address: coordinator.address,
        host: "localhost",
        connector,
    };
    let ask = async |connector, request| {
        let channel = dial(connector)
            .channel()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        KvClient::new(channel).range(request).await
    };
    let is_sent_away = |outcome: Result<_, Status>| outcome.is_err_and(|status| status.code() != Code::Ok);
    assert!(
        is_sent_away(ask(authority.connector(None), with("", get("k", ""))).await),
        "without a certificate"
    );
    assert!(
        is_sent_away(ask(stranger.connector(Some("ann")), with("", get("k", ""))).await),
        "of a stranger"
    );
    ask(authority.connector(Some("bob")), with("", get("k", "")))
        .await
        .expect("it is off so far");

    let channel = dial(authority.connector(Some("ann"))).channel().await.expect("signed");
    let mut auth = AuthClient::new(channel.clone());
    enable(&mut auth, true).await.expect("it is off so far");
    let mut kv = KvClient::new(channel);
    kv.range(get("k", "")).await.expect("ann may");
    let denied = (Code::PermissionDenied, "etcdserver: permission denied".to_owned());
    assert_eq!(refused(kv.put(put("k", "1")).await), denied);
    let root = token(&mut auth, "root", "root's").await.expect("his password");
    kv.put(with(&root, put("k", "1")))
        .await
        .expect("a token counts more than a certificate");
    let by_bob = ask(authority.connector(Some("bob")), with("", get("k", ""))).await;
    assert_eq!(refused(by_bob), denied, "bob is no user");
    let by_token = ask(authority.connector(Some("bob")), with(&root, get("k", ""))).await;
    assert_eq!(by_token.expect("root may").into_inner().count, 1);
}

/// What the flags of every program lead to: TLS with a certificate, a user, and a token that is renewed when it has ended.
#[tokio::test]
async fn our_own_client_comes_with_a_certificate_and_a_password_and_registers() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    authority.sign("bob", "client");
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = start(data.path(), &authority);
    let dial = Dial {
        address: coordinator.address,
        host: "localhost",
        connector: authority.connector(Some("bob")),
    };
    let mut auth = AuthClient::new(dial.channel().await.expect("signed"));
    let mut options = coordinator_client::Options {
        coordinator: Some(format!("https://localhost:{}", coordinator.address.port())),
        coordinator_cacert: Some(authority.path("ca.pem")),
        coordinator_cert: Some(authority.path("bob.pem")),
        coordinator_key: Some(authority.path("bob.key")),
        coordinator_user: Some("root:root's".to_owned()),
    };
    let client = options.client().expect("usable").expect("an endpoint");
    client.put("k", "1").await.expect("authentication is off so far");
    enable(&mut auth, false).await.expect("it is off so far");
    client.put("k", "2").await.expect("root may");

    let registration = Registration::new("test", "1", "this test").with_address("listen", "127.0.0.1:1");
    let claim = registry::claim(&client, &registration, &Id::Fixed("0".to_owned())).await;
    let claim = claim.expect("it is free");
    let other = Registration::new("test", "1", "another one");
    let taken = registry::claim(&client, &other, &Id::Fixed("0".to_owned())).await;
    assert!(matches!(taken, Err(ClaimError::Taken { .. })), "{taken:?}");
    let next = registry::claim(&client, &other, &Id::Next).await.expect("1 is free");
    assert_eq!(next.registration.id, "1");
    assert_eq!(registry::find(&client, "test").await.expect("read").len(), 2);
    let fenced = client.txn(vec![claim.fence()], Vec::new(), Vec::new()).await;
    assert!(fenced.expect("asked").succeeded);

    // A change of the users ends the token; the next call brings a new one.
    let root = token(&mut auth, "root", "root's").await.expect("the password");
    let user = pb::AuthUserAddRequest {
        name: "eve".to_owned(),
        password: "x".to_owned(),
        ..Default::default()
    };
    auth.user_add(with(&root, user)).await.expect("root may");
    client.put("k", "3").await.expect("with a new token");
    let fence = claim.fence();
    claim.release().await;
    let fenced = client.txn(vec![fence], Vec::new(), Vec::new()).await;
    assert!(!fenced.expect("asked").succeeded, "released");

    options.coordinator_user = Some("root:wrong".to_owned());
    let client = options.client().expect("usable").expect("an endpoint");
    let refused = client.put("k", "4").await.expect_err("the wrong password");
    assert_eq!(
        refused.to_string(),
        "etcdserver: authentication failed, invalid user ID or password"
    );
}

#[tokio::test]
async fn a_renewed_certificate_counts_for_new_connections_and_ends_no_old_one() {
    let authority = Authority::new();
    authority.sign("server", "before");
    authority.sign("ann", "client");
    let data = tempfile::tempdir().expect("a directory");
    let coordinator = start(data.path(), &authority);
    let dial = |host| Dial {
        address: coordinator.address,
        host,
        connector: authority.connector(Some("ann")),
    };
    let mut old = KvClient::new(dial("before").channel().await.expect("it serves"));
    old.put(put("k", "1")).await.expect("acknowledged");
    authority.sign("server", "after");
    let mut new = KvClient::new(dial("after").channel().await.expect("the new certificate"));
    assert_eq!(new.range(get("k", "")).await.expect("read").into_inner().count, 1);
    assert!(
        dial("before").channel().await.is_err(),
        "the old one is not shown any more"
    );
    old.put(put("k", "2")).await.expect("a connection that stands");
}

#[tokio::test]
async fn one_port_serves_with_tls_and_without() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    let data = tempfile::tempdir().expect("a directory");
    let address = host::free_port::address().expect("a port");
    let file = |name: &str| authority.path(name).to_str().expect("a path").to_owned();
    let flags = [
        "--cert-file".to_owned(),
        file("server.pem"),
        "--key-file".to_owned(),
        file("server.key"),
    ];
    let both = format!("http://{address},https://{address}");
    let coordinator = Coordinator::start_with(data.path(), &both, &flags);
    coordinator.client().await.put("k", "1").await.expect("without");
    let secure = Dial {
        address: coordinator.address,
        host: "localhost",
        connector: authority.connector(None),
    };
    let mut kv = KvClient::new(secure.channel().await.expect("with TLS"));
    assert_eq!(kv.range(get("k", "")).await.expect("read").into_inner().count, 1);
    // Anyone who says nothing keeps no one waiting.
    let _silent = std::net::TcpStream::connect(address).expect("accepted");
    coordinator.client().await.put("k", "2").await.expect("meanwhile");
}

/// Three members that trust each other's certificates; each is at once a place to show a token that another one gave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_member_is_good_at_all_and_members_speak_tls() {
    let authority = Authority::new();
    authority.sign("member", "127.0.0.1");
    let data = tempfile::tempdir().expect("a directory");
    let peers: Vec<String> = (0..3)
        .map(|_| format!("https://127.0.0.1:{}", crate::members::free_port()))
        .collect();
    let cluster: Vec<String> = peers.iter().enumerate().map(|(n, url)| format!("m{n}={url}")).collect();
    let start = |number: usize| {
        let file = |name: &str| authority.path(name).to_str().expect("a path").to_owned();
        let flags = [
            ("--name", format!("m{number}")),
            ("--initial-cluster", cluster.join(",")),
            ("--listen-peer-urls", peers[number].clone()),
            ("--initial-advertise-peer-urls", peers[number].clone()),
            ("--peer-cert-file", file("member.pem")),
            ("--peer-key-file", file("member.key")),
            ("--peer-trusted-ca-file", file("ca.pem")),
            ("--peer-client-cert-auth", "true".to_owned()),
        ];
        let flags: Vec<String> = flags.iter().map(|(flag, value)| format!("{flag}={value}")).collect();
        let data = data.path().join(format!("m{number}"));
        std::thread::spawn(move || Coordinator::start_with(&data, "http://127.0.0.1:0", &flags))
    };
    let starting: Vec<_> = (0..3).map(start).collect();
    let members: Vec<Coordinator> = starting.into_iter().map(|one| one.join().expect("it starts")).collect();
    let mut channels = Vec::new();
    for member in &members {
        let endpoint = Endpoint::from_shared(member.listen_url()).expect("a URL");
        channels.push(endpoint.connect().await.expect("it serves"));
    }
    enable(&mut AuthClient::new(channels[0].clone()), false)
        .await
        .expect("it is off so far");
    for (giver, channel) in channels.iter().enumerate() {
        let root = token(&mut AuthClient::new(channel.clone()), "root", "root's")
            .await
            .expect("his password");
        for (taker, other) in channels.iter().enumerate() {
            let mut kv = KvClient::new(other.clone());
            kv.put(with(&root, put("k", "1")))
                .await
                .unwrap_or_else(|why| panic!("{giver} to {taker}: {why}"));
            assert_eq!(
                refused(kv.range(get("k", "")).await).1,
                "etcdserver: user name is empty"
            );
        }
    }

    // It outlives a change of leader, too.
    let root = token(&mut AuthClient::new(channels[0].clone()), "root", "root's")
        .await
        .expect("his password");
    let status = MaintenanceClient::new(channels[0].clone())
        .status(with(&root, pb::StatusRequest {}))
        .await;
    let leader = status.expect("answered").into_inner().leader;
    let mut left = Vec::new();
    for (member, channel) in members.into_iter().zip(channels) {
        let status = MaintenanceClient::new(channel.clone())
            .status(with(&root, pb::StatusRequest {}))
            .await;
        let header = status.expect("answered").into_inner().header;
        match header.expect("a header").member_id == leader {
            true => member.kill(),
            false => left.push((member, channel)),
        }
    }
    for (_member, channel) in &left {
        let mut kv = KvClient::new(channel.clone());
        let deadline = std::time::Instant::now() + DEADLINE;
        // What the leader had taken over from this one may be lost with it.
        while let Err(why) = kv.put(with(&root, put("k", "2"))).await {
            assert_ne!(why.code(), Code::Unauthenticated, "{why}");
            assert!(std::time::Instant::now() < deadline, "{why}");
        }
    }
}
