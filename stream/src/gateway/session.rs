//! Sessions and the operations in them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use host::Shutdown;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::engine::Engine;
use super::jobs::Jobs;
use super::operation::Operation;
use crate::Error;

/// Sessions at a time; each may hold tables and running queries.
const SESSIONS_MAX: usize = 256;
/// Operations that a session keeps until they are closed; the oldest finished ones go first.
const OPERATIONS_MAX: usize = 1_000;
/// Flink's `sql-gateway.session.idle-timeout`.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// All sessions of a gateway.
pub struct Sessions {
    open: Mutex<BTreeMap<Uuid, Arc<Session>>>,
    jobs: Arc<Jobs>,
    shutdown: Shutdown,
}

/// One session: its statements run in the order in which they came.
pub struct Session {
    operations: Mutex<BTreeMap<Uuid, Arc<Operation>>>,
    order: Mutex<Vec<Uuid>>,
    properties: Arc<Mutex<BTreeMap<String, String>>>,
    queue: mpsc::UnboundedSender<Order>,
    used: Mutex<Instant>,
}

/// A statement to run.
struct Order {
    statement: String,
    /// Options for this statement alone.
    options: BTreeMap<String, String>,
    operation: Arc<Operation>,
}

/// A panic while a lock was held leaves data that is still whole: each change under these locks is one insert or remove.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    /// None yet. Their queries end with `shutdown`.
    pub fn new(jobs: Arc<Jobs>, shutdown: Shutdown) -> Self {
        Self {
            open: Mutex::default(),
            jobs,
            shutdown,
        }
    }

    pub fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// Opens a session with the client's options.
    ///
    /// # Errors
    /// If too many are open, or an option has a value that cannot be.
    pub fn open(&self, properties: &BTreeMap<String, String>) -> Result<Uuid, Error> {
        let engine = Engine::open(properties, Arc::clone(&self.jobs), self.shutdown.clone())?;
        let mut open = locked(&self.open);
        if open.len() >= SESSIONS_MAX {
            return Err(Error::runtime(format!(
                "there are {SESSIONS_MAX} sessions already: close some"
            )));
        }
        let handle = Uuid::new_v4();
        open.insert(handle, Session::start(engine));
        Ok(handle)
    }

    /// # Errors
    /// In Flink's words, if there is no such session.
    pub fn get(&self, handle: Uuid) -> Result<Arc<Session>, Error> {
        let session = locked(&self.open).get(&handle).cloned();
        let session = session.ok_or_else(|| Error::validate(format!("Session '{handle}' does not exist.")))?;
        *locked(&session.used) = Instant::now();
        Ok(session)
    }

    /// Ends a session; its queries stop.
    pub fn close(&self, handle: Uuid) -> Result<(), Error> {
        match locked(&self.open).remove(&handle) {
            Some(session) => {
                session.stop();
                Ok(())
            }
            None => Err(Error::validate(format!("Session '{handle}' does not exist."))),
        }
    }

    /// Ends the sessions that were not used for [`IDLE_TIMEOUT`].
    pub fn expire(&self, now: Instant) {
        locked(&self.open).retain(|_, session| {
            let keep = now.saturating_duration_since(*locked(&session.used)) < IDLE_TIMEOUT;
            if !keep {
                session.stop();
            }
            keep
        });
    }

    pub fn close_all(&self) {
        for session in std::mem::take(&mut *locked(&self.open)).into_values() {
            session.stop();
        }
    }

    pub fn count(&self) -> usize {
        locked(&self.open).len()
    }
}

impl Session {
    fn start(engine: Engine) -> Arc<Self> {
        let (queue, orders) = mpsc::unbounded_channel();
        let properties = Arc::new(Mutex::new(engine.options()));
        tokio::spawn(run(engine, orders, Arc::clone(&properties)));
        Arc::new(Self {
            operations: Mutex::default(),
            order: Mutex::default(),
            properties,
            queue,
            used: Mutex::new(Instant::now()),
        })
    }

    pub fn properties(&self) -> BTreeMap<String, String> {
        locked(&self.properties).clone()
    }

    /// Accepts a statement.
    ///
    /// # Errors
    /// If too many operations are open.
    pub fn submit(&self, statement: String, options: BTreeMap<String, String>) -> Result<Uuid, Error> {
        let handle = Uuid::new_v4();
        let operation = Arc::new(Operation::new());
        self.make_room()?;
        locked(&self.operations).insert(handle, Arc::clone(&operation));
        locked(&self.order).push(handle);
        self.queue
            .send(Order {
                statement,
                options,
                operation,
            })
            .map_err(|_| Error::runtime("this session is being closed"))?;
        Ok(handle)
    }

    /// # Errors
    /// In Flink's words, if there is no such operation.
    pub fn operation(&self, handle: Uuid) -> Result<Arc<Operation>, Error> {
        locked(&self.operations).get(&handle).cloned().ok_or_else(|| {
            Error::validate(format!(
                "Can not find the submitted operation in the OperationManager with the {handle}."
            ))
        })
    }

    pub fn close_operation(&self, handle: Uuid) -> Result<(), Error> {
        let operation = self.operation(handle)?;
        operation.close();
        locked(&self.operations).remove(&handle);
        locked(&self.order).retain(|other| *other != handle);
        Ok(())
    }

    /// Drops the oldest operations that have ended, where there are too many.
    fn make_room(&self) -> Result<(), Error> {
        let mut operations = locked(&self.operations);
        if operations.len() < OPERATIONS_MAX {
            return Ok(());
        }
        let mut order = locked(&self.order);
        let ended = order
            .iter()
            .position(|handle| operations.get(handle).is_none_or(|operation| operation.has_ended()));
        let Some(place) = ended else {
            return Err(Error::runtime(format!(
                "this session has {OPERATIONS_MAX} operations running: close some"
            )));
        };
        let handle = order.remove(place);
        operations.remove(&handle);
        Ok(())
    }

    fn stop(&self) {
        for operation in std::mem::take(&mut *locked(&self.operations)).into_values() {
            operation.close();
        }
    }
}

/// Runs a session's statements in their order, until the session is dropped.
async fn run(
    mut engine: Engine,
    mut orders: mpsc::UnboundedReceiver<Order>,
    properties: Arc<Mutex<BTreeMap<String, String>>>,
) {
    while let Some(order) = orders.recv().await {
        let operation = order.operation;
        let stopped = operation.stopped();
        tokio::select! {
            outcome = engine.execute(&order.statement, &order.options) => operation.started(outcome).await,
            () = stopped => {}
        }
        *locked(&properties) = engine.options();
    }
}
