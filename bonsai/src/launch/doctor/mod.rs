//! `bonsai doctor`: is this machine fit, does each service serve, is what they keep consistent, and does a short workload come
//! back as it was written?
//!
//! Each check gives findings: what was seen, why it matters, what to do. An error is something that is broken, and makes
//! the exit code 1; a warning will break or slow down something later. Nothing of the user's is changed: the workload has
//! its own topic, directory and keys, and removes them.

mod consistency;
mod environment;
mod replicas;
mod workload;

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::Error;
use super::probe::count;
use super::report::Report;
use super::stack::Stack;
use super::status::duration;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// As a JSON object: `healthy` and the findings.
    #[arg(long)]
    json: bool,
    /// How long the workload runs; 0 leaves it out.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    workload: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Ok,
    Warning,
    Error,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    severity: Severity,
    check: &'static str,
    what: String,
    /// Why it matters; empty if all is well.
    why: String,
    /// What to do; empty if all is well.
    advice: String,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(Severity::Ok, check, what.into(), "", "")
    }

    fn warning(check: &'static str, what: impl Into<String>, why: &str, advice: &str) -> Self {
        Self::new(Severity::Warning, check, what.into(), why, advice)
    }

    fn error(check: &'static str, what: impl Into<String>, why: &str, advice: &str) -> Self {
        Self::new(Severity::Error, check, what.into(), why, advice)
    }

    fn new(severity: Severity, check: &'static str, what: String, why: &str, advice: &str) -> Self {
        Self {
            severity,
            check,
            what,
            why: why.to_owned(),
            advice: advice.to_owned(),
        }
    }
}

/// Runs all checks. True if there is no error among the findings.
pub fn doctor(stack: &Stack, args: &DoctorArgs) -> Result<bool, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::io("cannot start the runtime", error))?;
    let mut findings = Findings {
        as_json: args.json,
        all: Vec::new(),
    };
    findings.add(environment::check(stack)?);
    match stack.running()? {
        None => findings.add(vec![Finding::warning(
            "services",
            format!("nothing is up in {}", stack.directory().display()),
            "services that do not run cannot be examined",
            "start them with `bonsai up --detach`, then run `bonsai doctor` again",
        )]),
        Some(_) => runtime.block_on(async {
            let report = Report::of(stack).await?;
            findings.add(services(&report));
            let ports = stack.ports()?;
            findings.add(consistency::check(stack, &report, &ports).await);
            if !args.workload.is_zero() {
                findings.add(workload::check(&report, &ports, args.workload).await);
            }
            Ok::<(), Error>(())
        })?,
    }
    Ok(findings.finish())
}

/// Printed as they come, since the workload takes its time.
struct Findings {
    as_json: bool,
    all: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, findings: Vec<Finding>) {
        if !self.as_json {
            findings.iter().for_each(print);
        }
        self.all.extend(findings);
    }

    fn finish(self) -> bool {
        let of = |severity| self.all.iter().filter(|finding| finding.severity == severity).count() as u64;
        let (warnings, errors) = (of(Severity::Warning), of(Severity::Error));
        if self.as_json {
            outln!("{:#}", json!({ "healthy": errors == 0, "findings": self.all }));
        } else {
            outln!("\n{}, {}", count(errors, "error"), count(warnings, "warning"));
        }
        errors == 0
    }
}

fn print(finding: &Finding) {
    let severity = match finding.severity {
        Severity::Ok => "ok",
        Severity::Warning => "warning",
        Severity::Error => "ERROR",
    };
    outln!("{severity:8} {:12} {}", finding.check, finding.what);
    for (label, text) in [("why", &finding.why), ("do", &finding.advice)] {
        if !text.is_empty() {
            outln!("{:21} {label}: {text}", "");
        }
    }
}

/// What `status` says, as findings.
fn services(report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in &report.services {
        let name = &service.status.service;
        let advice = format!("see `bonsai logs {name}`");
        match (service.health.reason(), service.answer()) {
            (Some(reason), _) => findings.push(Finding::error(
                "services",
                format!("{name}: {reason}"),
                "its clients are not served, or not fully",
                &advice,
            )),
            (None, answer) => {
                let answered = answer.map_or_else(String::new, |answer| {
                    let ms = answer.elapsed.as_millis();
                    format!(": {} answered in {ms} ms ({})", answer.call, answer.facts.summary)
                });
                findings.push(Finding::ok("services", format!("{name}{answered}")));
            }
        }
        for warning in service.answer().into_iter().flat_map(|answer| &answer.facts.warnings) {
            findings.push(Finding::warning("services", format!("{name}: {warning}"), "", &advice));
        }
        if let (Some(last), restarts @ 1..) = (&service.status.last_exit, service.status.restarts) {
            findings.push(Finding::warning(
                "services",
                format!("{name}: {}, last because it {last}", count(restarts.into(), "restart")),
                "a service that ends by itself ends again",
                &advice,
            ));
        }
    }
    findings
}
