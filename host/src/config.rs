//! Configuration: flags > `BONSAI_*` variables > `bonsai.toml` > defaults.
//!
//! A program declares its flags once, with clap's derive. From a flag follow its other two names, by the path of the
//! command it belongs to:
//!
//! ```text
//! bonsai log-broker --listen A      BONSAI_LOG_BROKER_LISTEN=A      [log-broker]    listen = "A"
//! bonsai dfs namenode --rpc A       BONSAI_DFS_NAMENODE_RPC=A       [dfs.namenode]  rpc = "A"
//! bonsai SERVICE --log-level L      BONSAI_LOG_LEVEL=L              log-level = "L" (above all sections)
//! ```
//!
//! The last is for global flags (`#[arg(global = true)]`), which can be set at each level of the path; the longest path
//! wins. `bonsai.toml` is the file that `BONSAI_CONFIG` names, or the one in the working directory. A flag that may be
//! repeated takes an array (or, for `NAME=VALUE` flags, a table) in the file, and values separated by `;` in a variable.
//! A key that is no flag is refused by name: a typo must not pass for a setting.
//!
//! `--print-config` shows each option, its value, and where the value came from.
//!
//! How it moves: the arguments are parsed once loosely, to learn which subcommand is meant; what variables and file say
//! about its options becomes their default values ([`layers`]); then clap parses for good. Deliberately missing: arguments
//! without a name, which only the command line has, and reloading.

mod file;
mod layers;
mod print;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, Parser};

use layers::Layers;

const PRINT_CONFIG: &str = "print-config";

/// Parses the arguments of `service` (the first of `argv` is the program's name). `service` is the path of the command
/// that `A` describes, such as `log-broker` or, where `A` is one subcommand of several, `dfs namenode`. It is empty for a
/// program whose subcommands stand at the top: `[up]`, `BONSAI_UP_ANY_PORT`.
///
/// `Err` carries the code to exit with: 0 after `--help`, `--version` and `--print-config`, 2 after a usage error, which
/// has been printed.
pub fn parse<A: Parser>(service: &str, argv: impl IntoIterator<Item = OsString>) -> Result<A, ExitCode> {
    let argv: Vec<OsString> = argv.into_iter().collect();
    let parsed = Surroundings::of_this_process()
        .and_then(|surroundings| parse_in(A::command(), service, &argv, &surroundings))
        .and_then(|outcome| match outcome {
            Outcome::Printed(text) => Ok(Err(text)),
            Outcome::Matches(mut matches) => Ok(Ok(A::from_arg_matches_mut(&mut matches)?)),
        });
    match parsed {
        Ok(Ok(arguments)) => Ok(arguments),
        Ok(Err(text)) => {
            crate::print_line(text.trim_end());
            Err(ExitCode::SUCCESS)
        }
        Err(Refused::Clap(error)) => {
            // Nobody can be told when even stderr is gone.
            let _ = error.print();
            Err(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)))
        }
        Err(Refused::Layer(message)) => {
            crate::fail(&message);
            Err(ExitCode::from(2))
        }
    }
}

/// Whether a variable or the file sets `option` of the command at `path` (`dfs namenode`), for a program that starts that
/// command with arguments of its own: they would win.
pub fn is_set(path: &str, option: &str) -> bool {
    let Ok(surroundings) = Surroundings::of_this_process() else {
        return false; // The command itself says what is wrong with the file.
    };
    is_set_in(&surroundings, path, option)
}

fn is_set_in(surroundings: &Surroundings, path: &str, option: &str) -> bool {
    let words: Vec<String> = path.split(' ').map(str::to_owned).collect();
    let variable = layers::variable_name(words.iter().map(String::as_str), option);
    let in_file = || {
        let section = surroundings.file.as_ref()?.section(&words).ok()??;
        section.get(option)
    };
    surroundings.variables.contains_key(&variable) || in_file().is_some()
}

/// What a process sees besides its arguments.
#[derive(Debug, Default)]
struct Surroundings {
    variables: std::collections::BTreeMap<String, OsString>,
    file: Option<file::ConfigFile>,
}

impl Surroundings {
    fn of_this_process() -> Result<Self, Refused> {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("BONSAI_"))
            .collect::<std::collections::BTreeMap<_, _>>();
        let file = file::ConfigFile::find(variables.get("BONSAI_CONFIG"))?;
        Ok(Self { variables, file })
    }
}

/// Why the arguments were not taken.
#[derive(Debug)]
enum Refused {
    /// By clap, in its words; `--help` and `--version` too.
    Clap(clap::Error),
    /// A variable or the file; the sentence names it.
    Layer(String),
}

impl From<clap::Error> for Refused {
    fn from(error: clap::Error) -> Self {
        Self::Clap(error)
    }
}

enum Outcome {
    Matches(ArgMatches),
    /// `--print-config` was asked for; this is it.
    Printed(String),
}

fn parse_in(
    command: Command,
    service: &str,
    argv: &[OsString],
    surroundings: &Surroundings,
) -> Result<Outcome, Refused> {
    let flag = Arg::new(PRINT_CONFIG)
        .long(PRINT_CONFIG)
        .help("Show each option, its value and where the value came from, then exit")
        .action(ArgAction::SetTrue)
        .global(true);
    let command = command.arg(flag);
    let loosely = command.clone().ignore_errors(true).try_get_matches_from(argv);
    let loosely = loosely.ok().filter(|_| !asks_for_help(argv));
    let Some(loosely) = loosely else {
        // Help and version need no settings, and must work with a broken file too.
        return Ok(Outcome::Matches(
            explain_layers(command, service).try_get_matches_from(argv)?,
        ));
    };
    let chain = chosen_subcommands(&loosely);
    let layers = Layers::collect(&command, service, &chain, surroundings)?;
    let print = print_is_asked_for(&loosely);
    let command = layers.apply(explain_layers(command, service), &chain, print);
    let matches = command.clone().try_get_matches_from(argv)?;
    if print {
        return Ok(Outcome::Printed(print::describe(&command, &layers, &matches)));
    }
    Ok(Outcome::Matches(matches))
}

fn asks_for_help(argv: &[OsString]) -> bool {
    let before_dashes = argv.iter().skip(1).take_while(|argument| *argument != "--");
    before_dashes
        .into_iter()
        .any(|argument| argument == "--help" || argument == "-h" || argument == "help")
}

fn chosen_subcommands(matches: &ArgMatches) -> Vec<String> {
    let mut chain = Vec::new();
    let mut matches = matches;
    while let Some((name, inner)) = matches.subcommand() {
        chain.push(name.to_owned());
        matches = inner;
    }
    chain
}

fn print_is_asked_for(matches: &ArgMatches) -> bool {
    let here = matches
        .try_get_one::<bool>(PRINT_CONFIG)
        .ok()
        .flatten()
        .copied()
        .unwrap_or(false);
    here || matches.subcommand().is_some_and(|(_, inner)| print_is_asked_for(inner))
}

fn explain_layers(command: Command, service: &str) -> Command {
    let section = if service.is_empty() {
        "command".to_owned()
    } else {
        service.replace(' ', ".")
    };
    let variable = layers::variable_name(section.split('.'), "option");
    let text = format!("Each option can also be set as {variable} or in bonsai.toml under [{section}].");
    match command.get_after_help() {
        Some(own) => {
            let text = format!("{own}\n\n{text}");
            command.after_help(text)
        }
        None => command.after_help(text),
    }
}
