//! `--print-config`.

use std::fmt::Write;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::layers::{Layers, options};

/// One line an option: its name, its value, and where the value came from.
pub(super) fn describe(command: &Command, layers: &Layers, matches: &ArgMatches) -> String {
    let mut lines = Vec::new();
    let (mut command, mut matches) = (command, matches);
    loop {
        for option in options(command) {
            let long = option.get_long().unwrap_or_default();
            let id = option.get_id().as_str();
            let values: Vec<String> = matches
                .try_get_raw(id)
                .ok()
                .flatten()
                .map(|values| values.map(|value| value.to_string_lossy().into_owned()).collect())
                .unwrap_or_default();
            let origin = match (
                matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id)),
                layers.origin(long),
            ) {
                (Some(ValueSource::CommandLine), _) => "flag".to_owned(),
                // A variable that the program itself names, such as the coordinator's ETCD_NAME.
                (Some(ValueSource::EnvVariable), _) => {
                    let name = option.get_env().unwrap_or_default();
                    format!("variable {}", name.to_string_lossy())
                }
                (_, Some(origin)) => origin.to_string(),
                (Some(_), None) => "default".to_owned(),
                (None, None) => "not set".to_owned(),
            };
            lines.push((format!("{long} = {}", values.join(" ")), origin));
        }
        let Some((name, inner)) = matches.subcommand() else {
            break;
        };
        let Some(subcommand) = command.find_subcommand(name) else {
            break;
        };
        (command, matches) = (subcommand, inner);
    }
    let width = lines
        .iter()
        .map(|(setting, _)| setting.chars().count())
        .max()
        .unwrap_or(0);
    lines.iter().fold(String::new(), |mut text, (setting, origin)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{setting:width$}  ({origin})");
        text
    })
}
