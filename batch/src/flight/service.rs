//! Statements and prepared statements.

use std::fmt::Display;
use std::pin::Pin;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery, CommandStatementUpdate,
    ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc,
    Ticket,
};
use bytes::Bytes;
use datafusion::error::DataFusionError;
use futures::{Stream, StreamExt, TryStreamExt};
use prometheus::IntCounterVec;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::catalog;
use super::statements::{Described, Statements};

/// The service; cheap to share.
pub struct FlightSql {
    engine: Box<dyn Statements>,
    statements: IntCounterVec,
}

type Batches = Pin<Box<dyn Stream<Item = Result<arrow_flight::FlightData, Status>> + Send>>;

impl FlightSql {
    pub fn new(engine: Box<dyn Statements>, statements: IntCounterVec) -> Self {
        Self { engine, statements }
    }

    async fn describe(&self, sql: &str) -> Result<Described, Status> {
        self.engine.describe(sql).await.map_err(|error| self.failed(&error))
    }

    /// Runs `sql` and streams what it gives.
    async fn run(&self, sql: &str) -> Result<Response<Batches>, Status> {
        let stream = self.engine.run(sql).await.map_err(|error| self.failed(&error))?;
        let schema = stream.schema();
        let outcomes = self.statements.clone();
        let batches = stream.map_err(move |error| {
            outcomes.with_label_values(&["failed"]).inc();
            FlightError::Tonic(Box::new(status_of(&error)))
        });
        self.statements.with_label_values(&["run"]).inc();
        Ok(Response::new(encode(schema, batches)))
    }

    async fn update(&self, sql: &str) -> Result<i64, Status> {
        let rows = self.engine.update(sql).await.map_err(|error| self.failed(&error))?;
        self.statements.with_label_values(&["run"]).inc();
        Ok(rows)
    }

    fn failed(&self, error: &DataFusionError) -> Status {
        self.statements.with_label_values(&["failed"]).inc();
        status_of(error)
    }

    async fn info(
        &self,
        sql: &str,
        ticket: Bytes,
        descriptor: FlightDescriptor,
    ) -> Result<Response<FlightInfo>, Status> {
        info(&self.describe(sql).await?.schema, ticket, descriptor)
    }
}

/// An answer with one endpoint: this server.
fn info(schema: &Schema, ticket: Bytes, descriptor: FlightDescriptor) -> Result<Response<FlightInfo>, Status> {
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|error| Status::internal(format!("cannot encode the schema: {error}")))?
        .with_descriptor(descriptor)
        .with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(ticket)));
    Ok(Response::new(info))
}

fn encode(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Batches {
    Box::pin(
        FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .build(batches)
            .map_err(Status::from),
    )
}

fn one_batch(batch: RecordBatch) -> Response<Batches> {
    Response::new(encode(
        batch.schema(),
        futures::stream::once(async move { Ok(batch) }).boxed(),
    ))
}

fn status_of(error: &DataFusionError) -> Status {
    let text = error.strip_backtrace();
    match error.find_root() {
        DataFusionError::NotImplemented(_) => Status::unimplemented(text),
        DataFusionError::ResourcesExhausted(_) => Status::resource_exhausted(text),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Status::unavailable(text),
        DataFusionError::Internal(_) => Status::internal(text),
        _ => Status::invalid_argument(text),
    }
}

fn text(bytes: &[u8]) -> Result<&str, Status> {
    std::str::from_utf8(bytes)
        .map_err(|_| Status::invalid_argument("this ticket or handle is not one of this server's: ask for a new one"))
}

fn encoding(error: impl Display) -> Status {
    Status::internal(format!("cannot encode the answer: {error}"))
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = Self;

    /// Takes any credentials: there is no authentication.
    async fn do_handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: Bytes::new(),
        };
        Ok(Response::new(Box::pin(futures::stream::once(
            async move { Ok(answer) },
        ))))
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = TicketStatementQuery {
            statement_handle: query.query.clone().into(),
        };
        self.info(
            &query.query,
            ticket.as_any().encode_to_vec().into(),
            request.into_inner(),
        )
        .await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        self.run(text(&ticket.statement_handle)?).await
    }

    async fn do_put_statement_update(
        &self,
        ticket: CommandStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.update(&ticket.query).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let described = self.describe(&query.query).await?;
        if described.has_parameters {
            return Err(Status::unimplemented(
                "statements with parameters are not supported: write the values into them",
            ));
        }
        let message: IpcMessage = SchemaAsIpc::new(&described.schema, &IpcWriteOptions::default())
            .try_into()
            .map_err(encoding)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: query.query.into(),
            dataset_schema: message.0,
            parameter_schema: Bytes::new(),
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        _query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec().into();
        self.info(text(&query.prepared_statement_handle)?, ticket, request.into_inner())
            .await
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        self.run(text(&query.prepared_statement_handle)?).await
    }

    async fn do_put_prepared_statement_update(
        &self,
        query: CommandPreparedStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.update(text(&query.prepared_statement_handle)?).await
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec().into();
        info(&query.into_builder().schema(), ticket, request.into_inner())
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        Ok(one_batch(self.engine.catalogs(query).map_err(encoding)?))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec().into();
        info(&query.into_builder().schema(), ticket, request.into_inner())
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        Ok(one_batch(self.engine.schemas(query).map_err(encoding)?))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec().into();
        info(&query.into_builder().schema(), ticket, request.into_inner())
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        Ok(one_batch(self.engine.tables(query).await.map_err(encoding)?))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec().into();
        info(&query.into_builder().schema(), ticket, request.into_inner())
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        Ok(one_batch(catalog::table_types(query).map_err(encoding)?))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let ticket = query.as_any().encode_to_vec().into();
        let known = catalog::server_info().map_err(encoding)?;
        info(&query.into_builder(&known).schema(), ticket, request.into_inner())
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let known = catalog::server_info().map_err(encoding)?;
        Ok(one_batch(query.into_builder(&known).build().map_err(encoding)?))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
