//! Flags of etcd that are not obeyed: those that tune parts which are not here, and those that are refused.
//!
//! The first kind changes nothing that can be seen from outside (how often etcd commits to bbolt, how many of its files it
//! keeps): existing scripts pass them, so they are accepted, and the log names them. The second kind asks for something that
//! is not served. Going on without it would be a wrong answer, so a start with one ends, unless its value asks for nothing.
//! Flags that are on neither list nor obeyed are unknown, and refused as such.

/// Declares both lists: flags that tune, and flags that are refused, with the values that ask for nothing and the way out.
macro_rules! other_flags {
    (tuning { $($tuning:ident,)* } refused { $($refused:ident: $harmless:expr, $instead:literal;)* }) => {
        /// Flags of etcd that are not obeyed.
        #[derive(Debug, Clone, clap::Args)]
        pub(in crate::server) struct OtherFlags {
            $(#[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")] $tuning: Option<String>,)*
            $(#[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")] $refused: Option<String>,)*
        }

        impl OtherFlags {
            /// The flags that were given and tune what is not here.
            ///
            /// # Errors
            /// One sentence that names a flag, or a variable of the environment, that asks for what is not served.
            pub(in crate::server) fn check(&self) -> Result<Vec<String>, String> {
                self.check_with(|variable| std::env::var(variable).ok())
            }

            fn check_with(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
                $(refuse(stringify!($refused), &self.$refused, &$harmless, $instead, &environment)?;)*
                let tuning = [$((stringify!($tuning), &self.$tuning)),*];
                let given = tuning.into_iter().filter(|(_, value)| value.is_some());
                Ok(given.map(|(name, _)| flag(name)).collect())
            }
        }
    };
}

fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

fn refuse(
    name: &str,
    given: &Option<String>,
    harmless: &[&str],
    instead: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let variable = format!("ETCD_{}", name.to_uppercase());
    let (said, value) = match given {
        Some(value) => (flag(name), value.clone()),
        None => match environment(&variable) {
            Some(value) => (variable, value),
            None => return Ok(()),
        },
    };
    if harmless.contains(&value.as_str()) {
        return Ok(());
    }
    Err(format!("{said}={value} is not supported: {instead}"))
}

other_flags! {
    tuning {
        snapshot_count, max_snapshots, max_wals, compaction_batch_limit, compaction_sleep_interval,
        backend_batch_interval, backend_batch_limit, backend_bbolt_freelist_type,
        // As in Go, listeners always have SO_REUSEADDR.
        socket_reuse_address,
        initial_election_tick_advance, downgrade_check_time, v2_deprecation, txn_mode_write_with_shared_buffer,
        distributed_tracing_address, distributed_tracing_service_name, distributed_tracing_instance_id,
        distributed_tracing_sampling_rate,
    }
    refused {
        discovery: [""], "there is no discovery service; name all members in --initial-cluster";
        discovery_proxy: [""], "there is no discovery service; name all members in --initial-cluster";
        discovery_fallback: ["", "exit"], "there is no discovery service; name all members in --initial-cluster";
        discovery_endpoints: [""], "there is no discovery service; name all members in --initial-cluster";
        discovery_token: [""], "there is no discovery service; name all members in --initial-cluster";
        discovery_srv: [""], "members are not looked up in DNS; name all of them in --initial-cluster";
        discovery_srv_name: [""], "members are not looked up in DNS; name all of them in --initial-cluster";
        discovery_cert: [""], "there is no discovery service; name all members in --initial-cluster";
        discovery_key: [""], "there is no discovery service; name all members in --initial-cluster";
        discovery_cacert: [""], "there is no discovery service; name all members in --initial-cluster";
        discovery_user: [""], "there is no discovery service; name all members in --initial-cluster";
        discovery_password: [""], "there is no discovery service; name all members in --initial-cluster";
        logger: ["zap"], "only etcd's own format is there, `zap`";
        enable_log_rotation: ["false"], "rotate the files of --log-outputs with another program, such as logrotate";
        log_rotation_config_json: [""], "rotate the files of --log-outputs with another program, such as logrotate";
        enable_pprof: ["false"], "Go's profiles do not exist here; use perf";
        enable_distributed_tracing: ["false"], "traces are not exported";
        memory_mlock: ["false"], "memory is not locked; turn swap off for this process with systemd's MemorySwapMax=0";
        grpc_keepalive_min_time: [""], "pings of clients are not limited; leave the flag out";
        enable_lease_checkpoint: ["true"], "checkpoints of leases are always made; leave the flag out";
        enable_lease_checkpoint_persist: ["true"], "checkpoints of leases are always kept; leave the flag out";
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        other: OtherFlags,
    }

    fn check(flags: &[&str], environment: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let argv = ["program"].iter().chain(flags);
        let program = Program::try_parse_from(argv).expect("they are known");
        program.other.check_with(|name| {
            let found = environment.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn tuning_is_accepted_and_named() {
        let given = check(&["--snapshot-count=10000", "--max-wals", "5", "--logger=zap"], &[]);
        assert_eq!(given, Ok(vec!["--snapshot-count".to_owned(), "--max-wals".to_owned()]));
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        for flag in [
            "--discovery=https://discovery.etcd.io/x",
            "--discovery-endpoints=http://h:1",
            "--discovery-token=x",
            "--discovery-srv=example.org",
            "--logger=capnslog",
            "--enable-log-rotation",
            "--enable-pprof=true",
            "--enable-distributed-tracing",
            "--memory-mlock",
            "--grpc-keepalive-min-time=5s",
            "--enable-lease-checkpoint=false",
        ] {
            let refusal = check(&[flag], &[]).expect_err(flag);
            let name = flag.split('=').next().expect("a flag");
            assert!(refusal.starts_with(name), "{refusal}");
        }
        let refusal = check(&[], &[("ETCD_DISCOVERY", "https://discovery.etcd.io/x")]);
        assert!(refusal.expect_err("refused").starts_with("ETCD_DISCOVERY="));
    }

    #[test]
    fn a_value_that_asks_for_nothing_is_accepted() {
        for flag in ["--discovery=", "--enable-pprof=false", "--memory-mlock=false"] {
            assert_eq!(check(&[flag], &[]), Ok(vec![]), "{flag}");
        }
    }
}
