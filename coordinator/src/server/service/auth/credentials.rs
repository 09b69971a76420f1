//! What a request says about who sent it.

use std::sync::Arc;

use tonic::Request;

/// Where etcd's clients put the token; then where HTTP's do.
const TOKEN_KEYS: [&str; 2] = ["token", "authorization"];
const BEARER: &str = "Bearer ";

/// The common name in the certificate that a connection was made with, if it was with one. Connections put it beside each
/// request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::server) struct CertificateName(pub(in crate::server) Option<Arc<str>>);

/// A token, or the name in a certificate, or nothing; not believed yet.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Credentials {
    token: Option<String>,
    certificate: CertificateName,
}

impl Credentials {
    pub(in crate::server) fn of<T>(request: &Request<T>) -> Self {
        let value = TOKEN_KEYS.iter().find_map(|key| request.metadata().get(*key));
        // What is not text is no token, which is not the same as none.
        let text = value.map(|value| value.to_str().unwrap_or_default());
        Self {
            token: text.map(|text| text.strip_prefix(BEARER).unwrap_or(text).to_owned()),
            certificate: request.extensions().get().cloned().unwrap_or_default(),
        }
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(super) fn certificate(&self) -> Option<&str> {
        self.certificate.0.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(metadata: &[(&'static str, &str)]) -> Option<String> {
        let mut request = Request::new(());
        for (key, value) in metadata {
            request.metadata_mut().insert(*key, value.parse().expect("a value"));
        }
        Credentials::of(&request).token
    }

    #[test]
    fn tokens_are_found_where_clients_put_them() {
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[("token", "a.1")]).as_deref(), Some("a.1"));
        assert_eq!(token(&[("authorization", "a.1")]).as_deref(), Some("a.1"));
        assert_eq!(token(&[("authorization", "Bearer a.1")]).as_deref(), Some("a.1"));
        assert_eq!(
            token(&[("authorization", "b.2"), ("token", "a.1")]).as_deref(),
            Some("a.1")
        );
        assert_eq!(token(&[("token", "")]).as_deref(), Some(""), "empty is not none");
    }
}
