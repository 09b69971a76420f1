//! Who may be a member, by certificate: names that are allowed, and a list of what is revoked.

use std::path::PathBuf;

use coordinator_client::Client;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};

use crate::members::{Member, eventually_local, initial};

/// An authority that signs for members, and takes back what it signed.
struct Authority {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { directory, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Signs a certificate of this machine's into `file.pem`.
    fn sign(&self, file: &str, common_name: &str, serial: u64) {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a host");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).expect("written");
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).expect("written");
    }

    fn revoke(&self, serial: u64) {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("signed");
        std::fs::write(self.path("crl.der"), list.der()).expect("written");
    }

    /// A member's flags, with the certificate in `file.pem`.
    fn flags(&self, file: &str) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        vec![
            format!("--peer-cert-file={}", path(&format!("{file}.pem"))),
            format!("--peer-key-file={}", path(&format!("{file}.key"))),
            format!("--peer-trusted-ca-file={}", path("ca.pem")),
            format!("--peer-crl-file={}", path("crl.der")),
            "--peer-client-cert-auth".to_owned(),
            "--peer-cert-allowed-cn=member".to_owned(),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_another_name_or_a_revoked_certificate_is_refused_with_the_reason() {
    let authority = Authority::new();
    for (file, common_name, serial) in [
        ("good", "member", 1),
        ("stranger", "stranger", 2),
        ("revoked", "member", 3),
    ] {
        authority.sign(file, common_name, serial);
    }
    authority.revoke(3);
    let directory = tempfile::tempdir().expect("a directory");
    let mut members: Vec<Member> = (0..3)
        .map(|n| Member::new(directory.path(), &format!("m{n}")))
        .collect();
    for member in &mut members {
        member.scheme = "https";
    }
    let initial = initial(&members);
    let spawn = |member: &mut Member, file: &str| {
        let flags = authority.flags(file);
        member.spawn(&initial, "new", &flags.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let (good, other) = members.split_at_mut(2);
    for member in &mut *good {
        spawn(member, "good");
    }
    for member in &mut *good {
        member.until_ready();
    }
    let client = Client::connect(&good[0].endpoint()).await.expect("it serves");
    let other = &mut other[0];
    for (file, reason, alert) in [
        ("stranger", "its common name is not allowed", "bad certificate"),
        ("revoked", "invalid peer certificate: Revoked", "revoked certificate"),
    ] {
        let logged = good[0].log().len();
        spawn(other, file);
        for line in ["rejected connection on peer endpoint", "cannot reach a member", reason] {
            good[0].until_logged(logged, line).await;
        }
        other.until_logged(0, &format!("remote error: tls: {alert}")).await;
        client.put(file, "agreed without it").await.expect("two of three agree");
        let status = other.status().await;
        assert!(status.is_none_or(|status| status.leader == 0), "{file} takes part");
        other.kill();
    }
    spawn(other, "good");
    other.until_ready();
    eventually_local(other, "revoked").await;
}
