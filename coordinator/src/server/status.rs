//! Refusals as gRPC statuses.

use tonic::Status;

use crate::Error;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// The answer to calls that are not served.
pub(super) fn not_served(call: &str) -> Status {
    Status::unimplemented(format!("{call} is not served by this coordinator"))
}
