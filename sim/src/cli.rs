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
    /// Show one world of actors: a readable trace, or a space-time diagram with vector clocks. Ends with 1 if anything
    /// was violated.
    Show {
        #[arg(long, value_enum)]
        scenario: Scenario,
        #[arg(long)]
        seed: u64,
        /// Draw the space-time diagram as SVG.
        #[arg(long, conflicts_with = "shiviz")]
        svg: bool,
        /// Write the steps for ShiViz.
        #[arg(long)]
        shiviz: bool,
        /// Steps that are drawn.
        #[arg(long, default_value_t = 300)]
        steps: usize,
        /// Plant the fault whose name contains this.
        #[arg(long)]
        fault: Option<String>,
    },
    /// Visit every state of a small world, in all orders of its events. Ends with 1 if anything was violated.
    Explore {
        #[arg(long, value_enum)]
        scenario: Scenario,
        /// States after which it is given up.
        #[arg(long, default_value_t = 2_000_000)]
        states: usize,
        /// Plant the fault whose name contains this.
        #[arg(long)]
        fault: Option<String>,
    },
    /// Print what a world claims about sizes, a row for each.
    Measure {
        #[arg(long, value_enum)]
        scenario: Scenario,
        /// Members, each at least 16. Ten thousand take gigabytes and minutes.
        #[arg(long, value_delimiter = ',', default_values_t = [30, 100, 300, 1_000])]
        sizes: Vec<usize>,
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
        Order::Show {
            scenario,
            seed,
            svg,
            shiviz,
            steps,
            fault,
        } => match show(scenario, seed, (svg, shiviz, steps), fault.as_deref()) {
            Ok(sound) => sound,
            Err(error) => return usage_error(&error),
        },
        Order::Explore {
            scenario,
            states,
            fault,
        } => match explore(scenario, states, fault.as_deref()) {
            Ok(sound) => sound,
            Err(error) => return usage_error(&error),
        },
        Order::Measure { scenario, sizes } => match scenario.measure(&sizes) {
            Some(table) => {
                print!("{table}");
                true
            }
            None => return usage_error(&format!("{} claims nothing about sizes", scenario.name())),
        },
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

fn usage_error(error: &str) -> ExitCode {
    eprintln!("sim: {error}");
    ExitCode::from(2)
}

/// The place of the one fault whose name contains `part`.
fn fault_named(scenario: Scenario, part: Option<&str>) -> Result<Option<usize>, String> {
    let Some(part) = part else { return Ok(None) };
    let faults = scenario.kind().map(|kind| kind.faults()).unwrap_or_default();
    let mut found = faults.iter().enumerate().filter(|(_, (name, _))| name.contains(part));
    match (found.next(), found.next()) {
        (Some((place, _)), None) => Ok(Some(place)),
        _ => {
            let names: Vec<&str> = faults.iter().map(|(name, _)| *name).collect();
            Err(format!(
                "--fault {part:?} names no single fault of {}: it has {names:?}",
                scenario.name()
            ))
        }
    }
}

fn show(
    scenario: Scenario,
    seed: u64,
    (svg, shiviz, steps): (bool, bool, usize),
    fault: Option<&str>,
) -> Result<bool, String> {
    let Some(kind) = scenario.kind() else {
        if svg || shiviz || fault.is_some() {
            return Err(format!(
                "{} has no space-time diagram: show it without --svg, --shiviz and --fault",
                scenario.name()
            ));
        }
        return Ok(replay(scenario, seed, true, false));
    };
    let fault = fault_named(scenario, fault)?;
    let draws = svg || shiviz;
    let trace = if draws { Trace::default() } else { Trace::printing() };
    let (outcome, _, story) = kind.run(seed, trace, fault, draws);
    match story {
        Some(story) if svg => print!("{}", story.svg(steps)),
        Some(story) => print!("{}", story.shiviz()),
        None => {
            for (name, value) in outcome.figures.over(1) {
                println!("{name:<52} {value:>14}");
            }
            let violation = outcome.violation.as_ref().map(ToString::to_string);
            println!("{}", violation.as_deref().unwrap_or("nothing was violated"));
        }
    }
    Ok(outcome.violation.is_none())
}

fn explore(scenario: Scenario, states: usize, fault: Option<&str>) -> Result<bool, String> {
    let fault = fault_named(scenario, fault)?;
    let Some(explored) = scenario.explore(fault, states) else {
        let can: Vec<&str> = Scenario::ALL
            .iter()
            .filter(|scenario| scenario.explore(None, 1).is_some())
            .map(|scenario| scenario.name())
            .collect();
        return Err(format!(
            "{} is too large to be explored; these are not: {can:?}",
            scenario.name()
        ));
    };
    println!(
        "{} states, {} transitions, up to {} steps deep, {}",
        explored.states,
        explored.transitions,
        explored.depth,
        if explored.complete {
            "all there are"
        } else {
            "not all there are"
        }
    );
    let Some(violation) = explored.violation else {
        println!("nothing was violated");
        return Ok(true);
    };
    println!("{violation}");
    for (number, step) in explored.path.iter().enumerate() {
        println!("{:>3}  {step}", number + 1);
    }
    Ok(false)
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
