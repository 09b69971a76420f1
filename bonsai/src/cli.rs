//! The command line of `bonsai`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::demo::{self, FlightsArgs};
use crate::launch::{self, LogsArgs, Stack, UpArgs};

/// Kafka, HDFS, Spark, Flink and etcd, small: five native programs that speak the originals' protocols.
#[derive(Debug, Parser)]
#[command(name = "bonsai", version, after_help = EXAMPLES, disable_help_subcommand = true)]
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
    /// Show each service: address, pid, state, memory.
    Status {
        #[command(flatten)]
        place: Place,
        /// As a JSON list of objects.
        #[arg(long)]
        json: bool,
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
        service: Option<String>,
    },
    /// Print the addresses as shell variables, and write core-site.xml, hdfs-site.xml and client.properties.
    Env {
        #[command(flatten)]
        place: Place,
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
    /// Where the stack keeps everything; `./.bonsai` unless given.
    #[arg(long, value_name = "DIR")]
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
    let cli = match Cli::try_parse_from(&argv) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no reason to complain.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => host::fail(&error),
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let stack = |place: &Place| Stack::at(place.data.as_deref());
    match command {
        Command::Up { place, args } => launch::up(place.data.as_deref(), &args)?,
        Command::Status { place, json } => launch::status(&stack(&place)?, json)?,
        Command::Logs { place, args } => launch::logs(&stack(&place)?, &args)?,
        Command::Down { place } => launch::down(&stack(&place)?)?,
        Command::Reset { place, service } => launch::reset(&stack(&place)?, service.as_deref())?,
        Command::Env { place } => launch::env(&stack(&place)?)?,
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
