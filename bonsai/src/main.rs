use std::process::ExitCode;

fn main() -> ExitCode {
    bonsai::main(std::env::args_os())
}
