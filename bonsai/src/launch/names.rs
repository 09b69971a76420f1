//! Names of services as arguments: any text is taken, and judged with a sentence of our own; a shell's completion knows
//! those that there are.

use clap::builder::{PossibleValue, TypedValueParser};

use super::service::SERVICES;

/// Which names are completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Services, and `dfs` for its two programs.
    Groups,
    /// Services, and the launcher itself.
    Logs,
}

pub fn known(known: Known) -> Names {
    Names(known)
}

#[derive(Debug, Clone)]
pub struct Names(Known);

impl TypedValueParser for Names {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        let text = value.to_str();
        text.map(str::to_owned)
            .ok_or_else(|| clap::Error::new(clap::error::ErrorKind::InvalidUtf8).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let own = match self.0 {
            Known::Groups => "dfs",
            Known::Logs => "bonsai",
        };
        let names = SERVICES.iter().map(|service| service.name).chain([own]);
        Some(Box::new(names.map(PossibleValue::new)))
    }
}
