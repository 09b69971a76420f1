//! Refusals as gRPC statuses.

use tonic::Status;

use crate::Error;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
