//! The stack's shape: what one start decides and the next ones must keep, or else data seems gone.
//!
//! How many coordinators and data nodes there are, and which settings the services have, is kept in `DIR/shape.json`; where
//! they listen, in `DIR/ports` ([`super::ports`]). A start that says nothing keeps the shape. One that asks for another is
//! refused where data would be unreachable, and otherwise done and told.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use super::service::{Copies, find};

const FILE: &str = "shape.json";

/// The settings of a service, by name.
type Settings = BTreeMap<String, String>;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// 0: not decided yet.
    pub coordinators: u16,
    pub datanodes: u16,
    /// By service, given with `up --set SERVICE.NAME=VALUE`.
    pub settings: BTreeMap<String, Settings>,
}

/// What the command line asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    pub coordinators: Option<u16>,
    pub datanodes: Option<u16>,
    /// `SERVICE.NAME=VALUE`; without a value the setting is the service's default again.
    pub settings: &'a [String],
}

impl Shape {
    /// What `DIR/shape.json` says; empty where there is none.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| Error::BadShapeFile(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io(format!("cannot read {}", path.display()), error)),
        }
    }

    pub fn save(&self, directory: &Path) -> Result<(), Error> {
        let path = directory.join(FILE);
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::io(format!("cannot write {}", path.display()), error.into()))?;
        super::board::write_atomically(&path, &bytes)
    }

    pub fn copies(&self) -> Copies {
        Copies {
            coordinators: self.coordinators.max(1),
            datanodes: self.datanodes.max(1),
        }
    }

    pub fn setting(&self, service: &str, name: &str) -> Option<&str> {
        self.settings.get(service)?.get(name).map(String::as_str)
    }

    pub fn settings_of(&self, service: &str) -> impl Iterator<Item = (&String, &String)> {
        self.settings.get(service).into_iter().flatten()
    }

    /// The shape of this start, and what is to be said about it. `present` counts the processes that have data in
    /// `directory`.
    pub fn next(&self, directory: &Path, present: Copies, asked: Asked<'_>) -> Result<(Self, Vec<String>), Error> {
        let mut told = Vec::new();
        let mut next = self.clone();
        // Who is in the cluster is agreed upon by its members: fewer would have no majority, others would not be let in.
        next.coordinators = match (present.coordinators, asked.coordinators) {
            (0, wanted) => wanted.unwrap_or(self.coordinators.max(1)),
            (present, Some(wanted)) if wanted != present => {
                return Err(Error::OtherCluster(directory.to_owned(), present, wanted));
            }
            (present, _) => present,
        };
        // Blocks are only on the data nodes that took them.
        next.datanodes = match (present.datanodes, asked.datanodes) {
            (0, wanted) => wanted.unwrap_or(self.datanodes.max(1)),
            (present, Some(wanted)) if wanted < present => {
                return Err(Error::FewerDataNodes(directory.to_owned(), present, wanted));
            }
            (present, Some(wanted)) if wanted > present => {
                told.push(format!("{wanted} data nodes from now on; there were {present}"));
                wanted
            }
            (present, _) => present,
        };
        for word in asked.settings {
            next.set(word, &mut told)?;
        }
        Ok((next, told))
    }

    fn set(&mut self, word: &str, told: &mut Vec<String>) -> Result<(), Error> {
        let bad = || Error::BadSetting(word.to_owned());
        let (name, value) = word.split_once('=').ok_or_else(bad)?;
        let (service, name) = name.split_once('.').ok_or_else(bad)?;
        let row = find(service).filter(|row| row.takes_settings).ok_or_else(bad)?;
        let settings = self.settings.entry(row.name.to_owned()).or_default();
        if value.is_empty() {
            settings.remove(name);
            told.push(format!("{service}: {name} has its default again"));
        } else if settings.insert(name.to_owned(), value.to_owned()).as_deref() != Some(value) {
            told.push(format!("{service}: {name}={value} from now on"));
        }
        self.settings.retain(|_, settings| !settings.is_empty());
        Ok(())
    }
}

/// Says which variable or `bonsai.toml` section would be ignored, because `words` give the option already.
pub fn overruled(path: &str, words: &[String]) -> Option<Error> {
    let flags = words.iter().filter_map(|word| word.strip_prefix("--"));
    let mut overruled = flags.filter(|flag| host::config::is_set(path, flag));
    overruled
        .next()
        .map(|flag| Error::Overruled(path.to_owned(), flag.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Copies = Copies {
        coordinators: 0,
        datanodes: 0,
    };

    fn next(shape: &Shape, present: Copies, asked: Asked<'_>) -> Result<(Shape, Vec<String>), Error> {
        shape.next(Path::new("d"), present, asked)
    }

    #[test]
    fn a_start_that_says_nothing_keeps_the_shape() {
        let asked = Asked {
            datanodes: Some(3),
            settings: &["log-broker.num.partitions=4".to_owned()],
            ..Asked::default()
        };
        let (first, told) = next(&Shape::default(), NONE, asked).unwrap();
        assert_eq!((first.coordinators, first.datanodes), (1, 3));
        assert_eq!(told, ["log-broker: num.partitions=4 from now on"]);
        let (again, told) = next(&first, first.copies(), Asked::default()).unwrap();
        assert_eq!((again, told), (first, Vec::new()));
    }

    #[test]
    fn data_nodes_of_a_stack_without_a_shape_file_are_counted() {
        let present = Copies {
            coordinators: 3,
            datanodes: 2,
        };
        let (found, _) = next(&Shape::default(), present, Asked::default()).unwrap();
        assert_eq!((found.coordinators, found.datanodes), (3, 2));
    }

    #[test]
    fn more_data_nodes_are_told_and_fewer_are_refused() {
        let present = Copies {
            coordinators: 1,
            datanodes: 2,
        };
        let asked = |datanodes| Asked {
            datanodes: Some(datanodes),
            ..Asked::default()
        };
        let (more, told) = next(&Shape::default(), present, asked(3)).unwrap();
        assert_eq!(more.datanodes, 3);
        assert_eq!(told, ["3 data nodes from now on; there were 2"]);
        let refused = next(&Shape::default(), present, asked(1));
        assert!(matches!(refused, Err(Error::FewerDataNodes(_, 2, 1))));
        let (after_a_reset, _) = next(&more, NONE, asked(1)).unwrap();
        assert_eq!(after_a_reset.datanodes, 1);
    }

    #[test]
    fn settings_are_taken_back_and_nonsense_is_refused() {
        let set = |shape: &Shape, word: &str| {
            let settings = [word.to_owned()];
            let asked = Asked {
                settings: &settings,
                ..Asked::default()
            };
            next(shape, NONE, asked).map(|(shape, _)| shape)
        };
        let one = set(&Shape::default(), "namenode.dfs.replication=2").unwrap();
        assert_eq!(one.setting("namenode", "dfs.replication"), Some("2"));
        assert_eq!(
            set(&one, "namenode.dfs.replication=")
                .unwrap()
                .settings_of("namenode")
                .count(),
            0
        );
        for word in ["log-broker", "log-broker.x", "kafka.a=1", "stream.a=1"] {
            assert!(matches!(set(&one, word), Err(Error::BadSetting(_))), "{word}");
        }
    }
}
