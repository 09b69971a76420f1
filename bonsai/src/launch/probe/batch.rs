use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;

use super::{Facts, channel};

pub const CALL: &str = "Flight SQL's GetFlightInfo and DoGet";

pub async fn ask(address: &str) -> Result<Facts, String> {
    let mut client = FlightSqlServiceClient::new(channel(address).await?);
    let info = client.execute("SELECT 1".to_owned(), None).await;
    let info = info.map_err(|error| error.to_string())?;
    let mut rows = 0;
    for endpoint in info.endpoint {
        let ticket = endpoint.ticket.ok_or("an endpoint without a ticket")?;
        let batches = client.do_get(ticket).await.map_err(|error| error.to_string())?;
        let batches: Vec<_> = batches.try_collect().await.map_err(|error| error.to_string())?;
        rows += batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>();
    }
    if rows != 1 {
        return Err(format!("SELECT 1 gave {rows} rows"));
    }
    Ok(Facts::default().summary("SELECT 1 answered"))
}
