use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Facts, count};
use crate::launch::http;

pub const CALL: &str = "Flink's /jobs/overview";

/// A job, as Flink's REST API lists it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub jid: String,
    pub name: String,
    pub state: String,
    #[serde(rename = "start-time")]
    pub start_time: i64,
    #[serde(rename = "end-time")]
    pub end_time: i64,
    pub duration: i64,
}

#[derive(Debug, Deserialize)]
struct Overview {
    jobs: Vec<Job>,
}

pub async fn ask(address: &str) -> Result<Facts, String> {
    Ok(facts(&jobs(address).await?))
}

/// All jobs that the service remembers.
pub async fn jobs(address: &str) -> Result<Vec<Job>, String> {
    let answer = http::get(address, "jobs/overview").await;
    match answer.map_err(|error| error.to_string())? {
        (200, body) => serde_json::from_str::<Overview>(&body)
            .map(|overview| overview.jobs)
            .map_err(|error| error.to_string()),
        (code, body) => Err(format!("HTTP {code}: {body}")),
    }
}

fn facts(jobs: &[Job]) -> Facts {
    let mut by_state: BTreeMap<String, u64> = BTreeMap::new();
    for job in jobs {
        *by_state.entry(job.state.to_lowercase()).or_default() += 1;
    }
    let words: Vec<String> = by_state
        .iter()
        .map(|(state, number)| format!("{number} {state}"))
        .collect();
    let summary = match words.as_slice() {
        [] => "no jobs".to_owned(),
        words => format!("jobs: {}", words.join(", ")),
    };
    let of = |state: &str| by_state.get(state).copied().unwrap_or(0);
    let (failed, restarting) = (of("failed"), of("restarting"));
    let values: serde_json::Map<String, Value> = by_state
        .iter()
        .map(|(state, number)| (state.clone(), (*number).into()))
        .collect();
    let mut facts = Facts::default().with("jobs", values).summary(summary);
    if failed > 0 {
        facts
            .warnings
            .push(format!("{} failed: `bonsai jobs` shows why", count(failed, "job")));
    }
    // One that ended is a fact of the past; one that cannot go on is what its owner waits for.
    if restarting > 0 {
        facts.problem = Some(format!(
            "{} failing and starting again: `bonsai jobs` shows why",
            count(restarting, "job")
        ));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str) -> Job {
        Job {
            jid: "1".to_owned(),
            name: "x".to_owned(),
            state: state.to_owned(),
            start_time: 1,
            end_time: -1,
            duration: 2,
        }
    }

    #[test]
    fn jobs_are_counted_by_state() {
        assert_eq!(facts(&[]).summary, "no jobs");
        let told = facts(&[job("RUNNING"), job("FAILED"), job("RUNNING")]);
        assert_eq!(told.summary, "jobs: 1 failed, 2 running");
        assert_eq!(told.values["jobs"]["running"], 2);
        assert_eq!((told.problem, told.warnings.len()), (None, 1));
        assert!(facts(&[job("RESTARTING")]).problem.is_some());
    }
}
