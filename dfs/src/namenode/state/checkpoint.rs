//! Saving the image, and going on after the log refused something.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use prost::Message;

use super::{NameNode, locked};
use crate::Error;
use crate::namenode::command::{Command, Followup};
use crate::namenode::image::ImageInProgress;
use crate::namenode::journal::JournalError;

/// Inodes or answers that an image takes in one turn under the lock.
const IMAGE_PART: usize = 2048;

impl NameNode {
    /// Writes an image of the present state and cuts the log. Others read and write meanwhile: the lock is held for a small
    /// part of the image at a time, and what changes before its turn is kept as it was. Blocks.
    pub fn checkpoint(&self) -> Result<(), Error> {
        let _alone = self.imaging.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_failed() {
            return Err(Error::Io("the edit log could not be written".to_owned()));
        }
        let (head, mut image) = self.lock().replicated.begin_image();
        let written = self.write_image(&head, &mut image);
        self.lock().replicated.names.end_image();
        let bytes = written?;
        self.journal.purge(image.log_index);
        tracing::info!(bytes, log_index = image.log_index, "saved the namespace image");
        Ok(())
    }

    fn write_image(&self, head: &[u8], image: &mut ImageInProgress) -> Result<u64, Error> {
        let mut file = self.journal.new_image()?;
        file.write(head)?;
        loop {
            let part = self.lock().replicated.image_part(image, IMAGE_PART)?;
            if part.is_empty() && image.is_complete() {
                break;
            }
            file.write(&part)?;
        }
        Ok(file.finish()?)
    }

    /// After the log refused something: lets changes in again if the log takes a record. What was refused was not executed, so
    /// memory is what the log says. Blocks.
    pub fn resume(&self) -> Result<(), JournalError> {
        if let Some(error @ raft::log::LogError::Stopped(_)) = self.journal.failure() {
            return Err(error.into());
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        let (state, clock) = (Arc::clone(&self.state), self.clock);
        let command = Command::default();
        self.journal
            .submit(Bytes::from(command.encode_to_vec()), move |written| {
                let written =
                    written.map(|index| drop(locked(&state).execute(index, &command, Followup::None, clock.now())));
                let _ = sender.send(written);
            });
        receiver.recv().map_err(|_| raft::log::LogError::Closed)??;
        self.failed.store(false, Ordering::SeqCst);
        tracing::warn!("the edit log is writable again");
        Ok(())
    }
}
