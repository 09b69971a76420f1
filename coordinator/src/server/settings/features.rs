//! Feature gates, and the flags of what they switch: whether members compare their keys ([`crate::server::replica::corruption`]).

use std::time::Duration;

/// etcd's gates, and which of its stages each is in.
const GATES: [(&str, &str); 7] = [
    (COMPACT, ALL_ALPHA),
    (INITIAL, ALL_ALPHA),
    ("LeaseCheckpoint", ALL_ALPHA),
    ("LeaseCheckpointPersist", ALL_ALPHA),
    ("SetMemberLocalAddr", ALL_ALPHA),
    (STOP_ON_DEFRAGMENTATION, ALL_ALPHA),
    ("TxnModeWriteWithSharedBuffer", ALL_BETA),
];
const COMPACT: &str = "CompactHashCheck";
const INITIAL: &str = "InitialCorruptCheck";
const STOP_ON_DEFRAGMENTATION: &str = "StopGRPCServiceOnDefrag";
/// Gates that have one value here, and what to do about it.
const FIXED: [(&str, bool, &str); 3] = [
    (
        "LeaseCheckpoint",
        true,
        "checkpoints of leases are always made; leave the gate out",
    ),
    (
        "LeaseCheckpointPersist",
        true,
        "checkpoints of leases are always kept; leave the gate out",
    ),
    (
        "SetMemberLocalAddr",
        false,
        "the system chooses the address that peers are connected from",
    ),
];
/// All gates of a stage that are not named themselves.
const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

/// etcd's flags about features and checks.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::server) struct FeatureArguments {
    /// Feature gates: comma-separated NAME=true|false pairs. Implemented: InitialCorruptCheck, CompactHashCheck,
    /// StopGRPCServiceOnDefrag.
    #[arg(long, value_name = "NAME=BOOL", env = "ETCD_FEATURE_GATES", hide_env = true)]
    feature_gates: Option<String>,
    /// Check for data corruption before serving: compare the keys' hash with the other members' and exit if they differ.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
        env = "ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK", hide_env = true)]
    initial_corrupt_check: Option<bool>,
    /// Interval of the cluster corruption check, such as 10m; 0 disables it. A member that differs gets the CORRUPT alarm.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = crate::duration::parse,
        env = "ETCD_CORRUPT_CHECK_TIME", hide_env = true)]
    corrupt_check_time: Duration,
    /// Compare compaction hashes between members; set it on all members.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
        env = "ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED", hide_env = true)]
    compact_hash_check_enabled: Option<bool>,
    /// Report NOT_SERVING in the gRPC health service during defragmentation.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
        env = "ETCD_EXPERIMENTAL_STOP_GRPC_SERVICE_ON_DEFRAG", hide_env = true)]
    stop_grpc_service_on_defrag: Option<bool>,
    /// Interval at which the leader compares compaction hashes.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = crate::duration::parse,
        env = "ETCD_COMPACT_HASH_CHECK_TIME", hide_env = true)]
    compact_hash_check_time: Duration,
}

/// When members compare their keys, and what else a gate switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::server) struct Checks {
    pub(in crate::server) initial: bool,
    pub(in crate::server) interval: Option<Duration>,
    /// How often compactions are looked at.
    pub(in crate::server) compactions: Option<Duration>,
    pub(in crate::server) stops_on_defragmentation: bool,
}

impl Checks {
    /// With it, the gates that were given and say nothing here. `Err` is one sentence, with etcd's words where it has some.
    pub(in crate::server) fn from_arguments(arguments: &FeatureArguments) -> Result<(Self, Vec<String>), String> {
        let given = gates(arguments.feature_gates.as_deref().unwrap_or_default())?;
        if arguments.compact_hash_check_time.is_zero() {
            return Err("--compact-hash-check-time must be >0 (set to 0s)".to_owned());
        }
        let is_on = |gate: &str, flag: &str, by_flag: Option<bool>| {
            let by_gate = value_of(gate, &given);
            match (by_flag, given.iter().any(|(name, _)| name == gate)) {
                (Some(by_flag), true) => {
                    let by_gate = by_gate.unwrap_or_default();
                    Err(format!(
                        "cannot specify both flags: --{flag}={by_flag} and --feature-gates={gate}={by_gate} at the same time, \
                         please just use --feature-gates={gate}={by_gate}"
                    ))
                }
                _ => Ok(by_flag.or(by_gate).unwrap_or(false)),
            }
        };
        let initial = is_on(
            INITIAL,
            "experimental-initial-corrupt-check",
            arguments.initial_corrupt_check,
        )?;
        let compact = is_on(
            COMPACT,
            "experimental-compact-hash-check-enabled",
            arguments.compact_hash_check_enabled,
        )?;
        let stops_on_defragmentation = is_on(
            STOP_ON_DEFRAGMENTATION,
            "experimental-stop-grpc-service-on-defrag",
            arguments.stop_grpc_service_on_defrag,
        )?;
        for (gate, served, instead) in FIXED {
            if given.iter().any(|(name, on)| name == gate && *on != served) {
                return Err(format!(
                    "--feature-gates={gate}={} is not supported: {instead}",
                    !served
                ));
            }
        }
        let checks = Self {
            stops_on_defragmentation,
            initial,
            interval: Some(arguments.corrupt_check_time).filter(|time| !time.is_zero()),
            compactions: compact.then_some(arguments.compact_hash_check_time),
        };
        let obeyed = [INITIAL, COMPACT, STOP_ON_DEFRAGMENTATION, ALL_ALPHA];
        let others = given.into_iter().filter(|(name, _)| !obeyed.contains(&name.as_str()));
        Ok((
            checks,
            others
                .map(|(name, on)| format!("--feature-gates={name}={on}"))
                .collect(),
        ))
    }
}

/// What was said of each gate.
fn gates(text: &str) -> Result<Vec<(String, bool)>, String> {
    let wrong = |reason: String| format!("--feature-gates={text}: {reason}");
    let mut gates = Vec::new();
    for gate in text.split(',').filter(|gate| !gate.is_empty()) {
        let (name, value) = gate.split_once('=').unwrap_or((gate, ""));
        let (name, value) = (name.trim(), value.trim());
        if value.is_empty() {
            return Err(wrong(format!("missing bool value for {name}")));
        }
        let on = match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => {
                return Err(wrong(format!(
                    "invalid value of {name}={value}, err: it is `true` or `false`"
                )));
            }
        };
        let is_known = GATES.iter().any(|(known, _)| *known == name) || [ALL_ALPHA, ALL_BETA].contains(&name);
        if !is_known {
            return Err(wrong(format!("unrecognized feature gate: {name}")));
        }
        gates.push((name.to_owned(), on));
    }
    Ok(gates)
}

/// What was said of `gate`, or of all of its stage.
fn value_of(gate: &str, given: &[(String, bool)]) -> Option<bool> {
    let said = |of: &str| given.iter().rev().find(|(name, _)| name == of).map(|(_, on)| *on);
    let stage = GATES.iter().find(|(name, _)| *name == gate).map(|(_, stage)| *stage);
    said(gate).or_else(|| stage.and_then(said))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        features: FeatureArguments,
    }

    fn checks(flags: &[&str]) -> Result<(Checks, Vec<String>), String> {
        let argv = ["program"].iter().chain(flags);
        let program = Program::try_parse_from(argv).map_err(|error| error.to_string())?;
        Checks::from_arguments(&program.features)
    }

    #[test]
    fn nothing_is_compared_unless_it_is_asked_for() {
        assert_eq!(checks(&[]), Ok((Checks::default(), vec![])));
        let all = Checks {
            initial: true,
            interval: Some(Duration::from_secs(90)),
            compactions: Some(Duration::from_secs(60)),
            stops_on_defragmentation: false,
        };
        let gates = "--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true,TxnModeWriteWithSharedBuffer=false";
        assert_eq!(
            checks(&[gates, "--corrupt-check-time=1m30s"]),
            Ok((
                all,
                vec!["--feature-gates=TxnModeWriteWithSharedBuffer=false".to_owned()]
            ))
        );
        let flags = [
            "--initial-corrupt-check",
            "--compact-hash-check-enabled=true",
            "--corrupt-check-time=1m30s",
        ];
        assert_eq!(checks(&flags), Ok((all, vec![])));
        let most = checks(&["--feature-gates=AllAlpha=true,CompactHashCheck=false"]).expect("known");
        assert!(most.0.initial && most.0.compactions.is_none());
    }

    #[test]
    fn gates_are_refused_with_etcds_words() {
        for (flags, words) in [
            (
                vec!["--feature-gates=LeaseCheckpoint=false"],
                "LeaseCheckpoint=false is not supported",
            ),
            (
                vec!["--feature-gates=SetMemberLocalAddr=true"],
                "SetMemberLocalAddr=true is not supported",
            ),
            (vec!["--feature-gates=Magic=true"], "unrecognized feature gate: Magic"),
            (
                vec!["--feature-gates=CompactHashCheck"],
                "missing bool value for CompactHashCheck",
            ),
            (
                vec!["--feature-gates=CompactHashCheck=perhaps"],
                "invalid value of CompactHashCheck=perhaps",
            ),
            (
                vec!["--compact-hash-check-time=0"],
                "--compact-hash-check-time must be >0",
            ),
            (
                vec!["--initial-corrupt-check", "--feature-gates=InitialCorruptCheck=true"],
                "cannot specify both flags",
            ),
        ] {
            let refusal = checks(&flags).expect_err(words);
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
