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
        let crcs = checksum.compute(data);
        let progress = Progress {
            length: self.data.len() as u64,
        };
        let (at, chunk, crcs) = match receive(checksum, progress, &header(offset, data), &crcs, data)? {
            Action::Nothing => return Ok(()),
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
        receive(checksum, progress, &header(11, &[1; 5]), &crcs, &[1; 5]),
        Err(Refusal::Gap { .. })
    ));
    let wrong = receive(checksum, progress, &header(0, &[2; 5]), &crcs, &[2; 5]);
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
