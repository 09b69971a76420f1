//! What every process tells about itself, under Prometheus' usual names, from Linux' `/proc`.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Opts};

/// Clock ticks a second in `/proc/self/stat`: the same on every Linux that programs can see.
const TICKS_PER_SECOND: f64 = 100.0;
/// Where user and system time stand in it, counted behind the program's name.
const USER_TICKS_AT: usize = 11;

#[derive(Debug)]
pub(super) struct Process {
    resident: Gauge,
    cpu: Gauge,
    descriptors: Gauge,
}

impl Process {
    pub fn new() -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| Gauge::with_opts(Opts::new(name, help));
        Ok(Self {
            resident: gauge("process_resident_memory_bytes", "Resident memory, in bytes.")?,
            cpu: gauge("process_cpu_seconds_total", "User and system time spent, in seconds.")?,
            descriptors: gauge("process_open_fds", "Open file descriptors.")?,
        })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        [&self.resident, &self.cpu, &self.descriptors]
            .into_iter()
            .flat_map(Collector::desc)
            .collect()
    }

    /// Leaves out what this system does not tell.
    fn collect(&self) -> Vec<MetricFamily> {
        let values = [
            (&self.resident, resident_bytes()),
            (&self.cpu, cpu_seconds()),
            (&self.descriptors, descriptors()),
        ];
        let known = values.into_iter().filter_map(|(gauge, value)| {
            gauge.set(value?);
            Some(gauge.collect())
        });
        known.flatten().collect()
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name is in parentheses, and may hold any.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(USER_TICKS_AT)? + ticks(USER_TICKS_AT + 1)?) / TICKS_PER_SECOND)
}

fn descriptors() -> Option<f64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the listing itself.
    Some(entries.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_all_three() {
        let gathered = Process::new().unwrap().collect();
        let value = |name: &str| {
            let family = gathered.iter().find(|family| family.name() == name).unwrap();
            family.get_metric()[0].get_gauge().get_value()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_open_fds") >= 3.0);
    }
}
