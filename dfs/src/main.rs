use std::process::ExitCode;

fn main() -> ExitCode {
    dfs::main(std::env::args_os())
}
