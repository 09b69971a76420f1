//! What variables and file say about the options of one command.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};
use toml::Value;

use super::file::{place, texts};
use super::{PRINT_CONFIG, Refused, Surroundings};

/// Where a value came from, if not from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Variable(String),
    /// The file and the section in it.
    File(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::File(place) => write!(f, "file {place}"),
        }
    }
}

#[derive(Debug)]
struct Setting {
    values: Vec<OsString>,
    origin: Origin,
}

/// The launcher's option that stands above all sections, and means nothing to the services.
const LAUNCHER_KEY: &str = "data";

/// The winning setting of each option, by the option's long name.
#[derive(Debug, Default)]
pub(super) struct Layers {
    settings: BTreeMap<String, Setting>,
}

/// The name of an option's variable: `BONSAI_LOG_BROKER_LISTEN`.
pub(super) fn variable_name<'a>(path: impl IntoIterator<Item = &'a str>, option: &'a str) -> String {
    let mut name = "BONSAI".to_owned();
    for word in path.into_iter().chain([option]) {
        name.push('_');
        name.push_str(&word.to_uppercase().replace(['-', '.'], "_"));
    }
    name
}

impl Layers {
    /// Looks every option of `command` up, down to the subcommand that `chain` leads to.
    pub fn collect(
        command: &Command,
        service: &str,
        chain: &[String],
        surroundings: &Surroundings,
    ) -> Result<Self, Refused> {
        let path: Vec<String> = service
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .chain(chain.iter().cloned())
            .collect();
        let mut layers = Self::default();
        let mut known = BTreeSet::new();
        let mut global = BTreeSet::new();
        let mut node = Some(command);
        let mut rest = chain.iter();
        while let Some(command) = node {
            for option in options(command) {
                let long = option.get_long().unwrap_or_default().to_owned();
                // Global options may be set at each level, the others for the whole path only.
                let shortest = if option.is_global_set() { 0 } else { path.len() };
                let sections = (shortest..=path.len()).rev().map(|depth| &path[..depth]);
                for section in sections {
                    if let Some(setting) = lookup(option, section, surroundings)? {
                        check(command, option, &setting)?;
                        layers.settings.insert(long.clone(), setting);
                        break;
                    }
                }
                if option.is_global_set() {
                    global.insert(long.clone());
                }
                known.insert(long);
            }
            node = rest.next().and_then(|name| command.find_subcommand(name));
        }
        refuse_unknown_keys(&path, &known, &global, surroundings)?;
        Ok(layers)
    }

    /// Makes the settings the defaults of their options. `none_required` is for showing them.
    pub fn apply(&self, command: Command, chain: &[String], none_required: bool) -> Command {
        let command = command.mut_args(|option| {
            let setting = option.get_long().and_then(|long| self.settings.get(long));
            match setting {
                Some(setting) => option.required(false).default_values(setting.values.clone()),
                None if none_required => option.required(false),
                None => option,
            }
        });
        match chain.split_first() {
            Some((name, rest)) => command.mut_subcommand(name, |inner| self.apply(inner, rest, none_required)),
            None => command,
        }
    }

    pub fn origin(&self, long: &str) -> Option<&Origin> {
        self.settings.get(long).map(|setting| &setting.origin)
    }
}

/// The options of a command that have a name in all layers.
pub(super) fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let not_settings = [PRINT_CONFIG, "help", "version"];
    command
        .get_arguments()
        .filter(move |option| option.get_long().is_some_and(|long| !not_settings.contains(&long)))
}

fn lookup(option: &Arg, section: &[String], surroundings: &Surroundings) -> Result<Option<Setting>, Refused> {
    let long = option.get_long().unwrap_or_default();
    let variable = variable_name(section.iter().map(String::as_str), long);
    if let Some(value) = surroundings.variables.get(&variable) {
        let values = if is_repeated(option) {
            split(value)
        } else {
            vec![value.clone()]
        };
        return Ok(Some(Setting {
            values,
            origin: Origin::Variable(variable),
        }));
    }
    let Some(file) = &surroundings.file else {
        return Ok(None);
    };
    let Some(value) = file.section(section)?.and_then(|table| table.get(long)) else {
        return Ok(None);
    };
    let texts = texts(value, is_repeated(option)).map_err(|reason| file.refuse(section, long, &reason))?;
    let values = texts.into_iter().map(OsString::from).collect();
    Ok(Some(Setting {
        values,
        origin: Origin::File(place(&file.path, section)),
    }))
}

fn is_repeated(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Append)
}

fn split(value: &OsStr) -> Vec<OsString> {
    match value.to_str() {
        Some(text) => text
            .split(';')
            .filter(|part| !part.is_empty())
            .map(OsString::from)
            .collect(),
        None => vec![value.to_owned()],
    }
}

/// Lets clap judge the values as if they stood on the command line, so that a bad one is reported with its origin.
fn check(command: &Command, option: &Arg, setting: &Setting) -> Result<(), Refused> {
    let long = option.get_long().unwrap_or_default();
    let refuse = |reason: &str| Err(Refused::Layer(format!("{}: {long}: {reason}", setting.origin)));
    for value in &setting.values {
        if matches!(option.get_action(), ArgAction::SetTrue | ArgAction::SetFalse) {
            if value != "true" && value != "false" {
                return refuse("it must be true or false");
            }
            continue;
        }
        let mut argument = OsString::from(format!("--{long}="));
        argument.push(value);
        let outcome = command
            .clone()
            .try_get_matches_from([OsString::from(command.get_name()), argument]);
        if let Err(error) = outcome
            && matches!(
                error.kind(),
                ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8
            )
        {
            let text = error.render().to_string();
            return refuse(text.lines().next().unwrap_or_default().trim_start_matches("error: "));
        }
    }
    Ok(())
}

/// A key of the command's own section that is no option is a mistake, and so is one on the way to it that is no global
/// option. Sections on the way belong to other commands.
fn refuse_unknown_keys(
    path: &[String],
    known: &BTreeSet<String>,
    global: &BTreeSet<String>,
    surroundings: &Surroundings,
) -> Result<(), Refused> {
    let Some(file) = &surroundings.file else { return Ok(()) };
    for depth in 0..=path.len() {
        let section = &path[..depth];
        let Some(table) = file.section(section)? else { break };
        let here = if depth == path.len() { known } else { global };
        for (key, value) in table {
            let is_launchers = depth == 0 && key == LAUNCHER_KEY;
            if here.contains(key) || is_launchers || (depth < path.len() && matches!(value, Value::Table(_))) {
                continue;
            }
            let options = here.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(file.refuse(section, key, &format!("there is no such option; there are {options}")));
        }
    }
    Ok(())
}
