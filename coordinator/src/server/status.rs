//! Refusals as gRPC statuses: the codes are etcd's, like the texts.

use tonic::{Code, Status};

use crate::Error;

impl Error {
    /// The gRPC code that goes with the text.
    fn code(&self) -> Code {
        match self {
            Self::EmptyKey
            | Self::KeyNotFound
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::TooManyOperations
            | Self::DuplicateKey
            | Self::InvalidSortOption
            | Self::RequestTooLarge
            | Self::UserEmpty
            | Self::RoleEmpty
            | Self::AuthFailed
            | Self::PermissionNotGiven
            | Self::InvalidAuthManagement
            | Self::AuthOldRevision => Code::InvalidArgument,
            Self::RootUserNotExist
            | Self::RootRoleNotExist
            | Self::UserAlreadyExists
            | Self::UserNotFound
            | Self::RoleAlreadyExists
            | Self::RoleNotFound
            | Self::RoleNotGranted
            | Self::PermissionNotGranted
            | Self::AuthNotEnabled => Code::FailedPrecondition,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::InvalidAuthToken => Code::Unauthenticated,
            // etcd has no code for these.
            Self::NoPasswordUser | Self::PasswordTooLong | Self::VerifyOnly => Code::Unknown,
            Self::Compacted | Self::FutureRevision | Self::LeaseTtlTooLarge => Code::OutOfRange,
            Self::NoSpace | Self::TooManyRequests => Code::ResourceExhausted,
            Self::LeaseNotFound => Code::NotFound,
            Self::LeaseExists => Code::FailedPrecondition,
            Self::Stopped => Code::Unavailable,
            Self::Archive(_) => Code::Internal,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// The answer to calls that are not served yet.
pub(super) fn not_served(call: &str) -> Status {
    Status::unimplemented(format!("{call} is not served by this coordinator yet"))
}
