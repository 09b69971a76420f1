//! A client of the file system, on behalf of somebody who speaks HTTP.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dfs_wire::checksum::{Checksum, Kind};
use dfs_wire::proto::hdfs::op_write_block_proto::BlockConstructionStage as Stage;
use dfs_wire::proto::hdfs::*;
use tokio::sync::mpsc;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::Error;
use crate::datanode::link::{BlockWriter, read_block};
use crate::ipc::{CLIENT_DATANODE_PROTOCOL, CLIENT_PROTOCOL, CallError, Client};

/// Leases are renewed this often; the soft limit is 60 s.
const RENEW_INTERVAL: Duration = Duration::from_secs(20);
/// How often a call that the name node asks to repeat is repeated, 100 ms apart and twice as long each time.
const RETRIES: u32 = 7;
/// A file whose upload failed is tried to be closed so often, this far apart.
const ABANDON_TRIES: u32 = 60;
const ABANDON_INTERVAL: Duration = Duration::from_secs(1);
/// Pieces of a file on their way to a reader.
const READ_AHEAD: usize = 8;

/// Speaks to the name node as one user.
pub struct FileSystem {
    name_node: Client,
    client_name: String,
}

fn error_of(error: CallError) -> Error {
    match error {
        CallError::Connection(message) => Error::Io(message),
        CallError::Remote { class, message } => match class.as_str() {
            "java.io.FileNotFoundException" => Error::FileNotFound(message),
            "org.apache.hadoop.fs.FileAlreadyExistsException" => Error::AlreadyExists(message),
            "org.apache.hadoop.hdfs.protocol.AlreadyBeingCreatedException" => Error::AlreadyBeingCreated(message),
            "org.apache.hadoop.hdfs.server.namenode.SafeModeException" => Error::SafeMode(message),
            "org.apache.hadoop.hdfs.server.namenode.NotReplicatedYetException" => Error::NotReplicatedYet(message),
            "org.apache.hadoop.hdfs.protocol.RecoveryInProgressException" => Error::RecoveryInProgress(message),
            "org.apache.hadoop.fs.InvalidPathException" => Error::InvalidPath(message),
            "java.lang.UnsupportedOperationException" => Error::Unsupported(message),
            "org.apache.hadoop.security.authorize.AuthorizationException" => Error::Authorization(message),
            "org.apache.hadoop.security.AccessControlException" => Error::AccessControl(message),
            "org.apache.hadoop.HadoopIllegalArgumentException" => Error::IllegalArgument(message),
            _ => Error::Io(message),
        },
    }
}

/// A file that is being written.
pub struct Upload {
    fs: FileSystem,
    path: String,
    file_id: u64,
    block_size: u64,
    checksum: Checksum,
    block: Option<ExtendedBlockProto>,
    writer: Option<BlockWriter>,
    pending: BytesMut,
    renewed: Instant,
}

impl FileSystem {
    pub fn new(name_node: &str, (user, real_user): (String, Option<String>)) -> Self {
        let id = uuid::Uuid::new_v4();
        Self {
            name_node: Client::new(name_node, user, CLIENT_PROTOCOL, *id.as_bytes()).on_behalf_by(real_user),
            client_name: format!("DFSClient_WebHDFS_{id}"),
        }
    }

    async fn call<R: prost::Message + Default>(
        &mut self,
        method: &str,
        asked: &impl prost::Message,
    ) -> Result<R, Error> {
        let mut pause = Duration::from_millis(100);
        for attempt in 0.. {
            match self.name_node.call(method, asked).await.map_err(error_of) {
                Err(Error::NotReplicatedYet(_) | Error::RecoveryInProgress(_)) if attempt < RETRIES => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                other => return other,
            }
        }
        Err(Error::Io(format!("{method} was repeated too often")))
    }

    pub async fn server_defaults(&mut self) -> Result<FsServerDefaultsProto, Error> {
        let asked = GetServerDefaultsRequestProto {};
        let answer: GetServerDefaultsResponseProto = self.call("getServerDefaults", &asked).await?;
        Ok(answer.server_defaults)
    }

    pub async fn locations(&mut self, path: &str, offset: u64, length: u64) -> Result<LocatedBlocksProto, Error> {
        let asked = GetBlockLocationsRequestProto {
            src: path.to_owned(),
            offset,
            length,
        };
        let answer: GetBlockLocationsResponseProto = self.call("getBlockLocations", &asked).await?;
        answer.locations.ok_or_else(|| Error::not_found(path))
    }

    /// Adds the block that is being written to those of an open file, with the bytes that all its data nodes have.
    pub async fn add_open_block(&self, located: &mut LocatedBlocksProto) -> Result<(), Error> {
        let Some(mut last) = located.last_block.clone().filter(|_| !located.is_last_block_complete) else {
            return Ok(());
        };
        let asked = GetReplicaVisibleLengthRequestProto { block: last.b.clone() };
        let mut failure = None;
        for node in &last.locs {
            let address = format!("{}:{}", node.id.ip_addr, node.id.ipc_port);
            let id = *uuid::Uuid::new_v4().as_bytes();
            let mut client = Client::new(address, &*self.client_name, CLIENT_DATANODE_PROTOCOL, id);
            match client
                .call::<GetReplicaVisibleLengthResponseProto>("getReplicaVisibleLength", &asked)
                .await
            {
                Ok(answer) => {
                    last.offset = located.file_length;
                    last.b.num_bytes = Some(answer.length);
                    located.file_length = located.file_length.saturating_add(answer.length);
                    located.blocks.push(last);
                    return Ok(());
                }
                // Its writer has not come there yet.
                Err(CallError::Remote { class, .. }) if class.ends_with("ReplicaNotFoundException") => {}
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(Error::Io(format!(
                "Cannot obtain block length for blk_{}: {error}",
                last.b.block_id
            ))),
            None => Ok(()),
        }
    }

    /// Lets go of a file whose upload failed: it is closed with what its data nodes have.
    async fn abandon(mut self, path: String) {
        let asked = RecoverLeaseRequestProto {
            src: path,
            client_name: self.client_name.clone(),
        };
        for _ in 0..ABANDON_TRIES {
            match self.call::<RecoverLeaseResponseProto>("recoverLease", &asked).await {
                Ok(answer) if answer.result => return,
                Err(Error::FileNotFound(_)) => return,
                _ => tokio::time::sleep(ABANDON_INTERVAL).await,
            }
        }
        tracing::warn!(path = asked.src, "an upload failed, and its file is still open");
    }

    pub fn client_name(&self) -> &str {
        &self.client_name
    }

    /// Starts a new file; what `asked` leaves 0 is the server's default.
    pub async fn create(mut self, mut asked: CreateRequestProto) -> Result<Upload, Error> {
        let defaults = self.server_defaults().await?;
        if asked.block_size == 0 {
            asked.block_size = defaults.block_size;
        }
        if asked.replication == 0 {
            asked.replication = defaults.replication;
        }
        asked.client_name = self.client_name.clone();
        let answer: CreateResponseProto = self.call("create", &asked).await?;
        let status = answer.fs.ok_or_else(|| Error::not_found(&asked.src))?;
        Ok(Upload::new(self, asked.src, &status, defaults.bytes_per_checksum))
    }

    /// Opens a file at its end.
    pub async fn append(mut self, path: &str) -> Result<Upload, Error> {
        let defaults = self.server_defaults().await?;
        let asked = AppendRequestProto {
            src: path.to_owned(),
            client_name: self.client_name.clone(),
            flag: Some(4),
        };
        let answer: AppendResponseProto = self.call("append", &asked).await?;
        let status = answer.stat.ok_or_else(|| Error::not_found(path))?;
        let mut upload = Upload::new(self, path.to_owned(), &status, defaults.bytes_per_checksum);
        if let Some(last) = answer.block
            && let Err(error) = upload.reopen(last).await
        {
            upload.abandon();
            return Err(error);
        }
        Ok(upload)
    }
}

impl Upload {
    fn new(fs: FileSystem, path: String, status: &HdfsFileStatusProto, chunk: u32) -> Self {
        Self {
            fs,
            path,
            file_id: status.file_id(),
            block_size: status.blocksize().max(1),
            checksum: Checksum {
                kind: Kind::Crc32c,
                chunk,
            },
            block: None,
            writer: None,
            pending: BytesMut::new(),
            renewed: Instant::now(),
        }
    }

    /// Goes on with the last block, under a new stamp, which tells replicas that missed this from the others.
    async fn reopen(&mut self, last: LocatedBlockProto) -> Result<(), Error> {
        let asked = UpdateBlockForPipelineRequestProto {
            block: last.b.clone(),
            client_name: self.fs.client_name.clone(),
        };
        let answer: UpdateBlockForPipelineResponseProto = self.fs.call("updateBlockForPipeline", &asked).await?;
        let new = ExtendedBlockProto {
            generation_stamp: answer.block.b.generation_stamp,
            ..last.b.clone()
        };
        let (stage, client) = (Stage::PipelineSetupAppend, self.fs.client_name.clone());
        let writer = block_in_place(|| BlockWriter::open(&new, &last.locs, stage, &client, self.checksum))?;
        let asked = UpdatePipelineRequestProto {
            client_name: self.fs.client_name.clone(),
            old_block: last.b,
            new_block: new.clone(),
            new_nodes: last.locs.into_iter().map(|info| info.id).collect(),
            storage_i_ds: last.storage_i_ds,
        };
        self.fs
            .call::<UpdatePipelineResponseProto>("updatePipeline", &asked)
            .await?;
        self.writer = Some(writer);
        self.block = Some(new);
        Ok(())
    }

    pub async fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.pending.extend_from_slice(data);
        self.send(false).await
    }

    /// Sends what is pending in whole packets; all of it with `flush`.
    async fn send(&mut self, flush: bool) -> Result<(), Error> {
        loop {
            if self.renewed.elapsed() > RENEW_INTERVAL {
                let asked = RenewLeaseRequestProto {
                    client_name: self.fs.client_name.clone(),
                    namespaces: Vec::new(),
                };
                self.fs.call::<RenewLeaseResponseProto>("renewLease", &asked).await?;
                self.renewed = Instant::now();
            }
            if self.pending.is_empty() {
                return Ok(());
            }
            if self
                .writer
                .as_ref()
                .is_some_and(|writer| writer.offset() >= self.block_size)
            {
                self.finish_block()?;
            }
            if self.writer.is_none() {
                self.next_block().await?;
            }
            let Some(writer) = &mut self.writer else {
                return Err(Error::Io("there is no block".to_owned()));
            };
            let left = usize::try_from(self.block_size - writer.offset()).unwrap_or(usize::MAX);
            let room = writer.packet_room().min(left);
            if self.pending.len() < room && !flush {
                return Ok(());
            }
            let packet = self.pending.split_to(room.min(self.pending.len()));
            block_in_place(|| writer.write(&packet))?;
        }
    }

    async fn next_block(&mut self) -> Result<(), Error> {
        let mut exclude_nodes = Vec::new();
        loop {
            let asked = AddBlockRequestProto {
                src: self.path.clone(),
                client_name: self.fs.client_name.clone(),
                previous: self.block.clone(),
                exclude_nodes: exclude_nodes.clone(),
                file_id: Some(self.file_id),
                favored_nodes: Vec::new(),
            };
            let located = self.fs.call::<AddBlockResponseProto>("addBlock", &asked).await?.block;
            let (stage, client) = (Stage::PipelineSetupCreate, self.fs.client_name.clone());
            match block_in_place(|| BlockWriter::open(&located.b, &located.locs, stage, &client, self.checksum)) {
                Ok(writer) => {
                    self.writer = Some(writer);
                    self.block = Some(located.b);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%error, "a pipeline did not open; trying other data nodes");
                    let asked = AbandonBlockRequestProto {
                        b: located.b,
                        src: self.path.clone(),
                        holder: self.fs.client_name.clone(),
                        file_id: Some(self.file_id),
                    };
                    self.fs
                        .call::<AbandonBlockResponseProto>("abandonBlock", &asked)
                        .await?;
                    exclude_nodes.extend(located.locs.into_iter().take(1));
                }
            }
        }
    }

    fn finish_block(&mut self) -> Result<(), Error> {
        if let (Some(writer), Some(block)) = (self.writer.take(), &mut self.block) {
            block.num_bytes = Some(block_in_place(|| writer.finish())?);
        }
        Ok(())
    }

    /// Gives up: the file is closed, in the background, with what is there.
    pub fn abandon(mut self) {
        drop(self.writer.take());
        tokio::spawn(self.fs.abandon(self.path));
    }

    /// Sends the rest and closes the file.
    pub async fn close(&mut self) -> Result<(), Error> {
        self.send(true).await?;
        self.finish_block()?;
        let asked = CompleteRequestProto {
            src: self.path.clone(),
            client_name: self.fs.client_name.clone(),
            last: self.block.clone(),
            file_id: Some(self.file_id),
        };
        let mut pause = Duration::from_millis(50);
        for _ in 0..RETRIES {
            if self.fs.call::<CompleteResponseProto>("complete", &asked).await?.result {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Error::Io(format!(
            "Unable to close file {} because the last block does not have enough replicas.",
            self.path
        )))
    }
}

/// Reads `length` bytes from `offset` of a file, piece by piece. Each block from the first data node that has it whole.
pub fn download(
    client: String,
    located: LocatedBlocksProto,
    offset: u64,
    length: u64,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    tokio::task::spawn_blocking(move || {
        let end = offset + length;
        for block in &located.blocks {
            let (start, bytes) = (block.offset, block.b.num_bytes());
            let (from, to) = (offset.max(start), end.min(start + bytes));
            if from >= to {
                continue;
            }
            if let Err(error) = download_block(&client, block, from - start, to - from, &sender) {
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
    });
    receiver
}

fn download_block(
    client: &str,
    block: &LocatedBlockProto,
    offset: u64,
    length: u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut done = 0;
    let mut last = io::Error::other(format!("no data node has blk_{}", block.b.block_id));
    for node in &block.locs {
        let outcome = read_block(node, &block.b, client, offset + done, length - done, |piece| {
            done += piece.len() as u64;
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            sender.blocking_send(Ok(Bytes::copy_from_slice(piece))).map_err(gone)
        });
        match outcome {
            _ if done == length => return Ok(()),
            Ok(()) => last = io::ErrorKind::UnexpectedEof.into(),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && sender.is_closed() => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}
