//! Signed tokens: JSON Web Tokens (RFC 7519) in the compact form of RFC 7515, with the claims that etcd puts in:
//! `username`, `revision` of users and roles, and `exp`. No member remembers them; they end with their time, or with the next
//! change of users and roles, whose revision is then higher.
//!
//! The form is two JSON objects and a signature in base64, so it is here; the signatures are `ring`'s, which TLS brings
//! anyway. Not here: ES512, for which `ring` has no curve.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding,
    RsaKeyPair, RsaParameters, UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{hmac, rsa};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde_json::{Value, json};
use x509_cert::der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::Error;
use crate::server::settings::values::duration;

const TTL_DEFAULT: Duration = Duration::from_secs(300);
/// A token of etcd's claims has a few hundred bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) user: String,
    pub(super) revision: u64,
}

/// What both directions of an algorithm need.
enum Keys {
    Secret(hmac::Key),
    Rsa {
        pair: Option<RsaKeyPair>,
        public: Vec<u8>,
        signing: &'static dyn RsaEncoding,
        verifying: &'static RsaParameters,
    },
    Ecdsa {
        pair: Option<EcdsaKeyPair>,
        public: Vec<u8>,
        verifying: &'static EcdsaVerificationAlgorithm,
    },
    Ed25519 {
        pair: Option<Ed25519KeyPair>,
        public: Vec<u8>,
    },
}

/// Makes and believes signed tokens.
#[derive(Clone)]
pub(in crate::server) struct Jwt {
    algorithm: &'static str,
    keys: Arc<Keys>,
    ttl: Duration,
}

impl fmt::Debug for Jwt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Jwt")
            .field("algorithm", &self.algorithm)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

impl Jwt {
    /// # Errors
    /// [`Error::VerifyOnly`] where there is only a public key.
    pub(super) fn sign(&self, user: &str, revision: u64, now: SystemTime) -> Result<String, Error> {
        let expiry = seconds(now).saturating_add(self.ttl.as_secs());
        let header = json!({ "alg": self.algorithm, "typ": "JWT" }).to_string();
        let claims = json!({ "exp": expiry, "revision": revision, "username": user }).to_string();
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.keys.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    /// `Err` says why not, for the log.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, &'static str> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it has no three parts")?;
        let (header, claims) = signed.split_once('.').ok_or("it has no three parts")?;
        // Looked at before the signature: a token must not choose how it is checked.
        if decode(header)?.get("alg").and_then(Value::as_str) != Some(self.algorithm) {
            return Err("it is signed by another method");
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| "its signature is no base64")?;
        self.keys.verify(signed.as_bytes(), &signature)?;
        let claims = decode(claims)?;
        let now = seconds(now) as f64;
        let time = |name: &str| match claims.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or("a time in it is no number"),
        };
        if time("exp")?.is_some_and(|expiry| now >= expiry) {
            return Err("its time is over");
        }
        if time("nbf")?.is_some_and(|from| now < from) {
            return Err("its time has not come");
        }
        let user = claims
            .get("username")
            .and_then(Value::as_str)
            .ok_or("it names no user")?;
        // Revision 0 is no one's; as a claim it would be someone at no time at all.
        let revision = claims.get("revision").and_then(Value::as_f64).filter(|r| *r >= 1.0);
        Ok(Claims {
            user: user.to_owned(),
            revision: revision.ok_or("it names no revision")? as u64,
        })
    }
}

fn decode(part: &str) -> Result<Value, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part of it is no base64")?;
    serde_json::from_slice(&bytes).map_err(|_| "a part of it is no JSON")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Keys {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        // Signing fails only where the system has no randomness.
        Ok(match self {
            Self::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            Self::Rsa { pair, signing, .. } => {
                let pair = pair.as_ref().ok_or(Error::VerifyOnly)?;
                let mut signature = vec![0; pair.public().modulus_len()];
                let signed = pair.sign(*signing, &random, message, &mut signature);
                signed.map_err(|_| Error::Stopped)?;
                signature
            }
            Self::Ecdsa { pair, .. } => {
                let pair = pair.as_ref().ok_or(Error::VerifyOnly)?;
                let signed = pair.sign(&random, message).map_err(|_| Error::Stopped)?;
                signed.as_ref().to_vec()
            }
            Self::Ed25519 { pair, .. } => {
                let pair = pair.as_ref().ok_or(Error::VerifyOnly)?;
                pair.sign(message).as_ref().to_vec()
            }
        })
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), &'static str> {
        let by = |algorithm: &'static dyn VerificationAlgorithm, public: &[u8]| {
            UnparsedPublicKey::new(algorithm, public).verify(message, signature)
        };
        let verified = match self {
            Self::Secret(key) => hmac::verify(key, message, signature),
            Self::Rsa { public, verifying, .. } => by(*verifying, public),
            Self::Ecdsa { public, verifying, .. } => by(*verifying, public),
            Self::Ed25519 { public, .. } => by(&signature::ED25519, public),
        };
        verified.map_err(|_| "its signature is wrong")
    }
}

/// Reads the keys that the options name.
pub(super) fn load(options: &[(&str, &str)]) -> Result<Jwt, String> {
    let option = |name: &str| {
        let given = options.iter().find(|(given, _)| *given == name);
        given.map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    let ttl = option("ttl").map_or(Ok(TTL_DEFAULT), duration)?;
    let method = option("sign-method").ok_or("sign-method is missing: RS256, ES256, HS256, …")?;
    let read = |name: &str| -> Result<Option<Vec<u8>>, String> {
        let Some(file) = option(name) else { return Ok(None) };
        let content = std::fs::read(file).map_err(|error| format!("cannot read {name} {file}: {error}"))?;
        Ok(Some(content))
    };
    let (private, public) = (read("priv-key")?, read("pub-key")?);
    let (algorithm, keys) = keys_for(method, private.as_deref(), public.as_deref())?;
    Ok(Jwt {
        algorithm,
        keys: Arc::new(keys),
        ttl,
    })
}

type Found = (&'static str, Keys);

fn keys_for(method: &str, private: Option<&[u8]>, public: Option<&[u8]>) -> Result<Found, String> {
    use signature as s;
    let secret = |name, algorithm| {
        let secret = private.filter(|secret| !secret.is_empty());
        let secret = secret.ok_or("priv-key is missing or empty: it is the secret")?;
        Ok((name, Keys::Secret(hmac::Key::new(algorithm, secret))))
    };
    match method {
        "HS256" => secret("HS256", hmac::HMAC_SHA256),
        "HS384" => secret("HS384", hmac::HMAC_SHA384),
        "HS512" => secret("HS512", hmac::HMAC_SHA512),
        "RS256" => rsa_keys(
            "RS256",
            private,
            public,
            &s::RSA_PKCS1_SHA256,
            &s::RSA_PKCS1_2048_8192_SHA256,
        ),
        "RS384" => rsa_keys(
            "RS384",
            private,
            public,
            &s::RSA_PKCS1_SHA384,
            &s::RSA_PKCS1_2048_8192_SHA384,
        ),
        "RS512" => rsa_keys(
            "RS512",
            private,
            public,
            &s::RSA_PKCS1_SHA512,
            &s::RSA_PKCS1_2048_8192_SHA512,
        ),
        "PS256" => rsa_keys(
            "PS256",
            private,
            public,
            &s::RSA_PSS_SHA256,
            &s::RSA_PSS_2048_8192_SHA256,
        ),
        "PS384" => rsa_keys(
            "PS384",
            private,
            public,
            &s::RSA_PSS_SHA384,
            &s::RSA_PSS_2048_8192_SHA384,
        ),
        "PS512" => rsa_keys(
            "PS512",
            private,
            public,
            &s::RSA_PSS_SHA512,
            &s::RSA_PSS_2048_8192_SHA512,
        ),
        "ES256" => {
            let algorithms = (&s::ECDSA_P256_SHA256_FIXED_SIGNING, &s::ECDSA_P256_SHA256_FIXED);
            ecdsa_keys("ES256", private, public, algorithms, &P256)
        }
        "ES384" => {
            let algorithms = (&s::ECDSA_P384_SHA384_FIXED_SIGNING, &s::ECDSA_P384_SHA384_FIXED);
            ecdsa_keys("ES384", private, public, algorithms, &P384)
        }
        "EdDSA" => ed25519_keys(private, public),
        _ => Err(format!(
            "sign-method={method}: it is one of HS256, RS256, PS256, ES256 (also with 384, and but for ES with 512), EdDSA"
        )),
    }
}

const UNREADABLE_PRIVATE: &str = "priv-key is not a PEM file with a private key of this method";
const UNREADABLE_PUBLIC: &str = "pub-key is not a PEM file with a public key or a certificate";

fn rsa_keys(
    name: &'static str,
    private: Option<&[u8]>,
    public: Option<&[u8]>,
    signing: &'static dyn RsaEncoding,
    verifying: &'static RsaParameters,
) -> Result<Found, String> {
    let pair = match private.map(private_key).transpose()? {
        None => None,
        Some(PrivateKeyDer::Pkcs1(key)) => Some(RsaKeyPair::from_der(key.secret_pkcs1_der())),
        Some(PrivateKeyDer::Pkcs8(key)) => Some(RsaKeyPair::from_pkcs8(key.secret_pkcs8_der())),
        Some(_) => return Err(UNREADABLE_PRIVATE.to_owned()),
    };
    let pair = pair.transpose().map_err(|why| format!("{UNREADABLE_PRIVATE}: {why}"))?;
    let own = pair.as_ref().map(|pair: &RsaKeyPair| {
        let public: &rsa::PublicKey = pair.public();
        public.as_ref().to_vec()
    });
    let public = one_public(own, public)?;
    Ok((
        name,
        Keys::Rsa {
            pair,
            public,
            signing,
            verifying,
        },
    ))
}

fn ecdsa_keys(
    name: &'static str,
    private: Option<&[u8]>,
    public: Option<&[u8]>,
    (signing, verifying): (&'static EcdsaSigningAlgorithm, &'static EcdsaVerificationAlgorithm),
    curve: &[u8],
) -> Result<Found, String> {
    let pkcs8 = match private.map(private_key).transpose()? {
        None => None,
        Some(PrivateKeyDer::Pkcs8(key)) => Some(key.secret_pkcs8_der().to_vec()),
        Some(PrivateKeyDer::Sec1(key)) => Some(sec1_as_pkcs8(key.secret_sec1_der(), curve)),
        Some(_) => return Err(UNREADABLE_PRIVATE.to_owned()),
    };
    let random = SystemRandom::new();
    let pair = pkcs8.map(|pkcs8| EcdsaKeyPair::from_pkcs8(signing, &pkcs8, &random));
    let pair = pair.transpose().map_err(|why| format!("{UNREADABLE_PRIVATE}: {why}"))?;
    let own = pair.as_ref().map(|pair| pair.public_key().as_ref().to_vec());
    let public = one_public(own, public)?;
    Ok((
        name,
        Keys::Ecdsa {
            pair,
            public,
            verifying,
        },
    ))
}

fn ed25519_keys(private: Option<&[u8]>, public: Option<&[u8]>) -> Result<Found, String> {
    let pair = match private.map(private_key).transpose()? {
        None => None,
        Some(PrivateKeyDer::Pkcs8(key)) => Some(Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der())),
        Some(_) => return Err(UNREADABLE_PRIVATE.to_owned()),
    };
    let pair = pair.transpose().map_err(|why| format!("{UNREADABLE_PRIVATE}: {why}"))?;
    let own = pair.as_ref().map(|pair| pair.public_key().as_ref().to_vec());
    let public = one_public(own, public)?;
    Ok(("EdDSA", Keys::Ed25519 { pair, public }))
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|why| format!("{UNREADABLE_PRIVATE}: {why}"))
}

/// The public key of the pair, or that of the file; where there are both they must be the same.
fn one_public(own: Option<Vec<u8>>, pem: Option<&[u8]>) -> Result<Vec<u8>, String> {
    match (own, pem.map(public_key).transpose()?) {
        (Some(own), Some(given)) if own != given => Err("public and private keys don't match".to_owned()),
        (Some(own), _) => Ok(own),
        (None, Some(given)) => Ok(given),
        (None, None) => Err("priv-key is missing, or pub-key to believe tokens only".to_owned()),
    }
}

/// The bits of a public key, out of its envelope or a certificate.
fn public_key(pem: &[u8]) -> Result<Vec<u8>, String> {
    let unreadable = |_| UNREADABLE_PUBLIC.to_owned();
    if let Ok(key) = SubjectPublicKeyInfoDer::from_pem_slice(pem) {
        let info = SubjectPublicKeyInfoRef::from_der(&key).map_err(unreadable)?;
        return Ok(info.subject_public_key.raw_bytes().to_vec());
    }
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| UNREADABLE_PUBLIC.to_owned())?;
    let certificate = x509_cert::Certificate::from_der(&certificate).map_err(unreadable)?;
    let info = certificate.tbs_certificate().subject_public_key_info();
    Ok(info.subject_public_key.raw_bytes().to_vec())
}

/// `SEQUENCE { OID id-ecPublicKey, OID of the curve }`, the second half.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const EC_PUBLIC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The form of `openssl ecparam -genkey` (RFC 5915) in the envelope that `ring` reads (RFC 5958).
fn sec1_as_pkcs8(sec1: &[u8], curve: &[u8]) -> Vec<u8> {
    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = content.len();
        let mut element = vec![tag];
        match length {
            0..0x80 => element.push(length as u8),
            0x80..0x100 => element.extend([0x81, length as u8]),
            _ => element.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        element.extend(content);
        element
    }
    const SEQUENCE: u8 = 0x30;
    const OCTETS: u8 = 0x04;
    let version = [0x02, 0x01, 0x00];
    let algorithm = element(SEQUENCE, &[&EC_PUBLIC_KEY, curve]);
    element(SEQUENCE, &[&version, &algorithm, &element(OCTETS, &[sec1])])
}

#[cfg(test)]
mod tests;
