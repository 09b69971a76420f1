//! How a service is once it was ready: whether its process runs, what its health page says, and whether the others find it.
//!
//! A ready line is about a start. What came after it (safe mode, a partition off-line, a full disk, a process that was
//! stopped) is seen here, so that nothing calls such a service ready.

use std::time::Duration;

use coordinator_client::registry;
use tokio::time::{Instant, sleep, timeout};

use super::board::{Snapshot, State, Status};
use super::http;

/// A service that does not answer within this time is not well.
const ANSWER_MAX: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(100);

/// What a service can do right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Healthy,
    /// Why not, in one line.
    Unhealthy(String),
}

impl Health {
    pub fn is_healthy(&self) -> bool {
        *self == Self::Healthy
    }

    /// This one, or `other` if there is nothing wrong with this one.
    pub fn and(self, other: Self) -> Self {
        if self.is_healthy() { other } else { self }
    }

    /// Why it is not healthy.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Unhealthy(reason) => Some(reason),
        }
    }
}

/// The health of each service, all asked at the same time.
pub async fn of_all(services: &[Status]) -> Vec<Health> {
    futures::future::join_all(services.iter().map(of)).await
}

/// The health of all services of a stack.
pub async fn health_of(snapshot: &Snapshot) -> Vec<Health> {
    of_all(&snapshot.services).await
}

/// As [`of_all`], until all are healthy or the time is over: a name node leaves its safe mode a moment after it is ready.
pub async fn settled(services: &[Status], patience: Duration) -> Vec<Health> {
    let deadline = Instant::now() + patience;
    loop {
        let health = of_all(services).await;
        if health.iter().all(Health::is_healthy) || Instant::now() >= deadline {
            return health;
        }
        sleep(POLL).await;
    }
}

/// Marks the services that are not registered in the coordinator at `endpoints`, where it answers: the others cannot find
/// them.
pub async fn check_registrations(endpoints: &str, services: &[Status], health: &mut [Health]) {
    let found = async {
        let client = coordinator_client::Client::lazy(endpoints).ok()?;
        registry::all(&client).await.ok()
    };
    let Ok(Some(registrations)) = timeout(ANSWER_MAX, found).await else {
        return; // The coordinator's own health says why.
    };
    for (status, health) in services.iter().zip(health) {
        let port = port_of(&status.address);
        let program = super::service::find(&status.service).map_or("", |row| row.name);
        let is_registered = registrations.iter().any(|registration| {
            registration.program == program && registration.addresses.values().any(|at| port_of(at) == port)
        });
        if program != "coordinator" && health.is_healthy() && !is_registered {
            *health = Health::Unhealthy("not registered in the coordinator: other services cannot find it".to_owned());
        }
    }
}

fn port_of(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(_, port)| port)
}

async fn of(status: &Status) -> Health {
    if status.state != State::Ready {
        let name = status.state.name();
        return Health::Unhealthy(match &status.reason {
            Some(reason) => format!("{name}: {reason}"),
            None => name.to_owned(),
        });
    }
    match status.process {
        Some(process) if !process.is_alive() => return Health::Unhealthy("its process has ended".to_owned()),
        Some(process) if process.is_stopped() => {
            return Health::Unhealthy(format!(
                "its process is stopped: kill -CONT {} lets it go on",
                process.pid
            ));
        }
        _ => {}
    }
    let Some((address, page)) = status.health.split_once('/') else {
        return Health::Healthy; // Of a launcher that did not note the page yet.
    };
    match timeout(ANSWER_MAX, http::get(address, page)).await {
        Ok(Ok((200, _))) => Health::Healthy,
        Ok(Ok((_, body))) => Health::Unhealthy(one_line(&body)),
        Ok(Err(error)) => Health::Unhealthy(format!("http://{}: {error}", status.health)),
        Err(_) => Health::Unhealthy(format!(
            "http://{} does not answer within {} s",
            status.health,
            ANSWER_MAX.as_secs()
        )),
    }
}

/// A text of any length and shape, as one line of a message.
pub fn one_line(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::procfs::Process;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn ready(health: &str) -> Status {
        let mut status = Status::new("log-broker", "127.0.0.1:1".to_owned(), health.to_owned());
        status.state = State::Ready;
        status.process = Some(Process::this());
        status
    }

    #[tokio::test]
    async fn a_page_that_complains_or_hangs_is_no_health() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in ["HTTP/1.1 200 OK\r\n\r\nok\n", "HTTP/1.1 503 x\r\n\r\nsafe\nmode\n", ""] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let status = ready(&format!("{address}/healthz"));
        assert_eq!(of(&status).await, Health::Healthy);
        assert_eq!(of(&status).await, Health::Unhealthy("safe mode".to_owned()));
        assert!(!of(&status).await.is_healthy(), "an empty answer");
        assert!(!of(&status).await.is_healthy(), "none listens");
    }

    #[tokio::test]
    async fn what_is_not_ready_says_why() {
        let mut status = ready("");
        status.state = State::Restarting;
        status.reason = Some("was killed (SIGKILL)".to_owned());
        assert_eq!(of(&status).await.reason(), Some("restarting: was killed (SIGKILL)"));
    }
}
