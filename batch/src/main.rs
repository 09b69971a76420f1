use std::process::ExitCode;

fn main() -> ExitCode {
    batch::main(std::env::args_os())
}
