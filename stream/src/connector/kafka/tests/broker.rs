//! A broker of one topic in memory: enough of Kafka's protocol for the client to read and write it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use log_broker_wire::compression::Codec;
use log_broker_wire::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use log_broker_wire::messages::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use log_broker_wire::messages::init_producer_id::InitProducerIdResponse;
use log_broker_wire::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use log_broker_wire::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use log_broker_wire::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use log_broker_wire::{Message, Record, batch, frame, record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub const TOPIC: &str = "flights";

/// Calls and the one version that is spoken of each.
const SERVED: [(i16, i16); 6] = [(0, 9), (1, 12), (2, 6), (3, 9), (18, 3), (22, 4)];

/// The records of each partition; they outlive the broker.
pub type Log = Arc<Mutex<Vec<Vec<Record>>>>;

pub struct Broker {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

pub fn log(partitions: usize) -> Log {
    Arc::new(Mutex::new(vec![Vec::new(); partitions]))
}

/// Appends a record with the next offset.
pub fn append(log: &Log, partition: usize, mut record: Record) {
    let records = &mut log.lock().unwrap()[partition];
    record.offset = records.len() as i64;
    records.push(record);
}

impl Broker {
    pub async fn start(log: &Log, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = log.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket, log.clone(), address));
            }
        });
        Self { address, task }
    }

    /// Closes the port and every connection.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn serve(mut socket: TcpStream, log: Log, address: SocketAddr) {
    loop {
        let Ok(len) = socket.read_u32().await else { return };
        let mut request = BytesMut::zeroed(len as usize);
        if socket.read_exact(&mut request).await.is_err() {
            return;
        }
        let (header, body) = frame::read_request(request.freeze()).unwrap();
        let body = body.expect("the client asks for what was offered");
        let version = header.version;
        let id = header.correlation_id;
        let answer = match header.key {
            0 => produce(&log, &ProduceRequest::decode(body, version).unwrap(), version, id),
            1 => {
                let request = FetchRequest::decode(body, version).unwrap();
                let answer = fetch(&log, &request);
                if answer.responses[0].partitions[0].records.is_none() {
                    tokio::time::sleep(std::time::Duration::from_millis(request.max_wait_ms as u64)).await;
                }
                frame::write_response(&answer, version, id)
            }
            2 => list_offsets(&log, &ListOffsetsRequest::decode(body, version).unwrap(), version, id),
            3 => metadata(
                &log,
                &MetadataRequest::decode(body, version).unwrap(),
                address,
                version,
                id,
            ),
            18 => {
                let api = |(api_key, version): &(i16, i16)| ApiVersion {
                    api_key: *api_key,
                    min_version: *version,
                    max_version: *version,
                };
                let api_keys = SERVED.iter().map(api).collect();
                frame::write_response(
                    &ApiVersionsResponse {
                        api_keys,
                        ..Default::default()
                    },
                    version.min(3),
                    id,
                )
            }
            _ => {
                let answer = InitProducerIdResponse {
                    producer_id: 7,
                    ..Default::default()
                };
                frame::write_response(&answer, version, id)
            }
        };
        for segment in answer {
            if socket.write_all(&segment).await.is_err() {
                return;
            }
        }
    }
}

fn metadata(log: &Log, request: &MetadataRequest, address: SocketAddr, version: i16, id: i32) -> Vec<Bytes> {
    let partitions = (0..log.lock().unwrap().len() as i32)
        .map(|index| MetadataResponsePartition {
            partition_index: index,
            leader_id: 1,
            leader_epoch: 0,
            ..Default::default()
        })
        .collect::<Vec<_>>();
    let names = request.topics.iter().flatten().filter_map(|topic| topic.name.clone());
    let topics = names.map(|name| match name.as_str() {
        TOPIC => MetadataResponseTopic {
            name: Some(name),
            partitions: partitions.clone(),
            ..Default::default()
        },
        _ => MetadataResponseTopic {
            name: Some(name),
            error_code: 3,
            ..Default::default()
        },
    });
    let response = MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 1,
            host: address.ip().to_string(),
            port: address.port().into(),
            ..Default::default()
        }],
        controller_id: 1,
        topics: topics.collect(),
        ..Default::default()
    };
    frame::write_response(&response, version, id)
}

fn list_offsets(log: &Log, request: &ListOffsetsRequest, version: i16, id: i32) -> Vec<Bytes> {
    let asked = &request.topics[0].partitions[0];
    let log = log.lock().unwrap();
    let records = &log[asked.partition_index as usize];
    let offset = match asked.timestamp {
        -2 => 0,
        -1 => records.len() as i64,
        time => records
            .iter()
            .position(|r| r.timestamp >= time)
            .map_or(-1, |at| at as i64),
    };
    let partition = ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        offset,
        ..Default::default()
    };
    let topic = ListOffsetsTopicResponse {
        name: TOPIC.to_owned(),
        partitions: vec![partition],
    };
    frame::write_response(
        &ListOffsetsResponse {
            topics: vec![topic],
            ..Default::default()
        },
        version,
        id,
    )
}

/// At most 100 records, as one batch.
fn fetch(log: &Log, request: &FetchRequest) -> FetchResponse {
    let asked = &request.topics[0].partitions[0];
    let log = log.lock().unwrap();
    let records = &log[asked.partition as usize];
    let end = records.len() as i64;
    let outside = asked.fetch_offset < 0 || asked.fetch_offset > end;
    let found: Vec<Record> = match outside {
        true => Vec::new(),
        false => records[asked.fetch_offset as usize..]
            .iter()
            .take(100)
            .cloned()
            .collect(),
    };
    let batch = found.first().map(|first| {
        let mut batch = BytesMut::from(&record::encode_batch(&found, Codec::None, None).unwrap()[..]);
        batch::place(&mut batch, first.offset, 0);
        batch.freeze()
    });
    let partition = PartitionData {
        partition_index: asked.partition,
        error_code: if outside { 1 } else { 0 },
        high_watermark: end,
        records: batch.map(Into::into),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        topic: TOPIC.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    FetchResponse {
        responses: vec![topic],
        ..Default::default()
    }
}

fn produce(log: &Log, request: &ProduceRequest, version: i16, id: i32) -> Vec<Bytes> {
    let data = &request.topic_data[0].partition_data[0];
    let batch = data.records.clone().unwrap();
    let base_offset = log.lock().unwrap()[data.index as usize].len() as i64;
    for record in record::records(batch, 1 << 20).unwrap() {
        append(log, data.index as usize, record.unwrap());
    }
    let partition = PartitionProduceResponse {
        index: data.index,
        base_offset,
        ..Default::default()
    };
    let topic = TopicProduceResponse {
        name: TOPIC.to_owned(),
        partition_responses: vec![partition],
        ..Default::default()
    };
    frame::write_response(
        &ProduceResponse {
            responses: vec![topic],
            ..Default::default()
        },
        version,
        id,
    )
}
