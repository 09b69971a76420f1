//! What Linux says about a process.

use std::fs;

use crate::Result;

/// Ticks of `/proc/PID/stat` in a second; Linux has shown this many to programs since ever.
const TICKS_PER_SECOND: u64 = 100;

/// The CPU time that a process has taken, in microseconds.
pub fn cpu_micros(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; the numbers come after it.
    let (_, numbers) = stat.rsplit_once(')').ok_or("an unknown form of /proc/PID/stat")?;
    let fields: Vec<&str> = numbers.split_whitespace().collect();
    let ticks = |field: usize| -> Result<u64> { Ok(fields.get(field).ok_or("too short")?.parse()?) };
    // utime and stime, the 14th and 15th field of the whole line.
    Ok((ticks(11)? + ticks(12)?) * (1_000_000 / TICKS_PER_SECOND))
}

/// Resident memory in bytes: all of it, and without what is mapped from files.
pub fn resident_bytes(pid: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes: u64 = line
            .and_then(|line| line.split_whitespace().next())
            .ok_or_else(|| format!("/proc/{pid}/status has no {name}"))?
            .parse()?;
        Ok(kilobytes << 10)
    };
    Ok((field("VmRSS:")?, field("RssAnon:")?))
}
