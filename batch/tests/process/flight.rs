//! Flight SQL as a client sees it, against the real program.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use arrow::util::display::array_value_to_string;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, Ticket};
use futures::TryStreamExt;
use testing::{Process, Program, TestDir};
use tonic::transport::Channel;

struct Server {
    process: Process,
}

impl Server {
    fn start() -> Self {
        let server = Program::new(env!("CARGO_BIN_EXE_batch")).args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ]);
        Self {
            process: server.start(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.process.address("flight")
    }

    async fn client(&self) -> FlightSqlServiceClient<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.address())).unwrap();
        FlightSqlServiceClient::new(endpoint.connect().await.unwrap())
    }
}

fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

/// Every cell of a result, row by row.
async fn cells(client: &mut FlightSqlServiceClient<Channel>, info: &FlightInfo) -> Vec<String> {
    let batches: Vec<_> = client.do_get(ticket(info)).await.unwrap().try_collect().await.unwrap();
    let announced = info.clone().try_decode_schema().unwrap();
    for batch in &batches {
        assert_eq!(
            batch.schema().fields(),
            announced.fields(),
            "the stream is what was announced"
        );
    }
    let mut cells = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            cells.extend(
                batch
                    .columns()
                    .iter()
                    .map(|column| array_value_to_string(column, row).unwrap()),
            );
        }
    }
    cells
}

#[tokio::test]
async fn statements_prepared_or_not_give_their_rows() {
    let server = Server::start();
    let mut client = server.client().await;
    let info = client
        .execute("SELECT 1 AS a, ST_AsText(ST_Point(1, 2)) AS b".to_owned(), None)
        .await
        .unwrap();
    assert_eq!(cells(&mut client, &info).await, ["1", "POINT(1 2)"]);

    let path = "../examples/data/zipcodes.parquet";
    let view = format!("CREATE VIEW zips AS SELECT * FROM '{path}'");
    assert_eq!(client.execute_update(view, None).await.unwrap(), 0);
    let mut other = server.client().await;
    let mut prepared = other
        .prepare("SELECT count(*) FROM zips".to_owned(), None)
        .await
        .unwrap();
    let info = prepared.execute().await.unwrap();
    assert_eq!(cells(&mut other, &info).await, ["42049"]);
    prepared.close().await.unwrap();

    let tables = arrow_flight::sql::CommandGetTables {
        catalog: None,
        db_schema_filter_pattern: None,
        table_name_filter_pattern: Some("zips".to_owned()),
        table_types: Vec::new(),
        include_schema: false,
    };
    let info = client.get_tables(tables).await.unwrap();
    assert_eq!(
        cells(&mut client, &info).await,
        ["datafusion", "public", "zips", "VIEW"]
    );
}

#[test]
fn the_status_page_has_the_addresses() {
    let status = Server::start().process.status();
    assert_eq!(
        (status["program"].as_str(), status["ready"].as_bool()),
        (Some("batch"), Some(true))
    );
}

/// Statistics answer this query with a constant that is never null, where the plan says that it may be.
#[tokio::test]
async fn a_stream_has_the_schema_that_was_announced() {
    let server = Server::start();
    let mut client = server.client().await;
    let folder = TestDir::new();
    let file = folder.join("ids.parquet");
    let copy = format!(
        "COPY (SELECT * FROM generate_series(1, 10) AS t(id)) TO '{}'",
        file.display()
    );
    let info = client.execute(copy, None).await.unwrap();
    cells(&mut client, &info).await;
    let query = format!("SELECT max(id) FROM '{}'", file.display());
    let info = client.execute(query, None).await.unwrap();
    assert_eq!(cells(&mut client, &info).await, ["10"]);
}

#[tokio::test]
async fn a_wrong_statement_and_garbage_harm_nobody() {
    let server = Server::start();
    let mut client = server.client().await;
    let error = client
        .execute("SELECT nope".to_owned(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("nope"), "{error}");
    let info = client.execute("SELECT $1".to_owned(), None).await.unwrap();
    let error = client.do_get(ticket(&info)).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("no values were given"), "{error}");
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff",
    ] {
        let mut connection = TcpStream::connect(server.address()).unwrap();
        let _refused = connection.write_all(garbage);
    }
    let info = client.execute("SELECT 2".to_owned(), None).await.unwrap();
    assert_eq!(cells(&mut client, &info).await, ["2"]);
}
