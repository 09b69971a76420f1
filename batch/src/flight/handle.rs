//! What tickets and handles of prepared statements hold: the statement itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::Status;

/// A handle travels in each call that uses it, and a call has a limit.
const PARAMETER_BYTES_MAX: usize = 3 << 20;
/// Rows of parameters that one update may run.
const PARAMETER_ROWS_MAX: usize = 100_000;

/// A statement with the values of its parameters.
#[derive(Clone, PartialEq, Message)]
pub struct Handle {
    /// Names one execution, so that it can be cancelled; 0 for a statement that is only prepared.
    #[prost(fixed64, tag = "1")]
    pub query: u64,
    #[prost(string, tag = "2")]
    pub sql: String,
    /// An Arrow IPC stream; empty: no values.
    #[prost(bytes = "bytes", tag = "3")]
    pub parameters: Bytes,
}

impl Handle {
    pub fn of(sql: String) -> Handle {
        Handle {
            query: 0,
            sql,
            parameters: Bytes::new(),
        }
    }

    pub fn read(bytes: &[u8]) -> Result<Handle, Status> {
        Handle::decode(bytes).map_err(|_| {
            Status::invalid_argument("this ticket or handle is not one of this server's: ask for a new one")
        })
    }

    pub fn bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// The same statement as one execution of its own.
    pub fn into_run(mut self) -> Handle {
        self.query = next_query();
        self
    }

    pub fn with_parameters(mut self, batches: &[RecordBatch]) -> Result<Handle, Status> {
        self.parameters = match batches.first() {
            None => Bytes::new(),
            Some(first) => {
                let bad = |error: arrow::error::ArrowError| Status::invalid_argument(error.to_string());
                let mut writer = StreamWriter::try_new(Vec::new(), &first.schema()).map_err(bad)?;
                for batch in batches {
                    writer.write(batch).map_err(bad)?;
                }
                writer.into_inner().map_err(bad)?.into()
            }
        };
        Ok(self)
    }

    /// One list of values for each execution; no execution is without a list.
    pub fn rows(&self) -> Result<Vec<Vec<ScalarValue>>, Status> {
        if self.parameters.is_empty() {
            return Ok(vec![Vec::new()]);
        }
        let bad = |error: arrow::error::ArrowError| Status::invalid_argument(error.to_string());
        let reader = StreamReader::try_new(self.parameters.as_ref(), None).map_err(bad)?;
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(bad)?;
        rows(&batches)
    }
}

/// The values by row.
pub fn rows(batches: &[RecordBatch]) -> Result<Vec<Vec<ScalarValue>>, Status> {
    let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if count > PARAMETER_ROWS_MAX {
        return Err(Status::invalid_argument(format!(
            "{count} rows of parameters are too many for one call: send at most {PARAMETER_ROWS_MAX}"
        )));
    }
    let mut rows = Vec::with_capacity(count);
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch
                .columns()
                .iter()
                .map(|column| ScalarValue::try_from_array(column, row));
            let values = values.collect::<Result<Vec<_>, _>>();
            rows.push(values.map_err(|error| Status::invalid_argument(error.strip_backtrace()))?);
        }
    }
    Ok(rows)
}

/// The batches that a client sends as parameters; none where it sends none.
pub async fn parameters(mut stream: PeekableFlightDataStream) -> Result<Vec<RecordBatch>, Status> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    while let Some(message) = stream.next().await {
        let message = message?;
        bytes += message.data_header.len() + message.data_body.len();
        if bytes > PARAMETER_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "the parameters take more than {PARAMETER_BYTES_MAX} bytes: send fewer rows at a time"
            )));
        }
        // A message of a descriptor alone carries no data.
        if !message.data_header.is_empty() {
            messages.push(Ok::<_, FlightError>(message));
        }
    }
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let batches = FlightRecordBatchStream::new_from_flight_data(futures::stream::iter(messages));
    let batches: Vec<RecordBatch> = batches
        .try_collect()
        .await
        .map_err(|error: FlightError| Status::invalid_argument(format!("cannot read the parameters: {error}")))?;
    Ok(batches
        .into_iter()
        .filter(|batch| batch.num_rows() > 0 && batch.num_columns() > 0)
        .collect())
}

/// Numbers that no earlier process of this server gave either.
fn next_query() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let start = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = start.map_or(0, |since| since.as_nanos() as u64);
    // Never 0, which stands for none.
    (nanoseconds.rotate_left(20) ^ count.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1
}
