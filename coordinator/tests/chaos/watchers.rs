//! Watchers that live through all of it, one on each member, and go on elsewhere when theirs is gone.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::event::EventType;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::clients::channel;
use crate::verdict::Told;

/// A member that says nothing for so long is left, whether or not there is something to say.
const SILENCE: Duration = Duration::from_secs(2);
/// The end of the history is known to every member within this time after all healed.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// What [`whole_history`] puts so that the end of the history is known.
const END: &str = "end";

/// A watcher since revision 1, and what it was told so far.
pub struct Watcher {
    member: usize,
    told: Arc<Mutex<Vec<Told>>>,
    task: JoinHandle<()>,
}

pub fn start(endpoints: &[String]) -> Vec<Watcher> {
    (0..endpoints.len())
        .map(|member| {
            let told = Arc::new(Mutex::new(Vec::new()));
            let task = tokio::spawn(watch(endpoints.to_vec(), member, Arc::clone(&told)));
            Watcher { member, told, task }
        })
        .collect()
}

/// Watches everything, resumed after the last revision told: at the same member, then at the next.
async fn watch(endpoints: Vec<String>, mut member: usize, told: Arc<Mutex<Vec<Told>>>) {
    loop {
        let next = told
            .lock()
            .expect("no panic")
            .last()
            .map_or(1, |last: &Told| last.revision + 1);
        // However it ends, it is resumed.
        let _ended = watch_at(&endpoints[member], next, &told).await;
        member = (member + 1) % endpoints.len();
        sleep(Duration::from_millis(50)).await;
    }
}

async fn watch_at(endpoint: &str, from: i64, told: &Mutex<Vec<Told>>) -> Result<(), tonic::Status> {
    let (requests, receiver) = mpsc::channel(1);
    let create = pb::WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision: from,
        progress_notify: true,
        ..Default::default()
    };
    let request_union = Some(RequestUnion::CreateRequest(create));
    let _kept = requests.send(pb::WatchRequest { request_union }).await;
    let mut client = WatchClient::new(channel(endpoint));
    let stream = timeout(SILENCE, client.watch(ReceiverStream::new(receiver))).await;
    let Ok(stream) = stream else { return Ok(()) };
    let mut answers = stream?.into_inner();
    while let Ok(answer) = timeout(SILENCE, answers.message()).await {
        let Some(answer) = answer? else { return Ok(()) };
        if answer.canceled {
            return Ok(());
        }
        note(&answer, &mut told.lock().expect("no panic"));
    }
    Ok(())
}

/// Takes an answer down; panics if it is out of order, a repetition, or half a revision.
fn note(answer: &pb::WatchResponse, told: &mut Vec<Told>) {
    let before = told.last().map_or(0, |last| last.revision);
    for event in &answer.events {
        let kv = event.kv.as_ref().expect("every event has a pair");
        let last = told.last().map_or(0, |last| last.revision);
        assert!(
            kv.mod_revision >= last,
            "revision {} was told after {last}",
            kv.mod_revision
        );
        assert!(
            kv.mod_revision > before,
            "revision {} was told in two answers",
            kv.mod_revision
        );
        told.push(Told {
            revision: kv.mod_revision,
            key: String::from_utf8_lossy(&kv.key).into_owned(),
            value: (event.r#type() == EventType::Put).then(|| kv.value.to_vec()),
            create_revision: kv.create_revision,
        });
    }
}

/// What every member tells of all that happened; panics if two of them differ.
pub async fn whole_history(endpoints: &[String]) -> Vec<Told> {
    let client = coordinator_client::Client::lazy(&endpoints.join(",")).expect("addresses");
    let end = client.put(END, "").await.expect("all is well again");
    let mut histories = Vec::new();
    for endpoint in endpoints {
        let told = Mutex::new(Vec::new());
        let reading = async {
            while !reaches(&told, end) {
                let next = told
                    .lock()
                    .expect("no panic")
                    .last()
                    .map_or(1, |last: &Told| last.revision + 1);
                tokio::select! {
                    _ended = watch_at(endpoint, next, &told) => {}
                    () = until(&told, end) => {}
                }
            }
        };
        let read = timeout(CATCH_UP_TIMEOUT, reading).await;
        assert!(
            read.is_ok(),
            "{endpoint} does not tell its history up to revision {end}"
        );
        histories.push(told.into_inner().expect("no panic"));
    }
    for (history, endpoint) in histories.iter().zip(endpoints) {
        same(history, &histories[0], &format!("{endpoint} against {}", endpoints[0]));
    }
    histories.swap_remove(0)
}

/// Holds what the watchers were told against what happened.
pub async fn check(watchers: Vec<Watcher>, history: &[Told]) {
    let end = history.last().expect("the end was put").revision;
    for Watcher { member, told, task } in watchers {
        let caught_up = timeout(CATCH_UP_TIMEOUT, until(&told, end)).await;
        // A panic of the task is the reason that matters.
        if task.is_finished() {
            task.await.expect("a watcher was told nothing wrong");
            unreachable!("a watcher goes on for ever");
        }
        task.abort();
        assert!(caught_up.is_ok(), "watcher {member} was not told the end");
        same(&told.lock().expect("no panic"), history, &format!("watcher {member}"));
    }
}

fn reaches(told: &Mutex<Vec<Told>>, end: i64) -> bool {
    told.lock()
        .expect("no panic")
        .last()
        .is_some_and(|last| last.revision >= end)
}

async fn until(told: &Mutex<Vec<Told>>, end: i64) {
    while !reaches(told, end) {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Panics with the first place where the two differ.
fn same(told: &[Told], history: &[Told], who: &str) {
    let differs = told.iter().zip(history).position(|(one, other)| one != other);
    if let Some(place) = differs {
        panic!("{who}: {:?} where {:?} happened", told[place], history[place]);
    }
    assert_eq!(told.len(), history.len(), "{who}: not the whole history");
}
