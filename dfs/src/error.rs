//! What can go wrong, in the words of the protocol: each variant is one of Hadoop's exceptions.

/// An error that a client is told. [`Error::java_class`] names the exception that its library throws for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Client: give an existing path.
    #[error("{0}")]
    FileNotFound(String),
    /// Client: choose another path, or overwrite.
    #[error("{0}")]
    AlreadyExists(String),
    /// Client: a file stands where a directory is needed.
    #[error("{0} (is not a directory)")]
    ParentNotDirectory(String),
    /// Client: delete recursively.
    #[error("{0} is non empty")]
    NotEmpty(String),
    /// Client: paths are absolute, without `.`, `..` and empty names.
    #[error("Invalid path name {0}")]
    InvalidPath(String),
    /// Client: another writer (or this one) holds the file open; wait for it, or recover its lease.
    #[error("{0}")]
    AlreadyBeingCreated(String),
    /// Client: its lease was taken from it; the file has to be opened again.
    #[error("{0}")]
    LeaseExpired(String),
    /// Client: try again in a while.
    #[error("{0}")]
    RecoveryInProgress(String),
    /// Client: try again in a while, the block before is not reported yet.
    #[error("Not replicated yet: {0}")]
    NotReplicatedYet(String),
    /// Client: try again when data nodes have reported, or operator: leave safe mode.
    #[error("{0}")]
    SafeMode(String),
    /// Client: not allowed to this user.
    #[error("{0}")]
    AccessControl(String),
    /// Client: that list of access control entries is none.
    #[error("{0}")]
    Acl(String),
    /// Client: it may not act for that user.
    #[error("{0}")]
    Authorization(String),
    /// Client: not served here.
    #[error("{0}")]
    Unsupported(String),
    /// Client: no such call.
    #[error("Unknown method {0} called on {1} protocol.")]
    NoSuchMethod(String, String),
    /// Client: no such protocol on this port.
    #[error("Unknown protocol: {0}")]
    NoSuchProtocol(String),
    /// Client: an argument has no meaning.
    #[error("{0}")]
    IllegalArgument(String),
    /// Client: the replica is not (or no longer) on this data node.
    #[error("{0}")]
    ReplicaNotFound(String),
    /// Operator: the HA state that was asked for does not exist.
    #[error("{0}")]
    ServiceFailed(String),
    /// Whoever reads it: everything else, Hadoop's plain IOException.
    #[error("{0}")]
    Io(String),
}

impl Error {
    pub fn not_found(path: &str) -> Self {
        Self::FileNotFound(format!("File does not exist: {path}"))
    }

    pub fn java_class(&self) -> &'static str {
        match self {
            Self::FileNotFound(_) => "java.io.FileNotFoundException",
            Self::AlreadyExists(_) => "org.apache.hadoop.fs.FileAlreadyExistsException",
            Self::ParentNotDirectory(_) => "org.apache.hadoop.fs.ParentNotDirectoryException",
            Self::NotEmpty(_) => "org.apache.hadoop.fs.PathIsNotEmptyDirectoryException",
            Self::InvalidPath(_) => "org.apache.hadoop.fs.InvalidPathException",
            Self::AlreadyBeingCreated(_) => "org.apache.hadoop.hdfs.protocol.AlreadyBeingCreatedException",
            Self::LeaseExpired(_) => "org.apache.hadoop.hdfs.server.namenode.LeaseExpiredException",
            Self::RecoveryInProgress(_) => "org.apache.hadoop.hdfs.protocol.RecoveryInProgressException",
            Self::NotReplicatedYet(_) => "org.apache.hadoop.hdfs.server.namenode.NotReplicatedYetException",
            Self::SafeMode(_) => "org.apache.hadoop.hdfs.server.namenode.SafeModeException",
            Self::AccessControl(_) => "org.apache.hadoop.security.AccessControlException",
            Self::Acl(_) => "org.apache.hadoop.hdfs.protocol.AclException",
            Self::Authorization(_) => "org.apache.hadoop.security.authorize.AuthorizationException",
            Self::Unsupported(_) => "java.lang.UnsupportedOperationException",
            Self::NoSuchMethod(..) => "org.apache.hadoop.ipc.RpcNoSuchMethodException",
            Self::NoSuchProtocol(_) => "org.apache.hadoop.ipc.RpcNoSuchProtocolException",
            Self::IllegalArgument(_) => "org.apache.hadoop.HadoopIllegalArgumentException",
            Self::ReplicaNotFound(_) => "org.apache.hadoop.hdfs.server.datanode.ReplicaNotFoundException",
            Self::ServiceFailed(_) => "org.apache.hadoop.ha.ServiceFailedException",
            Self::Io(_) => "java.io.IOException",
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<dfs_wire::Error> for Error {
    fn from(error: dfs_wire::Error) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<prost::DecodeError> for Error {
    fn from(error: prost::DecodeError) -> Self {
        Self::IllegalArgument(format!("the argument cannot be read: {error}"))
    }
}
