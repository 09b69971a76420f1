//! Whose request it is, and whether it may.

use tonic::Request;

use crate::Error;
use crate::auth::{Access, Caller};
use crate::server::replica::node::Node;
use crate::server::service::auth::credentials::Credentials;

impl Node {
    /// Whose request it is; no one's while authentication is off.
    pub(in crate::server) fn caller<T>(
        &self,
        request: &Request<T>,
    ) -> impl Future<Output = Result<Caller, Error>> + Send + use<'_, T> {
        // The request itself need not live, nor be sendable, until a token's entry is applied.
        let credentials = self.gate.is_closed().then(|| Credentials::of(request));
        async move {
            match credentials {
                Some(credentials) => self.establish(&credentials).await,
                None => Ok(Caller::default()),
            }
        }
    }

    /// As [`Node::caller`], for streams, which ask again and again.
    pub(in crate::server) async fn establish(&self, credentials: &Credentials) -> Result<Caller, Error> {
        if !self.gate.is_closed() {
            return Ok(Caller::default());
        }
        if let Some(token) = credentials.token() {
            return match self.gate.look_at(token).await? {
                Some(signed) => Ok(signed),
                None => self.gate.user_of(self.machine().auth(), token, self.now_ms()),
            };
        }
        match credentials.certificate() {
            Some(name) if self.gate.trusts_certificates() => Ok(self.machine().auth().caller(name)),
            _ => Ok(Caller::default()),
        }
    }

    /// Whether anyone who sent a request may; for what needs no more than a yes. The request must not change anything.
    pub(in crate::server) fn authorize<'a, T>(
        &'a self,
        request: &Request<T>,
        access: Access<'a>,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<'a, T> {
        let caller = self.caller(request);
        async move {
            let caller = caller.await?;
            self.machine().check(&caller, access)
        }
    }
}

/// Why a watch is not created, as etcd says it: with what gRPC puts in front of a status when it is printed.
pub(in crate::server) fn watch_refusal(error: &Error) -> &'static str {
    match error {
        Error::InvalidAuthToken => "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        Error::AuthOldRevision => "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
        Error::UserEmpty => "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
        _ => "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
    }
}
