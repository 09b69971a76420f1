//! Packets as bytes: fixed fields, little endian, every length compared with its limit before anything is allocated.

use super::notes::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use super::{BUCKETS, Body, Note, Packet, Rumor, Status};

/// Of this format; a packet of another one is refused.
const VERSION: u8 = 1;
/// Version, kind, sender, generation, number, target, and the two counts.
pub const HEADER_BYTES: usize = 1 + 1 + 8 + 8 + 8 + 8 + 2 + 2;
pub const RUMOR_BYTES: usize = 8 + 8 + 4 + 1 + 8;
/// What a digest adds to the header.
pub const DIGEST_BYTES: usize = BUCKETS * 8;
/// No packet holds more items than this.
const ITEMS_MAX: usize = 1_000;

/// A packet that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The sender runs another build.
    #[error("packet version {0}: this build reads version {VERSION}")]
    Version(u8),
    /// Damaged, or not a packet of ours.
    #[error("packet damaged: {0}")]
    Damaged(&'static str),
}

pub fn note_bytes(note: &Note) -> usize {
    8 + 8 + 8 + 1 + note.key.len() + 1 + note.value.len()
}

/// What a packet takes on the wire.
pub fn packet_bytes(packet: &Packet) -> usize {
    let digest = if matches!(packet.body, Body::Digest { .. }) {
        DIGEST_BYTES
    } else {
        0
    };
    let notes: usize = packet.notes.iter().map(note_bytes).sum();
    HEADER_BYTES + digest + packet.rumors.len() * RUMOR_BYTES + notes
}

pub fn encode(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packet_bytes(packet));
    let (kind, number, target) = match packet.body {
        Body::Ping { number } => (0, number, 0),
        Body::Ack { number } => (1, number, 0),
        Body::PingRequest { number, target } => (2, number, target),
        Body::Nack { number } => (3, number, 0),
        Body::Digest { answer, .. } => (4, u64::from(answer), 0),
        Body::News => (5, 0, 0),
    };
    bytes.extend([VERSION, kind]);
    for word in [packet.from, packet.generation, number, target] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend((packet.rumors.len() as u16).to_le_bytes());
    bytes.extend((packet.notes.len() as u16).to_le_bytes());
    if let Body::Digest { buckets, .. } = &packet.body {
        for place in 0..BUCKETS {
            bytes.extend(buckets.get(place).copied().unwrap_or(0).to_le_bytes());
        }
    }
    for rumor in &packet.rumors {
        bytes.extend(rumor.id.to_le_bytes());
        bytes.extend(rumor.generation.to_le_bytes());
        bytes.extend(rumor.incarnation.to_le_bytes());
        bytes.push(rumor.status as u8);
        bytes.extend(rumor.by.to_le_bytes());
    }
    for note in &packet.notes {
        for word in [note.owner, note.generation, note.version] {
            bytes.extend(word.to_le_bytes());
        }
        for text in [&note.key, &note.value] {
            // Both are below 256 bytes, or they would not have been noted.
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        if length > self.0.len() {
            return Err(WireError::Damaged("it ends too early"));
        }
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| WireError::Damaged("it ends too early"))
    }

    fn word(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self, most: usize) -> Result<String, WireError> {
        let [length] = self.array()?;
        if usize::from(length) > most {
            return Err(WireError::Damaged("a text is too long"));
        }
        let bytes = self.take(length.into())?;
        String::from_utf8(bytes.to_vec()).map_err(|_| WireError::Damaged("a text is not UTF-8"))
    }
}

pub fn decode(bytes: &[u8]) -> Result<Packet, WireError> {
    let mut reader = Reader(bytes);
    let [version, kind] = reader.array()?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let (from, generation, number, target) = (reader.word()?, reader.word()?, reader.word()?, reader.word()?);
    let rumor_count = usize::from(u16::from_le_bytes(reader.array()?));
    let note_count = usize::from(u16::from_le_bytes(reader.array()?));
    if rumor_count > ITEMS_MAX || note_count > ITEMS_MAX {
        return Err(WireError::Damaged("too many items"));
    }
    let body = match kind {
        0 => Body::Ping { number },
        1 => Body::Ack { number },
        2 => Body::PingRequest { number, target },
        3 => Body::Nack { number },
        4 => {
            let buckets = (0..BUCKETS).map(|_| reader.word()).collect::<Result<_, _>>()?;
            Body::Digest {
                answer: number != 0,
                buckets,
            }
        }
        5 => Body::News,
        _ => return Err(WireError::Damaged("its kind is unknown")),
    };
    let mut rumors = Vec::new();
    for _ in 0..rumor_count {
        let (id, generation) = (reader.word()?, reader.word()?);
        let incarnation = u32::from_le_bytes(reader.array()?);
        let [status] = reader.array()?;
        let status = match status {
            0 => Status::Alive,
            1 => Status::Suspect,
            2 => Status::Dead,
            3 => Status::Left,
            _ => return Err(WireError::Damaged("a status is unknown")),
        };
        let by = reader.word()?;
        rumors.push(Rumor {
            id,
            generation,
            incarnation,
            status,
            by,
        });
    }
    let mut notes = Vec::new();
    for _ in 0..note_count {
        let (owner, generation, version) = (reader.word()?, reader.word()?, reader.word()?);
        let (key, value) = (reader.text(KEY_BYTES_MAX)?, reader.text(VALUE_BYTES_MAX)?);
        notes.push(Note {
            owner,
            generation,
            version,
            key,
            value,
        });
    }
    if !reader.0.is_empty() {
        return Err(WireError::Damaged("bytes follow its end"));
    }
    Ok(Packet {
        from,
        generation,
        body,
        rumors,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packets() -> Vec<Packet> {
        let rumor = Rumor {
            id: 7,
            generation: 3,
            incarnation: 2,
            status: Status::Suspect,
            by: 9,
        };
        let note = Note {
            owner: 7,
            generation: 3,
            version: 4,
            key: "rack".into(),
            value: "r1".into(),
        };
        let bodies = [
            Body::Ping { number: 5 },
            Body::Ack { number: 5 },
            Body::PingRequest { number: 5, target: 8 },
            Body::Nack { number: 5 },
            Body::Digest {
                answer: true,
                buckets: (0..BUCKETS as u64).collect(),
            },
            Body::News,
        ];
        let packet = |body| Packet {
            from: 1,
            generation: 2,
            body,
            rumors: vec![rumor; 2],
            notes: vec![note.clone()],
        };
        bodies.into_iter().map(packet).collect()
    }

    #[test]
    fn packets_come_back_as_they_went_and_have_the_size_that_was_said() {
        for packet in packets() {
            let bytes = encode(&packet);
            assert_eq!(bytes.len(), packet_bytes(&packet));
            assert_eq!(decode(&bytes), Ok(packet));
            for end in 0..bytes.len() {
                assert!(decode(&bytes[..end]).is_err(), "{end} bytes are no packet");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), place in 0..100usize, flip: u8) {
            let _any = decode(&bytes);
            for packet in packets() {
                let mut bytes = encode(&packet);
                let place = place % bytes.len();
                bytes[place] ^= flip;
                if let Ok(read) = decode(&bytes) {
                    prop_assert_eq!(encode(&read).len(), bytes.len());
                }
            }
        }
    }
}
