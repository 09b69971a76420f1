use std::process::ExitCode;

fn main() -> ExitCode {
    coordinator::main(std::env::args_os())
}
