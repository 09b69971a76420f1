//! What fills the log and changes nothing: so members that were away for a moment need the state instead of entries.

use std::time::{Duration, Instant};

use coordinator_client::{Client, Compare, Op};
use tokio::time::{sleep, timeout};

/// Every pause an entry of this size: a segment of the log, 16 MB, in two seconds.
const BYTES: usize = 200 << 10;
const PAUSE: Duration = Duration::from_millis(25);
const TIMEOUT: Duration = Duration::from_millis(500);

/// Asks for puts under a condition that never holds, of which the log has every byte and the store none.
pub async fn run(endpoints: Vec<String>, length: Duration) {
    let client = Client::lazy(&endpoints.join(",")).expect("addresses");
    let end = Instant::now() + length;
    while Instant::now() < end {
        let never = vec![Compare::version("ballast", 1)];
        let put = vec![Op::put("ballast", vec![0; BYTES])];
        let _whatever_comes_of_it = timeout(TIMEOUT, client.txn(never, put, Vec::new())).await;
        sleep(PAUSE).await;
    }
}
