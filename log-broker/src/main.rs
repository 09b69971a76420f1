use std::process::ExitCode;

fn main() -> ExitCode {
    log_broker::main(std::env::args_os())
}
