//! Small files that are replaced as a whole.

use std::io;
use std::path::Path;

use disk::{Disk, Mode};

/// Longest file that [`read_optional`] takes into memory, in bytes.
const LEN_MAX: u64 = 256 << 20;

/// Replaces `dir/name` atomically and durably.
///
/// # Errors
/// When the disk fails; the old contents stay then.
pub fn replace(disk: &dyn Disk, dir: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    disk.replace(&dir.join(name), contents)
}

/// The contents of `dir/name`, or `None` where there is no such file.
///
/// # Errors
/// When the disk fails.
pub fn read_optional(disk: &dyn Disk, dir: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let path = dir.join(name);
    if !disk.exists(&path)? {
        return Ok(None);
    }
    let file = disk.open(&path, Mode::Read)?;
    let len = file.len()?;
    if len > LEN_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is too long", path.display()),
        ));
    }
    let mut contents = vec![0; len as usize];
    file.read_exact_at(&mut contents, 0)?;
    Ok(Some(contents))
}
