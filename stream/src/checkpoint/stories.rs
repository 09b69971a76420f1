//! Runs the stories of `tests/stories/checkpoint`: events of one job, and what the checkpoint coordinator decides.
//!
//! A task is a vertex with one subtask. `ack TASK EPOCH` and `finish TASK` may end with what the task has to commit.

use std::fmt::Write;

use serde_json::json;

use super::coordinator::{Coordinator, Effect, Happened};
use super::manifest::{TaskId, TaskState};

#[derive(Default)]
struct World {
    coordinator: Option<Coordinator>,
}

fn task(vertex: &str) -> TaskId {
    TaskId {
        vertex: vertex.parse().unwrap(),
        subtask: 0,
    }
}

fn state(committable: &[&str]) -> TaskState {
    TaskState {
        committable: committable.first().map(|name| json!(name)),
        ..TaskState::default()
    }
}

fn print(effect: &Effect) -> String {
    match effect {
        Effect::Trigger(epoch) => format!("trigger {epoch}"),
        Effect::Publish {
            epoch,
            states,
            finished,
        } => {
            let mut line = format!("publish {epoch}:");
            for (task, state) in states {
                let committable = state.committable.as_ref().and_then(|name| name.as_str());
                let _ = write!(line, " {}={}", task.vertex, committable.unwrap_or("-"));
            }
            line + if *finished { ", the last" } else { "" }
        }
        Effect::Commit {
            epoch,
            task,
            committable,
        } => format!("commit {} of {} in {epoch}", committable.as_str().unwrap(), task.vertex),
        Effect::Forget { before } => format!("forget epochs before {before}"),
        Effect::Done { finished: true } => "done: finished".to_owned(),
        Effect::Done { finished: false } => "done: stopped".to_owned(),
    }
}

impl testing::stories::World for World {
    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let happened = match &words[..] {
            ["job", "after", epoch, tasks @ ..] => {
                let tasks = tasks.iter().map(|vertex| task(vertex)).collect();
                self.coordinator = Some(Coordinator::new(tasks, epoch.parse().unwrap()));
                return String::new();
            }
            ["tick"] => Happened::Tick,
            ["stop"] => Happened::Stop,
            ["ack", vertex, epoch, committable @ ..] => {
                Happened::Acknowledged(task(vertex), epoch.parse().unwrap(), state(committable))
            }
            ["finish", vertex, committable @ ..] => Happened::Finished(task(vertex), state(committable)),
            ["published", epoch] => Happened::Published(epoch.parse().unwrap()),
            ["committed", vertex, epoch] => Happened::Committed(task(vertex), epoch.parse().unwrap()),
            _ => panic!("no such command: {command}"),
        };
        let effects = self.coordinator.as_mut().unwrap().step(happened);
        effects.iter().map(|effect| print(effect) + "\n").collect()
    }
}

#[test]
fn stories() {
    testing::stories::run("tests/stories/checkpoint", 4, World::default);
}
