use proptest::prelude::*;

use super::*;

fn header(offset: u64, data: &[u8]) -> Header {
    Header {
        offset,
        seqno: 0,
        last: false,
        data_bytes: data.len(),
        sync: false,
    }
}

/// A replica in memory, which does what the actions say.
#[derive(Debug, Default)]
struct Replica {
    data: Vec<u8>,
    crcs: Vec<u8>,
}

impl Replica {
    fn packet(&mut self, checksum: Checksum, offset: u64, data: &[u8]) -> Result<(), Refusal> {
        self.packet_of(checksum, checksum, offset, data)
    }

    fn packet_of(&mut self, sent: Checksum, checksum: Checksum, offset: u64, data: &[u8]) -> Result<(), Refusal> {
        let crcs = sent.compute(data);
        let progress = Progress {
            length: self.data.len() as u64,
        };
        let (at, chunk, crcs) = match receive(sent, checksum, progress, &header(offset, data), &crcs, data)? {
            Action::Nothing => return Ok(()),
            Action::Write { offset, chunk } if checksum.kind == Kind::Null => {
                (offset as usize, chunk as usize, Vec::new())
            }
            Action::Write { offset, chunk } if checksum.kind == Kind::Null => {
                (offset as usize, chunk as usize, Vec::new())
            }
            Action::Write { offset, chunk } => (offset as usize, chunk as usize, crcs),
            Action::Fill {
                offset,
                chunk,
                prefix_bytes,
            } => {
                let at = offset as usize;
                (
                    at,
                    chunk as usize,
                    fill(checksum, &self.data[at - prefix_bytes..at], data),
                )
            }
        };
        self.data.truncate(at.max(self.data.len().min(at)));
        self.data.extend_from_slice(data);
        self.crcs.truncate(chunk * CRC_BYTES);
        self.crcs.extend_from_slice(&crcs);
        Ok(())
    }
}

#[test]
fn a_gap_and_a_wrong_checksum_are_refused() {
    let checksum = Checksum::default();
    let progress = Progress { length: 10 };
    let crcs = checksum.compute(&[1; 5]);
    assert!(matches!(
        receive(checksum, checksum, progress, &header(11, &[1; 5]), &crcs, &[1; 5]),
        Err(Refusal::Gap { .. })
    ));
    let wrong = receive(checksum, checksum, progress, &header(0, &[2; 5]), &crcs, &[2; 5]);
    assert_eq!(wrong, Err(Refusal::Checksum(0)));
}

#[test]
fn ranges_are_widened_to_chunks_and_kept_within_the_replica() {
    let checksum = Checksum::default();
    assert_eq!(span(checksum, 1300, 600, 10), Some(Span { start: 512, end: 1024 }));
    assert_eq!(span(checksum, 1300, 1024, 276), Some(Span { start: 1024, end: 1300 }));
    assert_eq!(span(checksum, 1300, 1024, 277), None);
    assert_eq!(span(checksum, 1300, u64::MAX, 1), None);
    assert_eq!(span(checksum, 0, 0, 0), Some(Span { start: 0, end: 0 }));
}

#[test]
fn the_first_failure_of_a_pipeline_is_told() {
    let behind = combine(7, Status::Success, None, 0);
    assert!(is_success(&combine(7, Status::Success, Some(&behind), 1)));
    let ack = combine(7, Status::Success, None, 2);
    assert_eq!(ack.reply, [Status::Success as i32, Status::Error as i32]);
    assert!(!is_success(&ack));
}

proptest! {
    /// However a writer cuts, repeats and fills up: data and checksums are those of the whole.
    #[test]
    fn any_order_of_overlaps_gives_the_same_replica(
        steps in proptest::collection::vec((0u64..1200, 1usize..1500), 1..12)
    ) {
        let checksum = Checksum { kind: Kind::Crc32c, chunk: 512 };
        let whole: Vec<u8> = (0..20_000u32).map(|i| (i * 31 % 251) as u8).collect();
        let mut replica = Replica::default();
        for (back, length) in steps {
            let start = (replica.data.len() as u64).saturating_sub(back) as usize;
            let end = (start + length).min(whole.len());
            replica.packet(checksum, start as u64, &whole[start..end]).unwrap();
            prop_assert_eq!(&replica.data[..], &whole[..replica.data.len()]);
            prop_assert_eq!(&replica.crcs, &checksum.compute(&replica.data));
        }
    }
}

proptest! {
    /// Whatever checksums the writers of a replica use, in whatever steps: it has its own.
    #[test]
    fn an_append_with_other_checksums_keeps_those_of_the_replica(
        steps in proptest::collection::vec((1usize..3000, 0usize..5), 1..12), stored in 0usize..5
    ) {
        let of = |index: usize| Checksum {
            kind: [Kind::Crc32c, Kind::Crc32, Kind::Crc32c, Kind::Null, Kind::Crc32][index],
            chunk: [512, 512, 4096, 512, 100][index],
        };
        let stored = of(stored);
        let mut replica = Replica::default();
        for (bytes, sent) in steps {
            let sent = of(sent);
            let data: Vec<u8> = (0..bytes).map(|i| (i * 7 + replica.data.len()) as u8).collect();
            // As clients do: the first packet fills the writer's own chunk up, the others are whole chunks.
            let first = sent.chunk as usize - replica.data.len() % sent.chunk as usize;
            let (first, rest) = data.split_at(first.min(data.len()));
            let packets = std::iter::once(first).chain(rest.chunks(sent.chunk as usize * 3));
            for packet in packets.filter(|packet| !packet.is_empty()) {
                let offset = replica.data.len() as u64;
                replica.packet_of(sent, stored, offset, packet).unwrap();
            }
        }
        prop_assert_eq!(&replica.crcs, &stored.compute(&replica.data));
    }
}
