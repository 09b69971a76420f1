use std::path::Path;

use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};

use super::*;

/// Made for these tests, by `openssl genrsa 2048` and `openssl ecparam -name prime256v1 -genkey -noout`.
const KEYS: &str = "tests/keys";

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|l| std::str::from_utf8(l).expect("ASCII"))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn written(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = directory.join(name);
    std::fs::write(&path, content).expect("written");
    path.to_str().expect("a path").to_owned()
}

fn with_private(method: &str, file: &str) -> Jwt {
    load(&[("sign-method", method), ("priv-key", file), ("ttl", "60s")]).expect(method)
}

/// One signer of each family, and two of one.
fn signers(directory: &Path) -> Vec<Jwt> {
    let random = SystemRandom::new();
    let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let p384 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).expect("a key");
    let ed = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
    let p256 = written(directory, "p256.pem", pem("PRIVATE KEY", p256.as_ref()));
    let p384 = written(directory, "p384.pem", pem("PRIVATE KEY", p384.as_ref()));
    let ed = written(directory, "ed.pem", pem("PRIVATE KEY", ed.as_ref()));
    let secret = written(directory, "secret", "not much of a secret");
    let (rsa, sec1) = (format!("{KEYS}/rsa.pem"), format!("{KEYS}/p256-sec1.pem"));
    vec![
        with_private("HS256", &secret),
        with_private("HS512", &secret),
        with_private("RS256", &rsa),
        with_private("PS384", &rsa),
        with_private("ES256", &p256),
        with_private("ES256", &sec1),
        with_private("ES384", &p384),
        with_private("EdDSA", &ed),
    ]
}

#[test]
fn what_is_signed_is_believed_until_its_time_is_over_and_by_nobody_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let signers = signers(directory.path());
    for (number, signer) in signers.iter().enumerate() {
        let token = signer.sign("ann", 7, at(1000)).expect("it has a private key");
        let claims = Claims {
            user: "ann".to_owned(),
            revision: 7,
        };
        assert_eq!(signer.verify(&token, at(1059)), Ok(claims), "{signer:?}");
        assert_eq!(signer.verify(&token, at(1060)), Err("its time is over"), "{signer:?}");
        for (other, stranger) in signers.iter().enumerate() {
            assert_eq!(
                stranger.verify(&token, at(1000)).is_ok(),
                other == number,
                "{stranger:?}"
            );
        }
        for at_byte in [0, token.len() / 2, token.len() - 3] {
            let mut bytes = token.clone().into_bytes();
            bytes[at_byte] = if bytes[at_byte] == b'A' { b'B' } else { b'A' };
            let broken = String::from_utf8(bytes).expect("ASCII");
            assert!(
                signer.verify(&broken, at(1000)).is_err(),
                "{signer:?}: {at_byte} changed"
            );
        }
    }
}

#[test]
fn a_public_key_believes_and_does_not_sign() {
    let private = format!("{KEYS}/rsa.pem");
    let signer = with_private("RS256", &private);
    let token = signer.sign("ann", 7, at(1000)).expect("it has a private key");
    for public in ["rsa.pub.pem", "rsa.crt.pem"] {
        let public = format!("{KEYS}/{public}");
        let reader = load(&[("sign-method", "RS256"), ("pub-key", &public)]).expect("it is enough");
        assert!(reader.verify(&token, at(1000)).is_ok(), "{public}");
        assert_eq!(reader.sign("ann", 7, at(1000)), Err(Error::VerifyOnly));
        assert!(load(&[("sign-method", "RS256"), ("pub-key", &public), ("priv-key", &private)]).is_ok());
    }
    let strange = load(&[
        ("sign-method", "ES256"),
        ("pub-key", &format!("{KEYS}/rsa.pub.pem")),
        ("priv-key", &format!("{KEYS}/p256-sec1.pem")),
    ]);
    assert!(strange.is_err_and(|why| why.contains("don't match")));
}

/// With the secret known, so that only the claims are at fault.
#[test]
fn what_is_not_a_whole_token_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let signer = with_private("HS256", &written(directory.path(), "secret", "s"));
    let token = |header: Value, claims: Value| {
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = signer.keys.sign(signed.as_bytes()).expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let header = || json!({ "alg": "HS256" });
    let good = token(header(), json!({ "username": "ann", "revision": 3.0 }));
    assert_eq!(
        signer.verify(&good, at(5)).map(|claims| claims.revision),
        Ok(3),
        "without an end it has none"
    );
    for wrong in [
        token(json!({ "alg": "none" }), json!({ "username": "ann", "revision": 3 })),
        token(json!({}), json!({ "username": "ann", "revision": 3 })),
        token(header(), json!({ "revision": 3 })),
        token(header(), json!({ "username": 1, "revision": 3 })),
        token(header(), json!({ "username": "ann" })),
        token(header(), json!({ "username": "root", "revision": 0 })),
        token(header(), json!({ "username": "root", "revision": -1 })),
        token(header(), json!({ "username": "ann", "revision": 3, "exp": "9999" })),
        token(header(), json!({ "username": "ann", "revision": 3, "nbf": 6 })),
        token(header(), json!(["ann"])),
        good.trim_end_matches(|c| c != '.').to_owned(),
        String::new(),
        "a.b.c".to_owned(),
        "...".to_owned(),
        "a".repeat(TOKEN_BYTES_MAX + 1),
    ] {
        assert!(signer.verify(&wrong, at(5)).is_err(), "{wrong}");
    }
}
