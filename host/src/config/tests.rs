use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::*;

#[derive(Debug, Parser)]
struct Broker {
    /// Where its files are.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, default_value = "127.0.0.1:9092")]
    listen: std::net::SocketAddr,
    #[arg(long)]
    advertise: Option<String>,
    #[arg(long = "set")]
    settings: Vec<String>,
    #[arg(long)]
    fast: bool,
    #[command(flatten)]
    telemetry: crate::telemetry::Options,
}

#[derive(Debug, Parser)]
struct Dfs {
    #[command(subcommand)]
    node: Node,
    #[command(flatten)]
    telemetry: crate::telemetry::Options,
}

#[derive(Debug, Subcommand)]
enum Node {
    Namenode(Namenode),
    Datanode {
        #[arg(long)]
        namenode: String,
    },
}

#[derive(Debug, Args)]
struct Namenode {
    #[arg(long, default_value = "127.0.0.1:8020")]
    rpc: String,
    file: Option<String>,
}

/// Variables as `NAME=VALUE`, and the text of the file, if there is one.
fn surroundings(variables: &[&str], file: Option<&str>) -> Surroundings {
    let variables: BTreeMap<_, _> = variables
        .iter()
        .map(|text| text.split_once('=').unwrap())
        .map(|(k, v)| (k.to_owned(), v.into()))
        .collect();
    let file = file.map(|text| file::ConfigFile::parse("/etc/bonsai.toml".into(), text).unwrap());
    Surroundings { variables, file }
}

fn outcome<A: Parser>(service: &str, argv: &str, surroundings: &Surroundings) -> Result<Result<A, String>, Refused> {
    let argv: Vec<OsString> = argv.split(' ').map(OsString::from).collect();
    Ok(match parse_in(A::command(), service, &argv, surroundings)? {
        Outcome::Matches(matches) => Ok(A::from_arg_matches(&matches)?),
        Outcome::Printed(text) => Err(text),
    })
}

fn parsed<A: Parser>(service: &str, argv: &str, surroundings: &Surroundings) -> A {
    outcome(service, argv, surroundings).unwrap().unwrap()
}

fn printed<A: Parser + std::fmt::Debug>(service: &str, argv: &str, surroundings: &Surroundings) -> String {
    outcome::<A>(service, argv, surroundings).unwrap().unwrap_err()
}

/// The one sentence in which it is refused.
fn refused<A: Parser + std::fmt::Debug>(service: &str, argv: &str, surroundings: &Surroundings) -> String {
    match outcome::<A>(service, argv, surroundings) {
        Err(Refused::Layer(message)) => message,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_first_layer_that_speaks_wins() {
    let file = Some("[log-broker]\nlisten = '127.0.0.1:3'\ndata = '/file'\n");
    let all = surroundings(&["BONSAI_LOG_BROKER_LISTEN=127.0.0.1:2"], file);
    let port = |argv, surroundings: &Surroundings| parsed::<Broker>("log-broker", argv, surroundings).listen.port();
    assert_eq!(port("b --listen 127.0.0.1:1", &all), 1);
    assert_eq!(port("b", &all), 2);
    assert_eq!(port("b", &surroundings(&[], file)), 3);
    assert_eq!(port("b --data /x", &surroundings(&[], None)), 9092);
    assert_eq!(
        parsed::<Broker>("log-broker", "b", &all).data,
        PathBuf::from("/file"),
        "also what is required"
    );
}

#[test]
fn print_config_tells_each_origin() {
    let file = Some("log-level = 'warn'\n[log-broker]\ndata = '/file'\n[log-broker.set]\n'a.b' = 1\nc = true\n");
    let around = surroundings(&["BONSAI_LOG_BROKER_FAST=true", "BONSAI_LOG_FORMAT=json"], file);
    let text = printed::<Broker>("log-broker", "b --listen 127.0.0.1:1 --print-config", &around);
    let expected = "\
data = /file             (file /etc/bonsai.toml [log-broker])
listen = 127.0.0.1:1     (flag)
advertise =              (not set)
set = a.b=1 c=true       (file /etc/bonsai.toml [log-broker])
fast = true              (environment BONSAI_LOG_BROKER_FAST)
log-format = json        (environment BONSAI_LOG_FORMAT)
log-level = warn         (file /etc/bonsai.toml)
";
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeeze(&text), squeeze(expected), "{text}");
    let text = printed::<Broker>("log-broker", "b --print-config", &surroundings(&[], None));
    assert!(
        text.starts_with("data =  "),
        "what is required and missing is shown, not demanded: {text}"
    );
    assert!(text.contains("fast = false") && text.contains("(default)"));
}

#[test]
fn subcommands_have_sections_of_their_own() {
    let file = Some("[dfs.namenode]\nrpc = 'a:1'\n[dfs.datanode]\nnamenode = 'b:2'\n[dfs]\nlog-level = 'debug'\n");
    let around = surroundings(&[], file);
    let dfs = parsed::<Dfs>("dfs", "dfs namenode", &around);
    assert!(
        matches!(&dfs.node, Node::Namenode(Namenode { rpc, .. }) if rpc == "a:1"),
        "{dfs:?}"
    );
    assert_eq!(dfs.telemetry.log_level, "debug");
    let dfs = parsed::<Dfs>("dfs", "dfs datanode", &around);
    assert!(
        matches!(&dfs.node, Node::Datanode { namenode } if namenode == "b:2"),
        "{dfs:?}"
    );
    let around = surroundings(
        &["BONSAI_DFS_NAMENODE_RPC=c:3", "BONSAI_DFS_NAMENODE_LOG_LEVEL=trace"],
        file,
    );
    let dfs = parsed::<Dfs>("dfs", "dfs namenode", &around);
    assert!(
        matches!(&dfs.node, Node::Namenode(Namenode { rpc, .. }) if rpc == "c:3"),
        "{dfs:?}"
    );
    assert_eq!(dfs.telemetry.log_level, "trace");
    let text = printed::<Dfs>("dfs", "dfs namenode --print-config", &around);
    assert!(
        text.contains("rpc = c:3") && text.contains("(environment BONSAI_DFS_NAMENODE_RPC)"),
        "{text}"
    );
    let text = printed::<Dfs>("dfs", "dfs --print-config namenode --rpc d:4", &around);
    assert!(text.contains("rpc = d:4") && text.contains("(flag)"), "{text}");
}

#[test]
fn a_command_may_be_named_by_its_whole_path() {
    #[derive(Debug, Parser)]
    struct Alone {
        #[arg(long, default_value = "none")]
        rpc: String,
    }
    let around = surroundings(&[], Some("[dfs.namenode]\nrpc = 'a:1'\n"));
    assert_eq!(parsed::<Alone>("dfs namenode", "namenode", &around).rpc, "a:1");
    let around = surroundings(&["BONSAI_DFS_NAMENODE_RPC=b:2"], None);
    assert_eq!(parsed::<Alone>("dfs namenode", "namenode", &around).rpc, "b:2");
}

#[test]
fn repeated_flags_take_several_values() {
    let around = surroundings(&["BONSAI_LOG_BROKER_SET=a=1;b=2", "BONSAI_LOG_BROKER_DATA=/x"], None);
    assert_eq!(parsed::<Broker>("log-broker", "b", &around).settings, ["a=1", "b=2"]);
    assert_eq!(
        parsed::<Broker>("log-broker", "b --set c=3", &around).settings,
        ["c=3"],
        "a flag replaces them"
    );
    let around = surroundings(&[], Some("[log-broker]\ndata='/x'\nset = ['a=1', 'b=2']\n"));
    assert_eq!(parsed::<Broker>("log-broker", "b", &around).settings, ["a=1", "b=2"]);
}

#[test]
fn mistakes_are_refused_by_name_and_place() {
    let around = |text| surroundings(&[], Some(text));
    let message = refused::<Broker>("log-broker", "b", &around("[log-broker]\nlistn = 'x'\n"));
    assert!(
        message.starts_with("/etc/bonsai.toml [log-broker]: listn: there is no such option"),
        "{message}"
    );
    assert!(message.contains("listen"), "{message}");
    let message = refused::<Broker>("log-broker", "b", &around("listen = 'x'\n"));
    assert!(
        message.starts_with("/etc/bonsai.toml: listen: there is no such option"),
        "{message}"
    );
    let message = refused::<Dfs>("dfs", "dfs namenode", &around("[dfs]\nrpc = 'x'\n"));
    assert!(
        message.starts_with("/etc/bonsai.toml [dfs]: rpc: there is no such option"),
        "{message}"
    );
    let message = refused::<Broker>("log-broker", "b", &around("log-broker = 3\n"));
    assert!(message.contains("log-broker: it must be a section"), "{message}");
    let message = refused::<Broker>("log-broker", "b", &around("[log-broker]\nlisten = 'nonsense'\n"));
    assert!(
        message.starts_with("file /etc/bonsai.toml [log-broker]: listen: invalid value 'nonsense'"),
        "{message}"
    );
    let message = refused::<Broker>("log-broker", "b", &around("[log-broker]\nlisten = ['a', 'b']\n"));
    assert!(message.contains("listen: it takes one value"), "{message}");
    let message = refused::<Broker>("log-broker", "b", &around("[log-broker]\nfast = 3\n"));
    assert!(message.contains("fast: it must be true or false"), "{message}");
    let message = refused::<Broker>("log-broker", "b", &surroundings(&["BONSAI_LOG_BROKER_LISTEN=x"], None));
    assert!(
        message.starts_with("environment BONSAI_LOG_BROKER_LISTEN: listen: invalid value 'x'"),
        "{message}"
    );
}

#[test]
fn other_sections_are_other_peoples() {
    let around = surroundings(&[], Some("[coordinator]\nanything = 1\n[log-broker]\ndata = '/x'\n"));
    assert_eq!(parsed::<Broker>("log-broker", "b", &around).data, PathBuf::from("/x"));
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let error = file::ConfigFile::parse("/etc/bonsai.toml".into(), "[log-broker]\nlisten = \n").unwrap_err();
    assert!(
        matches!(&error, Refused::Layer(message) if message.starts_with("/etc/bonsai.toml, line 2:")),
        "{error:?}"
    );
}

#[test]
fn help_works_with_a_broken_file() {
    let around = surroundings(&[], Some("[log-broker]\nlistn = 1\n"));
    let Err(Refused::Clap(error)) = outcome::<Broker>("log-broker", "b --help", &around) else {
        panic!()
    };
    assert_eq!(error.exit_code(), 0);
    let text = error.render().to_string();
    assert!(
        text.contains("BONSAI_LOG_BROKER_OPTION") && text.contains("[log-broker]"),
        "{text}"
    );
}

#[test]
fn what_is_required_is_demanded() {
    let Err(Refused::Clap(error)) = outcome::<Broker>("log-broker", "b", &surroundings(&[], None)) else {
        panic!()
    };
    assert_eq!(error.exit_code(), 2);
    let Err(Refused::Clap(_)) =
        outcome::<Broker>("log-broker", "b --data x --log-level loud", &surroundings(&[], None))
    else {
        panic!("a bad log level is a usage error")
    };
}

#[derive(Debug, Parser)]
struct Launcher {
    #[command(subcommand)]
    command: Launch,
}

#[derive(Debug, Subcommand)]
enum Launch {
    Up {
        #[arg(long, global = true)]
        data: Option<PathBuf>,
        #[arg(long)]
        any_port: bool,
        #[arg(long)]
        only: Vec<String>,
    },
}

/// Commands at the top have the variables and sections of their own names, and `data` stands above all sections.
#[test]
fn a_launchers_commands_stand_at_the_top() {
    let seen = surroundings(
        &["BONSAI_UP_ANY_PORT=true", "BONSAI_LOG_BROKER_LISTEN=127.0.0.1:1"],
        Some("data = \"d\"\n[up]\nonly = [\"a\", \"b\"]\n[log-broker]\nlisten = \"127.0.0.1:2\"\n"),
    );
    let launcher = outcome::<Launcher>("", "bonsai up", &seen)
        .ok()
        .and_then(Result::ok)
        .unwrap();
    let Launch::Up { data, any_port, only } = launcher.command;
    assert_eq!((data, any_port), (Some(PathBuf::from("d")), true));
    assert_eq!(only, ["a", "b"]);
    // The service reads the same file.
    let broker = outcome::<Broker>("log-broker", "log-broker --data x", &seen)
        .ok()
        .and_then(Result::ok)
        .unwrap();
    assert_eq!(broker.data, PathBuf::from("x"));

    assert!(is_set_in(&seen, "log-broker", "listen"));
    assert!(!is_set_in(&seen, "log-broker", "advertise"));
    assert!(!is_set_in(&seen, "dfs namenode", "rpc"));
}
