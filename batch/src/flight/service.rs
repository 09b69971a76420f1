//! Statements and prepared statements.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, CommandGetCatalogs, CommandGetDbSchemas,
    CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandPreparedStatementQuery,
    CommandPreparedStatementUpdate, CommandStatementQuery, CommandStatementUpdate, DoPutPreparedStatementResult,
    ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor,
    FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use futures::{Stream, StreamExt, TryStreamExt};
use prometheus::IntCounterVec;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::catalog;
use super::connection::ConnectionSession;
use super::handle::{Handle, parameters, rows};
use super::running::Running;
use crate::engine::interrupt::is_cancelled;
use crate::engine::{Described, Engine, Interrupt, Session};

/// ActionCancelQueryResult.CancelResult, which the crate does not export.
const CANCEL_RESULT_CANCELLED: i32 = 1;
/// The action's name in the protocol.
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";

/// The service.
pub struct FlightSql {
    engine: Engine,
    running: Running,
    statements: IntCounterVec,
}

type Batches = Pin<Box<dyn Stream<Item = Result<arrow_flight::FlightData, Status>> + Send>>;

impl FlightSql {
    pub fn new(engine: Engine, statements: IntCounterVec) -> Self {
        Self {
            engine,
            running: Running::default(),
            statements,
        }
    }

    /// The session of the connection that a request came over.
    fn session<T>(&self, request: &Request<T>) -> Session {
        match request.extensions().get::<ConnectionSession>() {
            Some(connection) => connection.get_or_open(|| self.engine.session()),
            None => self.engine.session(),
        }
    }

    /// The schema of a statement's answer, as it is sent: without dictionaries.
    async fn describe(&self, session: &Session, handle: &Handle) -> Result<Described, Status> {
        let values = handle.rows()?.into_iter().next().unwrap_or_default();
        let described = session.describe(handle.sql.clone(), values).await;
        let mut described = described.map_err(|error| self.failed(&error))?;
        described.schema = plain_schema(&described.schema);
        Ok(described)
    }

    /// Runs a statement, once for each row of values, and streams what it gives.
    async fn run(&self, session: Session, handle: Handle) -> Result<Response<Batches>, Status> {
        let Some(entry) = self.running.enter(handle.query) else {
            return Err(Status::cancelled("the query was cancelled before it ran"));
        };
        let mut executions = handle.rows()?.into_iter();
        let values = executions.next().unwrap_or_default();
        let described = session.describe(handle.sql.clone(), values.clone()).await;
        let schema = plain_schema(&described.map_err(|error| self.failed(&error))?.schema);
        let first = session.run(handle.sql.clone(), values, entry.interrupt()).await;
        let first = first.map_err(|error| self.failed(&error))?;
        self.statements.with_label_values(&["run"]).inc();
        let (announced, sql) = (Arc::clone(&schema), handle.sql);
        let rest = futures::stream::iter(executions).then(move |values| {
            let (session, sql, interrupt) = (session.clone(), sql.clone(), entry.interrupt());
            async move { session.run(sql, values, interrupt).await }
        });
        // The batches have the schema that was announced, as the protocol demands: what runs may know better than the plan
        // that a column has no nulls, and clients refuse a stream that is not what was announced.
        let batches = futures::stream::iter([Ok(first)])
            .chain(rest)
            .try_flatten()
            .map(move |batch| plain_batch(&batch?, &announced));
        let outcomes = self.statements.clone();
        let batches = batches.map_err(move |error| {
            outcomes.with_label_values(&["failed"]).inc();
            FlightError::Tonic(Box::new(status_of(&error)))
        });
        Ok(Response::new(encode(schema, batches)))
    }

    async fn update(&self, session: Session, sql: String, executions: Vec<Vec<ScalarValue>>) -> Result<i64, Status> {
        let mut rows = 0;
        for values in executions {
            let written = session.update(sql.clone(), values, Interrupt::default()).await;
            rows += written.map_err(|error| self.failed(&error))?;
        }
        self.statements.with_label_values(&["run"]).inc();
        Ok(rows)
    }

    fn failed(&self, error: &DataFusionError) -> Status {
        self.statements.with_label_values(&["failed"]).inc();
        status_of(error)
    }

    /// What a statement's answer looks like, and the ticket that runs it.
    async fn info(&self, handle: Handle, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let session = self.session(&request);
        let described = self.describe(&session, &handle).await?;
        let ticket = TicketStatementQuery {
            statement_handle: handle.into_run().bytes(),
        };
        let ticket = ticket.as_any().encode_to_vec().into();
        info(&described.schema, ticket, request.into_inner())
    }

    /// Cancels the queries that the tickets of an answer run.
    fn cancel(&self, info: &FlightInfo) -> Result<(), Status> {
        for endpoint in &info.endpoint {
            let ticket = endpoint
                .ticket
                .as_ref()
                .map(|ticket| ticket.ticket.clone())
                .unwrap_or_default();
            let any =
                arrow_flight::sql::Any::decode(ticket).map_err(|error| Status::invalid_argument(error.to_string()))?;
            let ticket: Option<TicketStatementQuery> = any
                .unpack()
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            let Some(ticket) = ticket else {
                return Err(Status::invalid_argument("only queries can be cancelled"));
            };
            self.running.cancel(Handle::read(&ticket.statement_handle)?.query);
        }
        Ok(())
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
        _ if is_cancelled(error) => Status::cancelled(text),
        _ => Status::invalid_argument(text),
    }
}

/// The schema without dictionaries, which the protocol's encoder sends as their values.
fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let kind = plain_type(field.data_type());
    Arc::new(Field::clone(field).with_data_type(kind))
}

fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::List(field) => DataType::List(plain_field(field)),
        DataType::LargeList(field) => DataType::LargeList(plain_field(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(plain_field(field), *size),
        DataType::ListView(field) => DataType::ListView(plain_field(field)),
        DataType::LargeListView(field) => DataType::LargeListView(plain_field(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(field, sorted) => DataType::Map(plain_field(field), *sorted),
        kind => kind.clone(),
    }
}

/// The same values under the announced schema.
fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            arrow::compute::cast(column, field.data_type())
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)?)
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
        self.info(Handle::of(query.query), request).await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let session = self.session(&request);
        self.run(session, Handle::read(&ticket.statement_handle)?).await
    }

    async fn do_put_statement_update(
        &self,
        ticket: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request);
        self.update(session, ticket.query, vec![Vec::new()]).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let session = self.session(&request);
        let handle = Handle::of(query.query);
        let described = self.describe(&session, &handle).await?;
        let message = |schema: &Schema| -> Result<Bytes, Status> {
            let message: IpcMessage = SchemaAsIpc::new(schema, &IpcWriteOptions::default())
                .try_into()
                .map_err(encoding)?;
            Ok(message.0)
        };
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.bytes(),
            dataset_schema: message(&described.schema)?,
            parameter_schema: if described.parameters.fields().is_empty() {
                Bytes::new()
            } else {
                message(&described.parameters)?
            },
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        _query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// Binds values: they come back as the handle to use from now on.
    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let handle = Handle::read(&query.prepared_statement_handle)?;
        let batches = parameters(request.into_inner()).await?;
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(handle.with_parameters(&batches)?.bytes()),
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.info(Handle::read(&query.prepared_statement_handle)?, request)
            .await
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let session = self.session(&request);
        self.run(session, Handle::read(&query.prepared_statement_handle)?.into_run())
            .await
    }

    async fn do_put_prepared_statement_update(
        &self,
        query: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let session = self.session(&request);
        let handle = Handle::read(&query.prepared_statement_handle)?;
        let batches = parameters(request.into_inner()).await?;
        let executions = if batches.is_empty() {
            handle.rows()?
        } else {
            rows(&batches)?
        };
        self.update(session, handle.sql, executions).await
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        _request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let info = FlightInfo::decode(query.info).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.cancel(&info)?;
        Ok(ActionCancelQueryResult {
            result: CANCEL_RESULT_CANCELLED,
        })
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        Some(vec![Ok(ActionType {
            r#type: CANCEL_FLIGHT_INFO.into(),
            description: "Cancels the queries of a FlightInfo.".into(),
        })])
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        let action = request.into_inner();
        if action.r#type != CANCEL_FLIGHT_INFO {
            return Err(Status::unimplemented(format!("there is no action {}", action.r#type)));
        }
        let request = CancelFlightInfoRequest::decode(action.body)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.cancel(&request.info.unwrap_or_default())?;
        let result = CancelFlightInfoResult {
            status: CancelStatus::Cancelled as i32,
        };
        let answer = arrow_flight::Result {
            body: result.encode_to_vec().into(),
        };
        Ok(Response::new(Box::pin(futures::stream::once(
            async move { Ok(answer) },
        ))))
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
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let session = self.session(&request);
        Ok(one_batch(
            catalog::catalogs(session.context(), query).map_err(encoding)?,
        ))
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
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let session = self.session(&request);
        Ok(one_batch(catalog::schemas(session.context(), query).map_err(encoding)?))
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
        request: Request<Ticket>,
    ) -> Result<Response<<Self as FlightService>::DoGetStream>, Status> {
        let tables = catalog::tables(self.session(&request).context().clone(), query);
        Ok(one_batch(tables.await.map_err(encoding)?))
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
