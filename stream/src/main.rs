use std::process::ExitCode;

fn main() -> ExitCode {
    stream::main(std::env::args_os())
}
