//! The demo comes next; until then it says so.

use std::process::ExitCode;

use crate::launch::{Error, Stack};

#[derive(Debug, clap::Args)]
pub struct FlightsArgs {}

pub fn flights(_stack: Stack, _args: FlightsArgs) -> Result<ExitCode, Error> {
    Ok(host::fail(&"the demo is not in this build"))
}
