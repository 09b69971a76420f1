//! One operation: a statement that waits, runs, gives rows, has ended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Zone;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::engine::{Answer, Rows};
use crate::Error;
use crate::sql::Facts;

/// How long a fetch waits for rows before it answers an empty page.
const FETCH_WAIT: Duration = Duration::from_millis(100);
/// Rows on a page, about: whole batches are never split.
const PAGE_ROWS: usize = 5_000;

/// What Flink calls an operation's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Running,
    Finished,
    Error,
    Canceled,
    Closed,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Error => "ERROR",
            Self::Canceled => "CANCELED",
            Self::Closed => "CLOSED",
        }
    }
}

/// What a statement said of its result before its rows came.
#[derive(Debug, Clone)]
pub struct Head {
    pub schema: SchemaRef,
    /// What the columns' Arrow types do not say.
    pub facts: Vec<Facts>,
    pub is_query: bool,
    pub has_content: bool,
    pub job: Option<String>,
    pub zone: Zone,
}

/// A page that was fetched.
#[derive(Debug, Clone)]
pub enum Page {
    /// The statement has not started to answer.
    NotReady,
    Rows {
        head: Head,
        rows: Vec<RecordBatch>,
    },
    /// There are no more rows.
    End {
        head: Head,
    },
}

pub struct Operation {
    status: Mutex<Status>,
    stop: watch::Sender<bool>,
    result: AsyncMutex<Fetch>,
}

#[derive(Default)]
struct Fetch {
    /// `None` until the statement started to answer.
    head: Option<Result<Head, Error>>,
    rows: Option<Rows>,
    next: u64,
    /// The newest page and its number, for a client that asks again.
    last: Option<(u64, Page)>,
}

impl Operation {
    pub fn new() -> Self {
        Self {
            status: Mutex::new(Status::Running),
            stop: watch::Sender::new(false),
            result: AsyncMutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn status(&self) -> Status {
        *self.state()
    }

    pub fn has_ended(&self) -> bool {
        self.status() != Status::Running
    }

    /// Resolves when the operation was cancelled or closed.
    pub fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let mut receiver = self.stop.subscribe();
        async move {
            let _ = receiver.wait_for(|stop| *stop).await;
        }
    }

    /// The statement has begun to answer, or was refused.
    pub async fn started(&self, outcome: Result<Answer, Error>) {
        let mut result = self.result.lock().await;
        let mut status = self.state();
        if *status != Status::Running {
            return;
        }
        match outcome {
            Ok(Answer { head, rows }) => {
                result.head = Some(Ok(head));
                result.rows = Some(rows);
                *status = Status::Finished;
            }
            Err(error) => {
                result.head = Some(Err(error));
                *status = Status::Error;
            }
        }
    }

    /// Page `token`.
    ///
    /// # Errors
    /// What the statement or its job failed with; a page that is gone or not yet due.
    pub async fn fetch(&self, token: u64) -> Result<Page, Error> {
        let mut result = self.result.lock().await;
        if let Some((number, page)) = &result.last
            && *number == token
        {
            return Ok(page.clone());
        }
        if token != result.next {
            return Err(Error::validate(format!(
                "Expecting token to be {}, but found {token}.",
                result.next
            )));
        }
        let head = match &result.head {
            None => return self.not_ready(),
            Some(Err(error)) => return Err(error.clone()),
            Some(Ok(head)) => head.clone(),
        };
        let page = match result.rows.as_mut() {
            None => Page::End { head },
            Some(rows) => match rows.page(PAGE_ROWS, FETCH_WAIT).await? {
                Some(rows) => Page::Rows { head, rows },
                None => {
                    result.rows = None;
                    Page::End { head }
                }
            },
        };
        if !matches!(page, Page::End { .. }) {
            result.next = token + 1;
        }
        result.last = Some((token, page.clone()));
        Ok(page)
    }

    fn not_ready(&self) -> Result<Page, Error> {
        match self.status() {
            Status::Running => Ok(Page::NotReady),
            status => Err(Error::runtime(format!("The operation is {}.", status.name()))),
        }
    }

    /// Stops it, if it still runs.
    ///
    /// # Errors
    /// If it has finished: then only closing stops its query.
    pub fn cancel(&self) -> Result<Status, Error> {
        let mut status = self.state();
        if *status != Status::Running {
            return Err(Error::runtime(format!(
                "Failed to convert the Operation Status from {} to CANCELED.",
                status.name()
            )));
        }
        *status = Status::Canceled;
        self.stop.send_replace(true);
        Ok(*status)
    }

    /// Stops it whatever it does.
    pub fn close(&self) {
        *self.state() = Status::Closed;
        self.stop.send_replace(true);
        // The rows' channel ends the query; a fetch under way holds the lock and drops it with the last handle instead.
        if let Ok(mut result) = self.result.try_lock() {
            result.rows = None;
        }
    }
}
