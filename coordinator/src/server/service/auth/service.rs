//! The service Auth. Every call becomes an entry; its answer is the truth of that point in the log.

use std::sync::Arc;

use coordinator_wire::coordinatorpb::Authenticated;
use coordinator_wire::etcdserverpb as pb;
use pb::auth_server::Auth;
use tonic::{Request, Response, Status};

use crate::Error;
use crate::auth::{AuthOutcome, AuthRequest, Caller, Change};
use crate::machine::{self, Outcome};
use crate::server::replica::node::Node;

/// How often a password is compared again because users or roles changed meanwhile.
const AUTHENTICATE_TRIES_MAX: usize = 10;

pub(in crate::server) struct AuthService(pub(in crate::server) Arc<Node>);

impl AuthService {
    async fn propose(&self, caller: Caller, change: Change) -> Result<AuthOutcome, Error> {
        let request = AuthRequest { request: Some(change) };
        match self.0.propose(caller, machine::Request::Auth(request)).await? {
            Outcome::Auth(outcome) => Ok(outcome),
            _ => Err(Error::Stopped),
        }
    }

    /// Carries out a request, and makes its outcome the answer.
    async fn carry_out<Q, A>(
        &self,
        method: &str,
        request: Request<Q>,
        change: fn(Q) -> Change,
        answer: fn(Option<pb::ResponseHeader>, AuthOutcome) -> A,
    ) -> Result<Response<A>, Status> {
        let caller = self.0.caller(&request).await;
        let change = change(request.into_inner());
        let outcome = match caller {
            Ok(caller) => self.propose(caller, change).await,
            Err(error) => Err(error),
        };
        let outcome = outcome.map(|outcome| answer(self.header(), outcome));
        self.0.metrics.answer("Auth", method, outcome)
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(self.0.header(self.0.machine().store().revision()))
    }

    /// Shows a password and gets a token. If users or roles change between the comparison and the entry, the password may
    /// have changed as well, so it is compared again.
    async fn do_authenticate(&self, request: pb::AuthenticateRequest) -> Result<pb::AuthenticateResponse, Error> {
        let pb::AuthenticateRequest { name, password } = request;
        // A user who was just made at another member is to be known here.
        self.0.linearizable_read().await?;
        for _ in 0..AUTHENTICATE_TRIES_MAX {
            let credential = self.0.machine().auth().credential(&name)?;
            self.0.gate.compare(password.clone(), &credential).await?;
            let authenticated = Change::Authenticated(Authenticated {
                name: name.clone(),
                token_prefix: self.0.gate.token_prefix(),
            });
            // On no one's behalf: who it is was just shown.
            let AuthOutcome::Authenticated { user, revision, token } =
                self.propose(Caller::default(), authenticated).await?
            else {
                return Err(Error::Stopped);
            };
            if revision == credential.auth_revision {
                return Ok(pb::AuthenticateResponse {
                    header: self.header(),
                    token: self.0.gate.token(&user, revision, token)?,
                });
            }
        }
        Err(Error::AuthOldRevision)
    }

    async fn do_user_add(&self, request: Request<pb::AuthUserAddRequest>) -> Result<pb::AuthUserAddResponse, Error> {
        let caller = self.0.caller(&request).await?;
        let mut request = request.into_inner();
        // The log never sees a password.
        let password = std::mem::take(&mut request.password);
        request.hashed_password = if request.options.is_some_and(|options| options.no_password) {
            String::new()
        } else {
            self.0.gate.hash(password).await?
        };
        self.propose(caller, Change::UserAdd(request)).await?;
        Ok(pb::AuthUserAddResponse { header: self.header() })
    }

    async fn do_user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<pb::AuthUserChangePasswordResponse, Error> {
        let caller = self.0.caller(&request).await?;
        let mut request = request.into_inner();
        let password = std::mem::take(&mut request.password);
        // With an empty one, no one can authenticate as this user any more.
        if !password.is_empty() {
            request.hashed_password = self.0.gate.hash(password).await?;
        }
        self.propose(caller, Change::UserChangePassword(request)).await?;
        Ok(pb::AuthUserChangePasswordResponse { header: self.header() })
    }
}

/// An answer that is nothing but its header.
macro_rules! done {
    ($answer:ident) => {
        |header, _done| pb::$answer { header }
    };
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let answer = done!(AuthEnableResponse);
        self.carry_out("AuthEnable", request, Change::Enable, answer).await
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let answer = done!(AuthDisableResponse);
        self.carry_out("AuthDisable", request, Change::Disable, answer).await
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let answer = |header, outcome| match outcome {
            AuthOutcome::Status { enabled, revision } => pb::AuthStatusResponse {
                header,
                enabled,
                auth_revision: revision,
            },
            _ => pb::AuthStatusResponse::default(),
        };
        self.carry_out("AuthStatus", request, Change::Status, answer).await
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let outcome = self.do_authenticate(request.into_inner()).await;
        self.0.metrics.answer("Auth", "Authenticate", outcome)
    }

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        let outcome = self.do_user_add(request).await;
        self.0.metrics.answer("Auth", "UserAdd", outcome)
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let answer = |header, outcome| match outcome {
            AuthOutcome::User { roles } => pb::AuthUserGetResponse { header, roles },
            _ => pb::AuthUserGetResponse::default(),
        };
        self.carry_out("UserGet", request, Change::UserGet, answer).await
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let answer = |header, outcome| match outcome {
            AuthOutcome::Users(users) => pb::AuthUserListResponse { header, users },
            _ => pb::AuthUserListResponse::default(),
        };
        self.carry_out("UserList", request, Change::UserList, answer).await
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let answer = done!(AuthUserDeleteResponse);
        self.carry_out("UserDelete", request, Change::UserDelete, answer).await
    }

    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        let outcome = self.do_user_change_password(request).await;
        self.0.metrics.answer("Auth", "UserChangePassword", outcome)
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let answer = done!(AuthUserGrantRoleResponse);
        self.carry_out("UserGrantRole", request, Change::UserGrantRole, answer)
            .await
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let answer = done!(AuthUserRevokeRoleResponse);
        self.carry_out("UserRevokeRole", request, Change::UserRevokeRole, answer)
            .await
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let answer = done!(AuthRoleAddResponse);
        self.carry_out("RoleAdd", request, Change::RoleAdd, answer).await
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let answer = |header, outcome| match outcome {
            AuthOutcome::Role { permissions } => pb::AuthRoleGetResponse {
                header,
                perm: permissions,
            },
            _ => pb::AuthRoleGetResponse::default(),
        };
        self.carry_out("RoleGet", request, Change::RoleGet, answer).await
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let answer = |header, outcome| match outcome {
            AuthOutcome::Roles(roles) => pb::AuthRoleListResponse { header, roles },
            _ => pb::AuthRoleListResponse::default(),
        };
        self.carry_out("RoleList", request, Change::RoleList, answer).await
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let answer = done!(AuthRoleDeleteResponse);
        self.carry_out("RoleDelete", request, Change::RoleDelete, answer).await
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        let answer = done!(AuthRoleGrantPermissionResponse);
        self.carry_out("RoleGrantPermission", request, Change::RoleGrantPermission, answer)
            .await
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let answer = done!(AuthRoleRevokePermissionResponse);
        self.carry_out("RoleRevokePermission", request, Change::RoleRevokePermission, answer)
            .await
    }
}
