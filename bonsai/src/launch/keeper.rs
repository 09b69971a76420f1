//! Keeps one service running: starts it, reads what it prints, restarts it when it dies, ends it when told to.
//!
//! The first start is different from the others: a service that ends before it was ever ready has something to say (a
//! foreign data directory, say), so that is an error of the whole start. Once it was ready, its death is an accident, and
//! the next attempt follows after a pause that doubles from [`PAUSE_MIN`] to [`PAUSE_MAX`] and is forgotten when the
//! service has lived for [`STEADY`].

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::board::{Board, State};
use super::lifeline;
use super::output::{Lines, Output};
use super::procfs::Process;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const STEADY: Duration = Duration::from_secs(30);
/// A service that is not ready by then never will be.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// A little more than the services give themselves (`host::DRAIN_DEADLINE`).
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// A service that drains longer than this is mentioned.
const SLOW_DRAIN: Duration = Duration::from_secs(2);

/// What the supervisor wants of a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    Run,
    Drain,
    Kill,
}

/// What a keeper needs to know.
#[derive(Debug)]
pub struct Keeper {
    pub service: String,
    /// The name in the ready line.
    pub program_name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub after: Vec<String>,
    pub board: Arc<Board>,
    pub output: Arc<Output>,
    pub orders: watch::Receiver<Order>,
}

enum Ended {
    /// As ordered.
    Stopped,
    /// By itself; was it ready, and what was the last thing it said?
    Died {
        was_ready: bool,
        lived: Duration,
        how: String,
        last_words: Option<String>,
    },
}

impl Keeper {
    /// Runs until an order ends it, or until the first start fails.
    pub async fn keep(mut self) {
        if !self.wait_for_others().await {
            return self.settle(State::Stopped, None);
        }
        let mut pause = PAUSE_MIN;
        let mut was_ever_ready = false;
        loop {
            let ended = match self.run_once().await {
                Ok(ended) => ended,
                Err(reason) => return self.settle(State::Failed, Some(reason)),
            };
            let Ended::Died {
                was_ready,
                lived,
                how,
                last_words,
            } = ended
            else {
                return self.settle(State::Stopped, None);
            };
            was_ever_ready |= was_ready;
            if !was_ever_ready {
                return self.settle(State::Failed, Some(last_words.unwrap_or(how)));
            }
            if lived >= STEADY {
                pause = PAUSE_MIN;
            }
            self.output.say(&format!(
                "{} {how}; starting it again in {} ms",
                self.service,
                pause.as_millis()
            ));
            self.board.change(&self.service, |status| {
                status.state = State::Restarting;
                status.process = None;
                status.restarts += 1;
                status.last_exit = Some(match &last_words {
                    Some(words) => format!("{how}: {words}"),
                    None => how.clone(),
                });
                status.reason.clone_from(&status.last_exit);
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ordered(&mut self.orders, Order::Drain) => return self.settle(State::Stopped, None),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn settle(&self, state: State, reason: Option<String>) {
        self.board.change(&self.service, |status| {
            status.state = state;
            status.process = None;
            status.reason = reason;
        });
    }

    /// False if it is to end before it was started.
    async fn wait_for_others(&mut self) -> bool {
        let board = Arc::clone(&self.board);
        let after = self.after.clone();
        let ready = board.until(|services| {
            services
                .iter()
                .filter(|status| after.contains(&status.service))
                .all(|status| status.state == State::Ready)
        });
        tokio::select! {
            () = ready => true,
            () = ordered(&mut self.orders, Order::Drain) => false,
        }
    }

    async fn run_once(&mut self) -> Result<Ended, String> {
        let started = Instant::now();
        let mut child = self
            .spawn()
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        let process = Process::of(child.id().unwrap_or(0));
        self.board.change(&self.service, |status| {
            status.state = State::Starting;
            status.process = Some(process);
            status.ready_ms = None;
        });
        let (sender, mut said) = mpsc::channel(64);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(read_lines(stdout, sender.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(read_lines(stderr, sender));
        }
        let mut was_ready = false;
        let mut last_words = None;
        let outcome = loop {
            tokio::select! {
                Some(line) = said.recv() => {
                    self.heard(&line, started, &mut was_ready, &mut last_words);
                }
                status = child.wait() => break status,
                () = ordered(&mut self.orders, Order::Drain) => {
                    self.end(&mut child, process, &mut said).await;
                    return Ok(Ended::Stopped);
                }
                () = tokio::time::sleep_until((started + START_DEADLINE).into()), if !was_ready => {
                    process.signal(Signal::KILL);
                    let _ = child.wait().await;
                    last_words = Some(format!("not ready within {} seconds", START_DEADLINE.as_secs()));
                    break child.wait().await;
                }
            }
        };
        // What it said last may still be on its way.
        while let Ok(Some(line)) = tokio::time::timeout(Duration::from_millis(200), said.recv()).await {
            self.heard(&line, started, &mut was_ready, &mut last_words);
        }
        let how = outcome.map_or_else(|error| format!("was lost: {error}"), |status| describe(&status));
        Ok(Ended::Died {
            was_ready,
            lived: started.elapsed(),
            how,
            last_words,
        })
    }

    fn spawn(&self) -> std::io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .env(lifeline::VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in the terminal reaches us alone; the services are drained in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    fn heard(&self, line: &str, started: Instant, was_ready: &mut bool, last_words: &mut Option<String>) {
        if !*was_ready && is_ready_line(line, self.program_name) {
            *was_ready = true;
            let ready_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.board.change(&self.service, |status| {
                status.state = State::Ready;
                status.ready_ms = Some(ready_ms);
                status.reason = None;
            });
            if self
                .board
                .services()
                .iter()
                .any(|status| status.service == self.service && status.restarts > 0)
            {
                self.output
                    .say(&format!("{} is ready again after {ready_ms} ms", self.service));
            }
        }
        if let Some(error) = line.strip_prefix("error: ") {
            *last_words = Some(error.to_owned());
        } else if line.contains("panicked at") && last_words.is_none() {
            *last_words = Some(line.to_owned());
        }
        self.output.line(&self.service, line);
    }

    /// SIGTERM, patience, SIGKILL; the latter at once when so ordered.
    async fn end(&mut self, child: &mut Child, process: Process, said: &mut mpsc::Receiver<String>) {
        self.board
            .change(&self.service, |status| status.state = State::Stopping);
        if *self.orders.borrow() < Order::Kill {
            process.signal(Signal::TERM);
            // One that was stopped (SIGSTOP) must go on to drain.
            process.signal(Signal::CONT);
        }
        let deadline = tokio::time::sleep(DRAIN_DEADLINE);
        tokio::pin!(deadline);
        let slow = tokio::time::sleep(SLOW_DRAIN);
        tokio::pin!(slow);
        let mut told = false;
        loop {
            tokio::select! {
                () = &mut slow, if !told => {
                    told = true;
                    let left = (DRAIN_DEADLINE - SLOW_DRAIN).as_secs();
                    self.output.say(&format!("{} is still draining; it is killed after {left} s more", self.service));
                }
                _ = child.wait() => break,
                Some(line) = said.recv() => self.output.line(&self.service, &line),
                () = ordered(&mut self.orders, Order::Kill) => {
                    let _ = child.kill().await;
                    break;
                }
                () = &mut deadline => {
                    self.output.say(&format!("{} does not end; killing it", self.service));
                    let _ = child.kill().await;
                    break;
                }
            }
        }
        while let Ok(Some(line)) = tokio::time::timeout(Duration::from_millis(50), said.recv()).await {
            self.output.line(&self.service, &line);
        }
    }
}

/// Resolves when the order is at least `order`.
async fn ordered(orders: &mut watch::Receiver<Order>, order: Order) {
    // A supervisor that is gone wants no service any more.
    let _ = orders.wait_for(|current| *current >= order).await;
}

async fn read_lines(mut stream: impl AsyncRead + Unpin, sender: mpsc::Sender<String>) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 8 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        for line in lines.push(&buffer[..count]) {
            if sender.send(line).await.is_err() {
                return;
            }
        }
    }
    if let Some(line) = lines.finish() {
        let _ = sender.send(line).await;
    }
}

/// `log-broker ready listen=127.0.0.1:9092`.
fn is_ready_line(line: &str, program_name: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some(program_name) && words.next() == Some("ready") && words.all(|word| word.contains('='))
}

/// `died (signal 9, SIGKILL)`.
pub fn describe(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(9)) => "was killed (SIGKILL)".to_owned(),
        (None, Some(signal)) => format!("died of signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_services_own_ready_line_counts() {
        assert!(is_ready_line(
            "log-broker ready listen=127.0.0.1:9092 admin=127.0.0.1:9644",
            "log-broker"
        ));
        assert!(is_ready_line("namenode ready", "namenode"));
        assert!(!is_ready_line("coordinator ready client=127.0.0.1:1", "log-broker"));
        assert!(!is_ready_line(
            "coordinator ready to serve client requests",
            "coordinator"
        ));
    }
}
