//! Several coordinators as one, and one that others run.

use std::time::{Duration, Instant};

use coordinator_client::Client;
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::harness::{Stack, refusal, signal, soon, text};

const MEMBERS: [&str; 3] = ["coordinator", "coordinator-2", "coordinator-3"];
/// An election on a busy machine, many times over.
const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// All members' addresses, as `env` tells them to etcdctl.
fn endpoints(stack: &Stack) -> String {
    let env = text(&stack.bonsai(&["env"]));
    let line = env
        .lines()
        .find_map(|line| line.strip_prefix("export ETCDCTL_ENDPOINTS="));
    line.unwrap().trim_matches('\'').to_owned()
}

/// Writes until it is acknowledged: a member that is killed answers nobody.
async fn put(client: &Client, key: &str) {
    let began = Instant::now();
    while let Err(error) = client.put(key.to_owned(), "value").await {
        assert!(began.elapsed() < PATIENCE, "{key}: {error}");
    }
}

#[test]
fn three_coordinators_survive_the_loss_of_any_and_remember_how_many_they_are() {
    let stack = Stack::up(&["--only", "coordinator,log-broker", "--coordinators", "3"]);
    let status = stack.status();
    let names: Vec<&str> = status
        .iter()
        .map(|status| status["service"].as_str().unwrap())
        .collect();
    assert_eq!(names[..3], MEMBERS);
    let endpoints = endpoints(&stack);
    assert_eq!(endpoints.split(',').count(), 3, "{endpoints}");

    runtime().block_on(async {
        let client = Client::connect(&endpoints).await.unwrap();
        for member in MEMBERS {
            put(&client, &format!("before/{member}")).await;
            signal(stack.pid(member).unwrap(), Signal::KILL);
            put(&client, &format!("after/{member}")).await;
            stack.wait_until_ready();
        }
        for member in MEMBERS {
            for key in [format!("before/{member}"), format!("after/{member}")] {
                assert!(client.get(key.clone()).await.unwrap().is_some(), "{key}");
            }
        }
    });

    assert!(stack.bonsai(&["down"]).status.success());
    let other = refusal(&stack.bonsai(&["up", "--detach", "--any-port", "--coordinators", "1"]));
    assert!(other.contains("has 3 coordinators, not 1"), "{other}");
    stack.start(&["--only", "coordinator"]);
    assert_eq!(stack.status().len(), 3);
}

#[test]
fn a_coordinator_that_others_run_is_used_instead_of_an_own_one() {
    let other = Stack::up(&["--only", "coordinator"]);
    let address = other.service("coordinator")["address"].as_str().unwrap().to_owned();
    let stack = Stack::up(&["--only", "log-broker", "--coordinator", &address]);
    assert_eq!(stack.status().len(), 1, "only the broker is its own");
    assert_eq!(endpoints(&stack), address);
    let broker = stack.service("log-broker")["address"].as_str().unwrap().to_owned();
    let port = broker.rsplit_once(':').unwrap().1.to_owned();
    let runtime = runtime();
    let client = runtime.block_on(Client::connect(&address)).unwrap();
    soon("the broker is registered there", || {
        let found = runtime.block_on(client.get("/bonsai/services/log-broker/0")).unwrap();
        found.is_some_and(|pair| String::from_utf8_lossy(&pair.value).contains(&port))
    });
}
