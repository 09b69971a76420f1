//! Who a data node is: made at its first start, and kept.

use std::io;
use std::path::Path;
use std::sync::Arc;

use disk::{Disk, Mode};

const FILE: &str = "identity";

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    pub uuid: String,
    pub storage_uuid: String,
    /// The name node's pool; empty until it joined one.
    pub pool_id: String,
}

impl Identity {
    /// Reads it, or makes a new one.
    pub fn open(disk: &Arc<dyn Disk>, directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE);
        if disk.exists(&path)? {
            let file = disk.open(&path, Mode::Read)?;
            let mut bytes = vec![0; file.len()?.min(4096) as usize];
            file.read_exact_at(&mut bytes, 0)?;
            return Self::parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} is unreadable: restore it from a copy", path.display()),
                )
            });
        }
        let uuid = uuid::Uuid::new_v4().to_string();
        let identity = Self {
            storage_uuid: format!("DS-{}", uuid::Uuid::new_v4()),
            uuid,
            pool_id: String::new(),
        };
        identity.save(disk, directory)?;
        Ok(identity)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        Some(Self {
            uuid: field("uuid=").filter(|uuid| !uuid.is_empty())?,
            storage_uuid: field("storage=")?,
            pool_id: field("pool=")?,
        })
    }

    pub fn save(&self, disk: &Arc<dyn Disk>, directory: &Path) -> io::Result<()> {
        let text = format!(
            "uuid={}\nstorage={}\npool={}\n",
            self.uuid, self.storage_uuid, self.pool_id
        );
        disk.replace(&directory.join(FILE), text.as_bytes())
    }
}
