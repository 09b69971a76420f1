//! `bonsai.toml`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Refused;

const FILE_NAME: &str = "bonsai.toml";

/// A file that was read and is TOML.
#[derive(Debug)]
pub(super) struct ConfigFile {
    pub path: PathBuf,
    table: Table,
}

impl ConfigFile {
    /// The file that `named` (the value of `BONSAI_CONFIG`) names, which must exist, or the working directory's, which
    /// need not.
    pub fn find(named: Option<&OsString>) -> Result<Option<Self>, Refused> {
        let path = named.map_or_else(|| PathBuf::from(FILE_NAME), PathBuf::from);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
            Err(error) => Err(Refused::Layer(format!("cannot read {}: {error}", path.display()))),
        }
    }

    pub fn parse(path: PathBuf, text: &str) -> Result<Self, Refused> {
        let path = std::path::absolute(&path).unwrap_or(path);
        match text.parse::<Table>() {
            Ok(table) => Ok(Self { path, table }),
            Err(error) => {
                let line = error
                    .span()
                    .map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
                let message = error.message();
                Err(Refused::Layer(format!("{}, line {line}: {message}", path.display())))
            }
        }
    }

    /// The table at a path of sections; the empty path is the whole file.
    ///
    /// # Errors
    /// If something on the path is there and is no table.
    pub fn section(&self, path: &[String]) -> Result<Option<&Table>, Refused> {
        let mut table = &self.table;
        for (depth, name) in path.iter().enumerate() {
            table = match table.get(name) {
                None => return Ok(None),
                Some(Value::Table(inner)) => inner,
                Some(_) => {
                    let section = path[..=depth].join(".");
                    return Err(self.refuse(&path[..depth], name, &format!("it must be a section, [{section}]")));
                }
            };
        }
        Ok(Some(table))
    }

    pub fn refuse(&self, section: &[String], key: &str, reason: &str) -> Refused {
        Refused::Layer(format!("{}: {}: {reason}", place(&self.path, section), key))
    }
}

/// `/etc/bonsai.toml [log-broker]`
pub(super) fn place(path: &Path, section: &[String]) -> String {
    match section {
        [] => path.display().to_string(),
        names => format!("{} [{}]", path.display(), names.join(".")),
    }
}

/// What a value says on a command line: one text, or several for a flag that may be repeated.
pub(super) fn texts(value: &Value, repeated: bool) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) if repeated => items.iter().map(scalar).collect(),
        Value::Table(items) if repeated => items
            .iter()
            .map(|(name, value)| Ok(format!("{name}={}", scalar(value)?)))
            .collect(),
        Value::Array(_) => Err("it takes one value, not an array".to_owned()),
        other => Ok(vec![scalar(other)?]),
    }
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        Value::Datetime(time) => Ok(time.to_string()),
        Value::Array(_) => Err("an array is not a value here".to_owned()),
        Value::Table(_) => Err("it is an option, not a section".to_owned()),
    }
}
