//! From a plan to running services and back: start, table, wait, drain.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Error;
use super::board::{Board, State, Status};
use super::health;
use super::keeper::{Keeper, Order};
use super::output::Output;
use super::ports::Ports;
use super::service::Instance;
use super::shape::Shape;
use super::stack::Stack;
use super::status::print_table;
use super::up::Shown;

/// How long the table waits for services that are ready to be healthy too.
pub const SETTLE_MAX: Duration = Duration::from_secs(3);

/// Everything decided before the first process is started.
#[derive(Debug)]
pub struct Plan {
    pub stack: Stack,
    pub instances: Vec<Instance>,
    pub ports: Ports,
    pub shape: Shape,
    /// Which of the services' lines the terminal shows.
    pub shown: Shown,
    /// Whose subcommands the services are.
    pub program: PathBuf,
}

/// Runs the plan until SIGINT or SIGTERM, or until a service fails to start. Needs a runtime of one thread: see
/// [`super::lifeline`].
pub async fn run(plan: Plan) -> Result<(), Error> {
    let started = Instant::now();
    let mut signals = Signals::new()?;
    let names: Vec<String> = plan.instances.iter().map(|instance| instance.name.clone()).collect();
    let output = Arc::new(Output::new(&plan.stack.logs(), names, plan.shown));
    let statuses = plan
        .instances
        .iter()
        .map(|instance| {
            let (port, page) = instance.service.health;
            let health = format!("{}{page}", plan.ports.address(&instance.name, port));
            Status::new(&instance.name, instance.address(&plan.ports), health)
        })
        .collect();
    let board = Arc::new(Board::new(plan.stack.directory(), statuses));
    let running = start(&plan, &board, &output);

    let decided = board.until(|services| {
        services.iter().all(|status| status.state == State::Ready)
            || services.iter().any(|status| status.state == State::Failed)
    });
    tokio::select! {
        () = decided => {}
        () = signals.next() => {
            output.release();
            return drain(running, &mut signals, &output).await;
        }
    }
    if let Some(failed) = board
        .services()
        .into_iter()
        .find(|status| status.state == State::Failed)
    {
        drain(running, &mut signals, &output).await?;
        let log = output.path(&failed.service);
        let reason = failed.reason.unwrap_or_else(|| "it said nothing".to_owned());
        return Err(Error::NotStarted {
            service: failed.service,
            reason,
            log,
        });
    }
    let ready_ms = started.elapsed().as_millis();
    output.release();
    let services = board.services();
    let health = health::settled(&services, SETTLE_MAX).await;
    print_table(&services, &health);
    outln!("\nall ready in {ready_ms} ms\n");
    signals.next().await;
    output.say("draining; once more to force");
    drain(running, &mut signals, &output).await
}

struct Running {
    service: String,
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

fn start(plan: &Plan, board: &Arc<Board>, output: &Arc<Output>) -> Vec<Running> {
    plan.instances
        .iter()
        .map(|instance| {
            let orders = watch::Sender::new(Order::Run);
            let after = plan
                .instances
                .iter()
                .filter(|other| instance.service.after.contains(&other.service.name))
                .map(|other| other.name.clone())
                .collect();
            let keeper = Keeper {
                service: instance.name.clone(),
                program_name: instance.service.name,
                program: plan.program.clone(),
                arguments: instance.command_line(
                    &plan.stack.data_of(&instance.name),
                    &plan.ports,
                    &plan.instances,
                    &plan.shape,
                ),
                after,
                board: Arc::clone(board),
                output: Arc::clone(output),
                orders: orders.subscribe(),
            };
            Running {
                service: instance.name.clone(),
                orders,
                task: tokio::spawn(keeper.keep()),
            }
        })
        .collect()
}

/// In reverse order, each when the one after it has ended; at a signal all that are left at once, by force.
async fn drain(running: Vec<Running>, signals: &mut Signals, output: &Output) -> Result<(), Error> {
    let mut rest = running;
    while let Some(mut last) = rest.pop() {
        last.orders.send_replace(Order::Drain);
        tokio::select! {
            _ = &mut last.task => {}
            () = signals.force() => {
                output.say("forced");
                rest.push(last);
                for one in &rest {
                    one.orders.send_replace(Order::Kill);
                }
                for one in rest {
                    let _ = one.task.await;
                }
                return Ok(());
            }
        }
        output.say(&format!("{} stopped", last.service));
    }
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal was closed.
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|error| Error::io("cannot listen for signals", error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// A closed terminal can send several hangups: they ask for an end, and force none.
    async fn force(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
