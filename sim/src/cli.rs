//! The program's arguments.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};

use crate::planted;
use crate::scenario::Scenario;
use crate::soak::soak;
use crate::world::{SECOND, Trace};

/// Whole clusters in one thread, broken on purpose, replayed by a seed.
#[derive(Debug, Parser)]
#[command(name = "sim", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Run many worlds and print what was done to them. Ends with 1 if anything was violated.
    Soak {
        #[arg(long, value_enum)]
        scenario: Scenario,
        /// How long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// The first world's seed; by default the time, so that every soak is another.
        #[arg(long)]
        from: Option<u64>,
        /// Print one JSON object instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// Run one world again. Ends with 1 if anything was violated.
    Replay {
        #[arg(long, value_enum)]
        scenario: Scenario,
        #[arg(long)]
        seed: u64,
        /// Print everything that happens.
        #[arg(long)]
        trace: bool,
        /// Print one JSON object at the end.
        #[arg(long)]
        json: bool,
    },
    /// Plant known faults, one after the other, and say what caught each. Ends with 1 if one got away.
    Planted {
        /// Only those whose name contains this.
        #[arg(long)]
        only: Option<String>,
        #[arg(long)]
        json: bool,
    },
}

/// The program's entry point.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A panic of the code under test is reported as a violation, with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let sound = match Arguments::parse_from(argv).order {
        Order::Soak {
            scenario,
            seconds,
            from,
            json,
        } => {
            let first_seed = from.unwrap_or_else(seed_of_now);
            let sums = soak(scenario, first_seed, Duration::from_secs(seconds), !json);
            if json {
                println!("{}", sums.json());
            } else {
                print!("{}", sums.table());
            }
            sums.violations.is_empty()
        }
        Order::Replay {
            scenario,
            seed,
            trace,
            json,
        } => replay(scenario, seed, trace, json),
        Order::Planted { only, json } => match planted::run_all(only.as_deref(), json) {
            Some(all_caught) => all_caught,
            None => {
                eprintln!("sim: no planted fault has {:?} in its name", only.unwrap_or_default());
                return ExitCode::from(2);
            }
        },
    };
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Microseconds, so that two soaks that begin in one second differ.
pub fn seed_of_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as u64
}

fn replay(scenario: Scenario, seed: u64, trace: bool, json: bool) -> bool {
    let told = if trace { Trace::printing() } else { Trace::default() };
    let (outcome, _) = scenario.run(seed, told);
    let violation = outcome.violation.as_ref().map(ToString::to_string);
    if json {
        let report = serde_json::json!({
            "scenario": scenario.name(),
            "seed": seed,
            "digest": format!("{:016x}", outcome.digest),
            "steps": outcome.steps,
            "simulated_seconds": outcome.simulated as f64 / SECOND as f64,
            "violation": violation,
        });
        println!("{report}");
    } else {
        println!(
            "seed {seed}: {} steps in {:.1} simulated seconds, {} of {} operations answered, digest {:016x}",
            outcome.steps,
            outcome.simulated as f64 / SECOND as f64,
            outcome.answered,
            outcome.operations,
            outcome.digest
        );
        println!("{}", violation.as_deref().unwrap_or("nothing was violated"));
    }
    violation.is_none()
}
