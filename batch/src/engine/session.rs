//! Sessions, and the limits that they share.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::catalog::CatalogProviderList;
use datafusion::common::format::ExplainFormat;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::{formats, join, tables};
use crate::Error;
use crate::spatial::functions;

/// An error about memory names this many of the largest consumers.
const CONSUMERS_NAMED: usize = 5;

/// The part of a sort's share of the memory that is set aside for merging: one in this many.
const SORT_SHARE_OF_MERGE: usize = 4;

/// What the command line can set.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Shared by all operators; those that can, spill when it is used up. `None`: no limit.
    pub memory_limit: Option<Memory>,
    /// Where spilled data goes; the system's temporary directory otherwise.
    pub spill: Option<PathBuf>,
    /// Threads of work a stage, and cells of the spatial partitioner.
    pub partitions: Option<usize>,
}

/// A number of bytes: `512MB`, `2GB`, `1.5GiB`, `64KB` (K, M, G are powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub usize);

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Memory, String> {
        let bad = || format!("'{text}' is no amount of memory: write for example 512MB or 2GB");
        let upper = text.trim().to_ascii_uppercase();
        let digits = upper.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match upper[digits.len()..].trim_end_matches('B').trim_end_matches('I') {
            "" => 1u64,
            "K" => 1 << 10,
            "M" => 1 << 20,
            "G" => 1 << 30,
            "T" => 1 << 40,
            _ => return Err(bad()),
        };
        let number: f64 = digits.trim().parse().map_err(|_| bad())?;
        let bytes = number * unit as f64;
        if !(bytes >= 1.0 && bytes <= u64::MAX as f64 / 2.0) {
            return Err(bad());
        }
        Ok(Memory(bytes as usize))
    }
}

/// What all sessions of one engine share: memory, spill files, stores, tables.
pub struct Shared {
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    catalogs: Arc<dyn CatalogProviderList>,
}

impl Shared {
    pub fn open(options: &Options) -> Result<Shared, Error> {
        let mut config = SessionConfig::new()
            .with_information_schema(true)
            .with_option_extension(join::Options::default());
        if let Some(partitions) = options.partitions {
            config = config.with_target_partitions(partitions.max(1));
            config.options_mut().extensions.insert(join::Options {
                partitions: partitions.max(1),
            });
        }
        // One line an operator: the drawn boxes of the default have no room for a condition.
        config.options_mut().explain.format = ExplainFormat::Indent;
        let mut disk = DiskManagerBuilder::default();
        if let Some(spill) = &options.spill {
            disk = disk.with_mode(DiskManagerMode::Directories(vec![spill.clone()]));
        }
        let mut runtime = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(disk)
            .with_object_store_registry(Arc::new(tables::Stores::default()));
        if let Some(Memory(bytes)) = options.memory_limit {
            // What each sort sets aside to merge what it has spilled must leave it room to sort.
            let share = bytes / config.target_partitions().max(1) / SORT_SHARE_OF_MERGE;
            let reserved = &mut config.options_mut().execution.sort_spill_reservation_bytes;
            *reserved = share.min(*reserved);
            let named = std::num::NonZeroUsize::new(CONSUMERS_NAMED).unwrap_or(std::num::NonZeroUsize::MIN);
            runtime = runtime.with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(bytes), named)));
        }
        let runtime = runtime.build_arc()?;
        // The first state makes the default catalogue, which all sessions then have in common.
        let state = SessionStateBuilder::new()
            .with_config(config.clone())
            .with_runtime_env(Arc::clone(&runtime))
            .build();
        let catalogs = Arc::clone(state.catalog_list());
        Ok(Shared {
            config: config.with_create_default_catalog_and_schema(false),
            runtime,
            catalogs,
        })
    }

    /// A session with the settings that the engine started with.
    pub fn session(&self) -> SessionContext {
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(self.config.clone())
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_catalog_list(Arc::clone(&self.catalogs));
        let mut state = join::install(state).build();
        // A format that is there can always be replaced.
        if let Err(error) = formats::install(&mut state) {
            tracing::error!(%error, "the file formats");
        }
        let context = SessionContext::new_with_state(state);
        functions::scalars()
            .into_iter()
            .for_each(|function| context.register_udf(function));
        for function in functions::aggregates() {
            context.register_udaf(Arc::unwrap_or_clone(function));
        }
        tables::with_files(context)
    }
}

/// The part of the machine's memory that a server takes when it is not told a limit.
const SERVER_MEMORY_SHARE: f64 = 0.5;
/// Where the machine does not say what it has.
const SERVER_MEMORY_UNKNOWN: usize = 1 << 30;

impl Memory {
    /// The default of a server: half of what the machine, or the control group it runs in, has.
    pub fn of_server() -> Memory {
        let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kilobytes << 10)
        });
        let group = [
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ];
        let group = group
            .into_iter()
            .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
        let has = [total, group].into_iter().flatten().min();
        Memory(has.map_or(SERVER_MEMORY_UNKNOWN, |bytes: usize| {
            (bytes as f64 * SERVER_MEMORY_SHARE) as usize
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_its_unit() {
        for (text, bytes) in [
            ("512MB", 512 << 20),
            ("2g", 2 << 30),
            ("1.5KiB", 1536),
            ("100", 100),
            ("64 K", 65536),
        ] {
            assert_eq!(text.parse(), Ok(Memory(bytes)), "{text}");
        }
        for text in ["", "MB", "-1MB", "5 apples", "0", "1e99G"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
    }
}
