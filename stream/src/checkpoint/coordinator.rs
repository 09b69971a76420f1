//! The decisions of the checkpoint protocol, without threads, clocks or files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{TaskId, TaskState};

/// What has happened to a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// The checkpoint interval has passed.
    Tick,
    /// A task has taken its snapshot for an epoch.
    Acknowledged(TaskId, u64, TaskState),
    /// A task has come to the end of its input; this is its last state.
    Finished(TaskId, TaskState),
    /// An epoch is durable.
    Published(u64),
    /// A task has made its part of an epoch visible.
    Committed(TaskId, u64),
    /// The job shall stop at the next epoch, to be resumed later.
    Stop,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the sources for a barrier.
    Trigger(u64),
    /// Make an epoch durable; say so by [`Happened::Published`].
    Publish {
        epoch: u64,
        states: BTreeMap<TaskId, TaskState>,
        finished: bool,
    },
    /// Make a task's part visible; say so by [`Happened::Committed`].
    Commit {
        epoch: u64,
        task: TaskId,
        committable: Value,
    },
    /// Epochs before this one are not needed any more.
    Forget { before: u64 },
    /// The job is over: at its end, or stopped.
    Done { finished: bool },
}

/// Decides about one run of a job.
///
/// - One epoch is under way at a time; its number is larger than any before, in all incarnations.
/// - An epoch is published once all tasks have answered or finished, and committed only after it is published.
/// - Nothing is triggered before the last epoch's commits are confirmed, so the newest manifest has all that is open.
/// - The end is an epoch too: what was written after the last barrier becomes visible by the same two steps.
#[derive(Debug)]
pub struct Coordinator {
    tasks: BTreeSet<TaskId>,
    next_epoch: u64,
    phase: Phase,
    finished: BTreeMap<TaskId, TaskState>,
    stopping: bool,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Collecting {
        epoch: u64,
        acknowledged: BTreeMap<TaskId, TaskState>,
    },
    Publishing {
        epoch: u64,
        states: BTreeMap<TaskId, TaskState>,
        last: bool,
    },
    Committing {
        epoch: u64,
        waiting: BTreeSet<TaskId>,
        last: bool,
    },
    Over,
}

impl Coordinator {
    /// A run that continues behind epoch `last`.
    pub fn new(tasks: BTreeSet<TaskId>, last: u64) -> Self {
        Self {
            tasks,
            next_epoch: last + 1,
            phase: Phase::Idle,
            finished: BTreeMap::new(),
            stopping: false,
        }
    }

    pub fn step(&mut self, happened: Happened) -> Vec<Effect> {
        match happened {
            Happened::Tick => self.trigger(),
            Happened::Stop => {
                self.stopping = true;
                self.trigger()
            }
            Happened::Acknowledged(task, epoch, state) => {
                match &mut self.phase {
                    Phase::Collecting {
                        epoch: current,
                        acknowledged,
                    } if *current == epoch => {
                        acknowledged.insert(task, state);
                    }
                    // An answer to an epoch that was given up.
                    _ => return Vec::new(),
                }
                self.collected()
            }
            Happened::Finished(task, state) => {
                self.finished.insert(task, state);
                self.collected()
            }
            Happened::Published(epoch) => self.published(epoch),
            Happened::Committed(task, epoch) => self.committed(task, epoch),
        }
    }

    fn all_finished(&self) -> bool {
        self.finished.len() == self.tasks.len()
    }

    fn trigger(&mut self) -> Vec<Effect> {
        if !matches!(self.phase, Phase::Idle) || self.all_finished() {
            return Vec::new();
        }
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        self.phase = Phase::Collecting {
            epoch,
            acknowledged: BTreeMap::new(),
        };
        vec![Effect::Trigger(epoch)]
    }

    /// Publishes what is complete.
    fn collected(&mut self) -> Vec<Effect> {
        match &self.phase {
            // All ended before any heard of the epoch: the end takes its place.
            Phase::Collecting { acknowledged, .. } if acknowledged.is_empty() && self.all_finished() => self.last(),
            Phase::Collecting { epoch, acknowledged } => {
                let answered = |task: &TaskId| acknowledged.contains_key(task) || self.finished.contains_key(task);
                if acknowledged.is_empty() || !self.tasks.iter().all(answered) {
                    return Vec::new();
                }
                let epoch = *epoch;
                // A task that acknowledged and then finished is in the epoch with what it acknowledged.
                let mut states = self.finished.clone();
                states.extend(acknowledged.clone());
                self.publish(epoch, states, false)
            }
            Phase::Idle if self.all_finished() => self.last(),
            _ => Vec::new(),
        }
    }

    fn last(&mut self) -> Vec<Effect> {
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        self.publish(epoch, self.finished.clone(), true)
    }

    fn publish(&mut self, epoch: u64, states: BTreeMap<TaskId, TaskState>, last: bool) -> Vec<Effect> {
        self.phase = Phase::Publishing {
            epoch,
            states: states.clone(),
            last,
        };
        vec![Effect::Publish {
            epoch,
            states,
            finished: last,
        }]
    }

    fn published(&mut self, published: u64) -> Vec<Effect> {
        let Phase::Publishing { epoch, states, last } = &self.phase else {
            return Vec::new();
        };
        if *epoch != published {
            return Vec::new();
        }
        let (epoch, last) = (*epoch, *last);
        let committables: Vec<(TaskId, Value)> = states
            .iter()
            .filter_map(|(task, state)| Some((*task, state.committable.clone()?)))
            .collect();
        let waiting: BTreeSet<TaskId> = committables.iter().map(|(task, _)| *task).collect();
        let mut effects = vec![Effect::Forget { before: epoch }];
        effects.extend(committables.into_iter().map(|(task, committable)| Effect::Commit {
            epoch,
            task,
            committable,
        }));
        self.phase = Phase::Committing { epoch, waiting, last };
        effects.extend(self.advance());
        effects
    }

    fn committed(&mut self, task: TaskId, committed: u64) -> Vec<Effect> {
        if let Phase::Committing { epoch, waiting, .. } = &mut self.phase
            && *epoch == committed
        {
            waiting.remove(&task);
        }
        self.advance()
    }

    /// Leaves the commit phase once nothing is waited for.
    fn advance(&mut self) -> Vec<Effect> {
        let Phase::Committing { waiting, last, .. } = &self.phase else {
            return Vec::new();
        };
        if !waiting.is_empty() {
            return Vec::new();
        }
        if *last {
            self.phase = Phase::Over;
            return vec![Effect::Done { finished: true }];
        }
        if self.stopping && !self.all_finished() {
            self.phase = Phase::Over;
            return vec![Effect::Done { finished: false }];
        }
        self.phase = Phase::Idle;
        self.collected()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(vertex: u32) -> TaskId {
        TaskId { vertex, subtask: 0 }
    }

    fn state(committable: Option<&str>) -> TaskState {
        TaskState {
            committable: committable.map(|text| json!(text)),
            ..TaskState::default()
        }
    }

    fn coordinator() -> Coordinator {
        Coordinator::new(BTreeSet::from([task(0), task(1)]), 7)
    }

    #[test]
    fn an_epoch_is_committed_only_after_it_is_published() {
        let mut c = coordinator();
        assert_eq!(c.step(Happened::Tick), [Effect::Trigger(8)]);
        assert_eq!(c.step(Happened::Tick), []);
        assert_eq!(c.step(Happened::Acknowledged(task(0), 8, state(None))), []);
        let effects = c.step(Happened::Acknowledged(task(1), 8, state(Some("file"))));
        assert!(matches!(
            effects.as_slice(),
            [Effect::Publish {
                epoch: 8,
                finished: false,
                ..
            }]
        ));
        let effects = c.step(Happened::Published(8));
        let commit = Effect::Commit {
            epoch: 8,
            task: task(1),
            committable: json!("file"),
        };
        assert_eq!(effects, [Effect::Forget { before: 8 }, commit]);
        // Not before the commit is confirmed.
        assert_eq!(c.step(Happened::Tick), []);
        assert_eq!(c.step(Happened::Committed(task(1), 8)), []);
        assert_eq!(c.step(Happened::Tick), [Effect::Trigger(9)]);
    }

    #[test]
    fn the_end_is_an_epoch_of_its_own() {
        let mut c = coordinator();
        c.step(Happened::Tick);
        c.step(Happened::Finished(task(0), state(None)));
        let effects = c.step(Happened::Finished(task(1), state(Some("rest"))));
        // No task acknowledged epoch 8.
        assert!(
            matches!(
                effects.as_slice(),
                [Effect::Publish {
                    epoch: 9,
                    finished: true,
                    ..
                }]
            ),
            "{effects:?}"
        );
        c.step(Happened::Published(9));
        assert_eq!(
            c.step(Happened::Committed(task(1), 9)),
            [Effect::Done { finished: true }]
        );
        assert_eq!(c.step(Happened::Tick), []);
    }

    #[test]
    fn an_epoch_under_way_at_the_end_comes_first() {
        let mut c = coordinator();
        c.step(Happened::Tick);
        c.step(Happened::Acknowledged(task(0), 8, state(None)));
        c.step(Happened::Finished(task(0), state(None)));
        let effects = c.step(Happened::Acknowledged(task(1), 8, state(Some("a"))));
        assert!(matches!(
            effects.as_slice(),
            [Effect::Publish {
                epoch: 8,
                finished: false,
                ..
            }]
        ));
        assert_eq!(c.step(Happened::Finished(task(1), state(Some("b")))), []);
        c.step(Happened::Published(8));
        let effects = c.step(Happened::Committed(task(1), 8));
        let Some(Effect::Publish {
            epoch: 9,
            states,
            finished: true,
        }) = effects.first()
        else {
            panic!("{effects:?}")
        };
        assert_eq!(states[&task(1)].committable, Some(json!("b")));
    }

    #[test]
    fn stale_answers_change_nothing() {
        let mut c = coordinator();
        assert_eq!(c.step(Happened::Acknowledged(task(0), 3, state(None))), []);
        assert_eq!(c.step(Happened::Published(3)), []);
        assert_eq!(c.step(Happened::Committed(task(0), 3)), []);
        assert_eq!(c.step(Happened::Stop), [Effect::Trigger(8)]);
        c.step(Happened::Acknowledged(task(0), 8, state(None)));
        c.step(Happened::Acknowledged(task(1), 8, state(None)));
        let effects = c.step(Happened::Published(8));
        assert_eq!(
            effects,
            [Effect::Forget { before: 8 }, Effect::Done { finished: false }]
        );
    }
}
