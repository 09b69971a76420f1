//! Concatenation: the blocks of several files become the end of another.

use std::collections::BTreeSet;

use super::apply::Misfit;
use super::edit::{Concat, Edit};
use super::inode::{Inode, Kind};
use super::permission::{Needs, READ, WRITE};
use super::{BlockChange, Caller, Namespace, ROOT, path};
use crate::Error;

impl Namespace {
    /// Moves the blocks of `sources`, in this order, to the end of `target`. All of them are closed files of one directory.
    pub fn concat(&mut self, caller: Caller, target: &str, sources: &[String]) -> Result<(), Error> {
        let illegal = |message: String| Error::IllegalArgument(message);
        if sources.is_empty() {
            return Err(illegal("No sources given".to_owned()));
        }
        if let Some(path) = [target]
            .into_iter()
            .chain(sources.iter().map(String::as_str))
            .find(|p| p.starts_with(path::INODES))
        {
            return Err(Error::Io(format!(
                "Concat operation doesn't support /.reserved relative path : {path}"
            )));
        }
        self.check(caller, target, Needs::itself(WRITE))?;
        for source in sources {
            let needs = Needs {
                parent: WRITE,
                ..Needs::itself(READ)
            };
            self.check(caller, source, needs)?;
        }
        let (inode, file) = self.file(target)?;
        let (id, parent, block_size) = (inode.id, inode.parent, file.block_size);
        if file.holder.is_some() {
            return Err(illegal(format!("concat: target file {target} is under construction")));
        }
        let mut moved = Vec::with_capacity(sources.len());
        let mut seen = BTreeSet::new();
        for source in sources {
            let (inode, file) = self.file(source)?;
            if inode.parent != parent {
                return Err(illegal(format!(
                    "Source file {source} is not in the same directory with the target {target}"
                )));
            }
            if inode.id == id {
                return Err(illegal(format!(
                    "concat: the src file {source} is the same with the target file {target}"
                )));
            }
            if file.holder.is_some() || file.blocks.is_empty() {
                return Err(illegal(format!(
                    "concat: source file {source} is invalid or empty or underConstruction"
                )));
            }
            if file.block_size > block_size {
                return Err(illegal(format!(
                    "concat: source file {source} has preferred block size {} which is greater than the target file's \
                     preferred block size {block_size}",
                    file.block_size
                )));
            }
            if !seen.insert(inode.id) {
                return Err(illegal(
                    "concat: at least two of the source files are the same".to_owned(),
                ));
            }
            moved.push(inode.id);
        }
        let concat = Concat {
            target: id,
            sources: moved,
            time: caller.time,
        };
        self.make(Edit::Concat(concat), caller.now)
    }

    pub(super) fn apply_concat(&mut self, concat: &Concat) -> Result<(), Misfit> {
        let closed = |inode: &Inode| inode.as_file().is_some_and(|file| file.holder.is_none());
        let ids = concat.sources.iter().chain([&concat.target]);
        let distinct: BTreeSet<u64> = ids.clone().copied().collect();
        if distinct.len() != concat.sources.len() + 1
            || distinct.contains(&ROOT)
            || ids.into_iter().any(|id| !self.inodes.get(id).is_some_and(closed))
        {
            return Err(Misfit("a file to concatenate is open, or not there"));
        }
        let mut blocks = Vec::new();
        for id in &concat.sources {
            self.unlink(*id, concat.time)?;
            self.before_change(*id);
            if let Some(Kind::File(file)) = self.inodes.remove(id).map(|inode| inode.kind) {
                self.files -= 1;
                blocks.extend(file.blocks);
            }
        }
        let target = self.inode_mut(concat.target)?;
        target.modified = concat.time;
        let file = self.file_mut(concat.target)?;
        file.blocks.extend_from_slice(&blocks);
        let replication = file.replication;
        self.changes.extend(blocks.iter().map(|block| BlockChange::Moved {
            block: block.id,
            inode: concat.target,
            replication,
        }));
        Ok(())
    }
}
