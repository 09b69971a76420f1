//! Both sides against each other, over a pipe in memory, with an authority made for the test.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// An authority and a directory for what it signs.
struct World {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        let world = Self { directory, issuer };
        world.write("ca.pem", world.issuer.pem());
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("written");
    }

    /// Signs a certificate of this common name, good for these hosts, into `name.pem` and `name.key`.
    fn sign(&self, name: &str, common_name: &str, hosts: &[&str], serial: u64) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("hosts");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        self.write(&format!("{name}.key"), key.serialize_pem());
        self.write(&format!("{name}.pem"), certificate.pem());
    }

    fn revocations(&self, serials: &[u64]) -> rcgen::CertificateRevocationList {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("signed")
    }

    /// Shows `name`, and trusts the authority.
    fn options(&self, name: &str) -> Options {
        Options {
            cert_file: self.path(&format!("{name}.pem")),
            key_file: self.path(&format!("{name}.key")),
            trusted_ca_file: Some(self.path("ca.pem")),
            protocols: vec!["h2", "http/1.1"],
            ..Options::default()
        }
    }
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Whether one byte gets from one side to the other, and the client's name as the server sees it. An error is the
/// server's.
async fn talk(acceptor: &Acceptor, connector: &Connector, host: &str) -> Result<Option<String>, String> {
    let (one, other) = tokio::io::duplex(16 << 10);
    let serve = async {
        let mut accepted = acceptor.accept(one, Some(HERE)).await.map_err(|e| e.to_string())?;
        accepted.stream.write_all(b"x").await.map_err(|e| e.to_string())?;
        accepted.stream.flush().await.map_err(|e| e.to_string())?;
        Ok(accepted.common_name)
    };
    let ask = async {
        let mut stream = connector.connect(other, host).await.map_err(|e| e.to_string())?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.map_err(|e| e.to_string())?;
        Ok::<_, String>(())
    };
    let (served, asked): (Result<_, String>, _) = tokio::join!(serve, ask);
    let name = served?;
    asked.map(|()| name)
}

fn both(server: Options, client: Options) -> (Acceptor, Connector) {
    (
        Acceptor::new(server).expect("usable"),
        Connector::new(client).expect("usable"),
    )
}

#[tokio::test]
async fn both_sides_show_who_they_are() {
    let world = World::new();
    world.sign("server", "", &["localhost", "127.0.0.1"], 1);
    world.sign("ann", "ann", &[], 2);
    let (acceptor, connector) = both(world.options("server"), world.options("ann"));
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(talk(&acceptor, &connector, host).await, Ok(Some("ann".to_owned())));
    }
    let elsewhere = talk(&acceptor, &connector, "example.org").await;
    assert!(elsewhere.is_err(), "the certificate is for other hosts");
}

#[tokio::test]
async fn whoever_is_not_signed_by_the_authority_is_sent_away() {
    let (world, other) = (World::new(), World::new());
    world.sign("server", "", &["localhost"], 1);
    other.sign("eve", "ann", &[], 2);
    let trusting_us = Options {
        trusted_ca_file: Some(world.path("ca.pem")),
        ..other.options("eve")
    };
    let (acceptor, connector) = both(world.options("server"), trusting_us);
    let refused = talk(&acceptor, &connector, "localhost").await.expect_err("a stranger");
    assert!(
        refused.contains("UnknownIssuer") || refused.contains("certificate"),
        "{refused}"
    );
    let nobody = Options {
        cert_file: PathBuf::new(),
        key_file: PathBuf::new(),
        ..world.options("server")
    };
    let (acceptor, connector) = both(world.options("server"), nobody.clone());
    assert!(
        talk(&acceptor, &connector, "localhost").await.is_err(),
        "it showed nothing"
    );
    // An acceptor without authorities requests no certificate.
    let open = Options {
        trusted_ca_file: None,
        ..world.options("server")
    };
    let (acceptor, connector) = both(open, nobody);
    assert_eq!(talk(&acceptor, &connector, "localhost").await, Ok(None));
    let distrusting = Connector::new(other.options("eve")).expect("usable");
    assert!(
        talk(&acceptor, &distrusting, "localhost").await.is_err(),
        "the server is a stranger"
    );
    let careless = Options {
        trust_anybody: true,
        ..other.options("eve")
    };
    let careless = Connector::new(careless).expect("usable");
    assert_eq!(talk(&acceptor, &careless, "localhost").await, Ok(None));
}

/// One certificate is the authority, the server's and the client's: it signed itself and may sign others.
#[tokio::test]
async fn a_certificate_that_is_trusted_itself_may_be_shown() {
    let world = World::new();
    let sign_itself = |name: &str, last_year: i32, uses: Vec<ExtendedKeyUsagePurpose>| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("hosts");
        params.distinguished_name.push(DnType::CommonName, "root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages = uses;
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        world.write(&format!("{name}.key"), key.serialize_pem());
        world.write(&format!("{name}.pem"), certificate.pem());
        Options {
            trusted_ca_file: Some(world.path(&format!("{name}.pem"))),
            ..world.options(name)
        }
    };
    let own = sign_itself("own", 2124, Vec::new());
    let (acceptor, connector) = both(own.clone(), own.clone());
    assert_eq!(
        talk(&acceptor, &connector, "localhost").await,
        Ok(Some("root".to_owned()))
    );
    assert!(
        talk(&acceptor, &connector, "example.org").await.is_err(),
        "good for localhost only"
    );
    let over = sign_itself("over", 2024, Vec::new());
    let servers_only = sign_itself("server", 2124, vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let other = sign_itself("other", 2124, Vec::new());
    for (what, shown, trusted) in [
        ("expired", &over, &over),
        ("for servers", &servers_only, &servers_only),
        ("another", &other, &own),
    ] {
        let acceptor = Acceptor::new(Options {
            trusted_ca_file: trusted.trusted_ca_file.clone(),
            ..own.clone()
        });
        let connector = Connector::new(Options {
            trusted_ca_file: own.trusted_ca_file.clone(),
            ..shown.clone()
        });
        let (acceptor, connector) = (acceptor.expect("usable"), connector.expect("usable"));
        assert!(talk(&acceptor, &connector, "localhost").await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn the_revoked_and_those_of_other_names_are_sent_away() {
    let world = World::new();
    world.sign("server", "", &["localhost"], 1);
    world.sign("ann", "ann", &["ann.example.org"], 200);
    world.sign("bob", "bob", &["*.bob.example.org"], 300);
    let list = world.revocations(&[200, 400]);
    world.write("crl.der", list.der());
    world.write("crl.pem", list.pem().expect("text"));
    let names = async |options: Options| {
        let acceptor = Acceptor::new(options).expect("usable");
        let mut names = Vec::new();
        for client in ["ann", "bob"] {
            let connector = Connector::new(world.options(client)).expect("usable");
            names.extend(talk(&acceptor, &connector, "localhost").await.ok().flatten());
        }
        names
    };
    let server = || world.options("server");
    assert_eq!(names(server()).await, ["ann", "bob"]);
    for list in ["crl.der", "crl.pem"] {
        let crl_file = Some(world.path(list));
        assert_eq!(names(Options { crl_file, ..server() }).await, ["bob"], "{list}");
    }
    let allowed_common_names = vec!["eve".to_owned(), "ann".to_owned()];
    let named = Options {
        allowed_common_names,
        ..server()
    };
    assert_eq!(names(named).await, ["ann"]);
    let allowed_hostnames = vec!["eve.example.org".to_owned(), "x.bob.example.org".to_owned()];
    let hosts = Options {
        allowed_hostnames,
        ..server()
    };
    assert_eq!(names(hosts).await, ["bob"]);
}

#[tokio::test]
async fn members_come_from_where_their_certificates_say() {
    let world = World::new();
    world.sign("server", "", &["localhost"], 1);
    let checking = Options {
        check_address: true,
        ..world.options("server")
    };
    let acceptor = Acceptor::new(checking).expect("usable");
    for (hosts, expected) in [
        (&[][..], true),
        (&["127.0.0.1"], true),
        (&["10.0.0.1", "127.0.0.1"], true),
        (&["localhost"], true),
        (&["10.0.0.1"], false),
        (&["no-such-host.invalid"], false),
    ] {
        world.sign("member", "member", hosts, 2);
        let connector = Connector::new(world.options("member")).expect("usable");
        assert_eq!(
            talk(&acceptor, &connector, "localhost").await.is_ok(),
            expected,
            "{hosts:?}"
        );
    }
}

#[tokio::test]
async fn changed_files_count_from_the_next_connection_on_and_wrong_ones_do_not() {
    let world = World::new();
    world.sign("server", "", &["first"], 1);
    world.sign("ann", "ann", &[], 2);
    world.write("crl.der", world.revocations(&[9]).der());
    let server = Options {
        crl_file: Some(world.path("crl.der")),
        ..world.options("server")
    };
    let (acceptor, connector) = both(server, world.options("ann"));
    assert!(talk(&acceptor, &connector, "first").await.is_ok());
    world.sign("server", "", &["second"], 3);
    assert!(talk(&acceptor, &connector, "second").await.is_ok(), "it was read again");
    assert!(talk(&acceptor, &connector, "first").await.is_err());
    let key = std::fs::read(world.path("server.key")).expect("readable");
    world.write("server.key", "half a k");
    assert!(
        talk(&acceptor, &connector, "second").await.is_ok(),
        "what there was goes on"
    );
    world.sign("other", "", &["third"], 4);
    std::fs::copy(world.path("other.key"), world.path("server.key")).expect("copied");
    assert!(
        talk(&acceptor, &connector, "second").await.is_ok(),
        "another key fits no certificate"
    );
    world.write("server.key", key);
    assert!(talk(&acceptor, &connector, "second").await.is_ok());
    world.write("crl.der", world.revocations(&[2]).der());
    assert!(
        talk(&acceptor, &connector, "second").await.is_err(),
        "ann is revoked now"
    );
    world.sign("ann", "ann", &[], 5);
    assert!(
        talk(&acceptor, &connector, "second").await.is_ok(),
        "she has a new certificate"
    );
}

#[tokio::test]
async fn versions_and_ciphers_are_those_that_were_named() {
    let world = World::new();
    world.sign("server", "", &["localhost"], 1);
    let options = |min, max, suites: &[&str]| Options {
        min_version: min,
        max_version: max,
        cipher_suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
        ..world.options("server")
    };
    let aes = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let chacha = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305";
    let (old, new) = (Version::Tls12, Version::Tls13);
    for (server, client, expected) in [
        (options(old, None, &[]), options(old, None, &[]), true),
        (options(new, None, &[]), options(old, Some(old), &[]), false),
        (options(old, Some(old), &[]), options(new, None, &[]), false),
        (
            options(old, None, &[aes]),
            options(old, Some(old), &[aes, chacha]),
            true,
        ),
        (options(old, None, &[aes]), options(old, Some(old), &[chacha]), false),
        (options(old, None, &[aes]), options(new, None, &[]), true),
    ] {
        let (acceptor, connector) = both(server, client);
        assert_eq!(talk(&acceptor, &connector, "localhost").await.is_ok(), expected);
    }
    for (wrong, named) in [
        (
            options(old, None, &["TLS_RSA_WITH_RC4_128_SHA"]),
            "TLS_RSA_WITH_RC4_128_SHA",
        ),
        (options(new, None, &[aes]), "TLS1.3"),
        (options(new, Some(old), &[]), "version"),
    ] {
        let refusal = Acceptor::new(wrong).expect_err(named).to_string();
        assert!(refusal.contains(named), "{refusal}");
    }
    assert!("TLS1.1".parse::<Version>().is_err());
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let world = World::new();
    world.sign("server", "", &["localhost"], 1);
    world.sign("other", "", &["localhost"], 2);
    world.write("empty", "");
    let server = || world.options("server");
    let path = |name: &str| world.path(name);
    for (options, named) in [
        (
            Options {
                cert_file: path("none"),
                ..server()
            },
            "none",
        ),
        (
            Options {
                cert_file: path("empty"),
                ..server()
            },
            "empty",
        ),
        (
            Options {
                key_file: path("empty"),
                ..server()
            },
            "empty",
        ),
        (
            Options {
                key_file: path("other.key"),
                ..server()
            },
            "other.key",
        ),
        (
            Options {
                trusted_ca_file: Some(path("empty")),
                ..server()
            },
            "empty",
        ),
        (
            Options {
                crl_file: Some(path("empty")),
                ..server()
            },
            "empty",
        ),
    ] {
        let refusal = Acceptor::new(options).expect_err(named).to_string();
        assert!(refusal.contains(named), "{refusal}");
    }
    let trusting_nobody = Options {
        trusted_ca_file: None,
        ..server()
    };
    assert!(matches!(Connector::new(trusting_nobody), Err(TlsError::NobodyTrusted)));
}

#[tokio::test]
async fn a_server_can_sign_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let make = |directory: &Path| self_signed(directory, &hosts, 1, std::time::SystemTime::now()).expect("made");
    let made = make(&directory.path().join("fixtures"));
    let content = std::fs::read(&made.cert_file).expect("readable");
    make(&directory.path().join("fixtures"));
    assert_eq!(std::fs::read(&made.cert_file).expect("readable"), content, "it is kept");
    let options = Options {
        cert_file: made.cert_file.clone(),
        key_file: made.key_file,
        ..Options::default()
    };
    let client = Options {
        cert_file: PathBuf::new(),
        key_file: PathBuf::new(),
        trusted_ca_file: Some(made.cert_file),
        ..Options::default()
    };
    let (acceptor, connector) = both(options, client);
    assert_eq!(talk(&acceptor, &connector, "127.0.0.1").await, Ok(None));
}

#[tokio::test]
async fn noise_is_no_handshake() {
    let world = World::new();
    world.sign("server", "", &["localhost"], 1);
    let acceptor = Acceptor::new(world.options("server")).expect("usable");
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 200], b"\x16\x03\x01\xff\xff"] {
        let (one, mut other) = tokio::io::duplex(1 << 10);
        other.write_all(noise).await.expect("room");
        other.shutdown().await.expect("said all");
        assert!(acceptor.accept(one, None).await.is_err());
    }
}
