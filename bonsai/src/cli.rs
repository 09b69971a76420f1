//! The command line of `bonsai`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::demo::{self, FlightsArgs};
use crate::launch::{self, DoctorArgs, JobsArgs, Known, LogsArgs, RunArgs, Stack, StatusArgs, UpArgs, known};

/// Kafka, HDFS, Spark, Flink and etcd, small: five native programs that speak the originals' protocols.
#[derive(Debug, Parser)]
#[command(name = "bonsai", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Begin with:
  bonsai demo flights        real flights through all five services, to a table and a map
  bonsai up                  the services, on the originals' ports, until Ctrl-C
  eval \"$(bonsai env)\"       addresses for kcat, hdfs dfs, etcdctl";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the services and look after them until Ctrl-C.
    Up {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: UpArgs,
    },
    /// Show each service: address, pid, state, memory. Exit code 1 unless all are healthy.
    Status {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: StatusArgs,
    },
    /// Show what the services say.
    Logs {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: LogsArgs,
    },
    /// End what `up` started. The data stays.
    Down {
        #[command(flatten)]
        place: Place,
    },
    /// Delete the data of one service, or of all.
    Reset {
        #[command(flatten)]
        place: Place,
        #[arg(value_parser = known(Known::Groups), hide_possible_values = true)]
        service: Option<String>,
    },
    /// Print the addresses as shell variables, and write core-site.xml, hdfs-site.xml and client.properties.
    Env {
        #[command(flatten)]
        place: Place,
        /// Instead of this machine's stack, what is registered in a coordinator or an etcd.
        #[command(flatten)]
        registry: coordinator_client::Options,
    },
    /// Run a command with a stack of its own: start, set the environment, run, end. The exit code is the command's.
    Run {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: RunArgs,
    },
    /// Examine the machine and the stack, and try a short workload. Exit code 1 if an error was found.
    Doctor {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: DoctorArgs,
    },
    /// Show the stream jobs: id, state, times; or stop one.
    Jobs {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: JobsArgs,
    },
    /// Tell a story on real data.
    Demo {
        #[command(subcommand)]
        story: Story,
    },
    /// Print the completions for a shell.
    Completions { shell: Shell },
    /// The key-value store that speaks etcd's protocol.
    Coordinator(Service),
    /// The log that speaks Kafka's protocol.
    LogBroker(Service),
    /// The file system that speaks HDFS's protocol: `dfs namenode`, `dfs datanode`.
    Dfs(Service),
    /// Streaming SQL in Flink's words.
    Stream(Service),
    /// SQL over files, with spatial joins.
    Batch(Service),
}

#[derive(Debug, Subcommand)]
enum Story {
    /// Where do New York's flights land late? Through the log, the stream job, the file system and the batch engine.
    Flights {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: FlightsArgs,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Where the stack keeps everything; `./.bonsai` unless given. BONSAI_DATA sets it for all commands.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

/// A service's own command line, handed on as it is.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
struct Service {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

pub fn run(argv: Vec<OsString>) -> ExitCode {
    let cli = match parse(argv) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => host::fail(&error),
    }
}

/// The launcher's own commands are set by variables and `bonsai.toml` too ([`host::config`]); a service's words are its own,
/// and it reads its own section.
fn parse(argv: Vec<OsString>) -> Result<Cli, ExitCode> {
    let named = argv.get(1).and_then(|word| word.to_str());
    if named.is_some_and(|word| CONFIGURED.contains(&word)) {
        return host::config::parse("", argv);
    }
    Cli::try_parse_from(&argv).map_err(|error| {
        // A closed pipe is no reason to complain.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// The commands whose options have a place in `bonsai.toml`.
const CONFIGURED: [&str; 10] = [
    "up", "status", "logs", "down", "reset", "env", "run", "doctor", "jobs", "demo",
];

fn dispatch(command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let stack = |place: &Place| Stack::at(place.data.as_deref());
    match command {
        Command::Up { place, args } => launch::up(place.data.as_deref(), &args)?,
        Command::Status { place, args } => {
            let is_healthy = launch::status(&stack(&place)?, &args)?;
            return Ok(ExitCode::from(u8::from(!is_healthy)));
        }
        Command::Logs { place, args } => launch::logs(&stack(&place)?, &args)?,
        Command::Down { place } => launch::down(&stack(&place)?)?,
        Command::Reset { place, service } => launch::reset(&stack(&place)?, service.as_deref())?,
        Command::Run { place, args } => return Ok(launch::run(place.data.as_deref(), &args)?),
        Command::Doctor { place, args } => {
            let is_healthy = launch::doctor(&stack(&place)?, &args)?;
            return Ok(ExitCode::from(u8::from(!is_healthy)));
        }
        Command::Jobs { place, args } => launch::jobs(&stack(&place)?, &args)?,
        Command::Env { place, registry } => launch::env(&stack(&place)?, &registry)?,
        Command::Demo {
            story: Story::Flights { place, args },
        } => return Ok(demo::flights(stack(&place)?, args)?),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "bonsai", &mut std::io::stdout());
        }
        Command::Coordinator(service) => return Ok(coordinator::main(service.argv("coordinator"))),
        Command::LogBroker(service) => return Ok(log_broker::main(service.argv("log-broker"))),
        Command::Dfs(service) => return Ok(dfs::main(service.argv("dfs"))),
        Command::Stream(service) => return Ok(stream::main(service.argv("stream"))),
        Command::Batch(service) => return Ok(batch::main(service.argv("batch"))),
    }
    Ok(ExitCode::SUCCESS)
}

impl Service {
    fn argv(self, name: &str) -> impl Iterator<Item = OsString> {
        std::iter::once(OsString::from(format!("bonsai {name}"))).chain(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_service_gets_its_words_untouched() {
        let words = ["bonsai", "log-broker", "--help", "--set", "a=b", "--", "-x"].map(OsString::from);
        let Command::LogBroker(service) = Cli::try_parse_from(words).unwrap().command else {
            panic!("another command")
        };
        let argv: Vec<_> = service.argv("log-broker").collect();
        assert_eq!(argv, ["bonsai log-broker", "--help", "--set", "a=b", "--", "-x"]);
    }

    #[test]
    fn wrong_flags_are_usage_errors() {
        for words in [
            &["bonsai", "up", "--nope"][..],
            &["bonsai"],
            &["bonsai", "up", "--datanodes", "0"],
        ] {
            assert_eq!(Cli::try_parse_from(words).unwrap_err().exit_code(), 2);
        }
    }
}
