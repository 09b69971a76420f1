//! `:authority` values that are no host, made ones before HTTP/2 is parsed.
//!
//! grpc-go takes what stands behind the last slashes of a target for the authority: `etcd:///a/b` becomes `a%2Fb`. etcd's
//! server does not look at it. Rust's HTTP/2 does, and resets the stream, because neither `%` nor `/` may be part of a host
//! (RFC 3986, section 3.2.2). Nothing here reads the authority either, so both are replaced by `-` on their way in.
//!
//! # How it moves
//! The filter follows the frames of a connection (RFC 9113, section 4.1). A HEADERS frame is held until it is complete; in
//! its header block fragment the representations are walked (RFC 7541, section 6), strings skipped by their lengths, until
//! `:authority` comes with its value. `%`, `/` and `-` all take six bits in the Huffman code, so the value is patched where
//! it stands: no length changes, and the client's dynamic table and ours stay equal. Where a value is encoded a second
//! time, it is patched a second time.
//!
//! # Where it stops
//! Names are expected as clients write them: by the static table's index 1, or in full without Huffman's code. A block's
//! continuation is not looked at; pseudo-headers come first (RFC 9113, section 8.3). What cannot be followed passes
//! unchanged and is refused where it is parsed.

use bytes::{Buf, BytesMut};

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;
/// The largest frame that a client may send: HTTP/2's default, which is not raised here. What is larger is not held.
const FRAME_BYTES_MAX: usize = 16_384;
/// `:authority` in the static table (RFC 7541, appendix A).
const AUTHORITY_INDEX: usize = 1;
const AUTHORITY: &[u8] = b":authority";
const STANDS_IN: u8 = b'-';

/// Follows what a client sends.
#[derive(Debug)]
pub(in crate::server) struct AuthorityFilter {
    state: State,
    /// A HEADERS frame that is not complete yet, head included.
    held: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This many bytes of the preface have come.
    Preface(usize),
    /// This many bytes of a frame's head have come; they are kept in `head`.
    Head { head: [u8; FRAME_HEAD_BYTES], have: usize },
    /// This many bytes of a frame that is of no interest are to come.
    Skip(usize),
    /// This many bytes of a HEADERS frame are to come.
    Hold(usize),
    /// Not HTTP/2.
    Off,
}

const HEAD: State = State::Head {
    head: [0; FRAME_HEAD_BYTES],
    have: 0,
};

impl Default for AuthorityFilter {
    fn default() -> Self {
        Self {
            state: State::Preface(0),
            held: BytesMut::new(),
        }
    }
}

impl AuthorityFilter {
    /// Whether the next `count` bytes pass as they are; then they count as seen.
    pub(in crate::server) fn passes_whole(&mut self, count: usize) -> bool {
        match self.state {
            State::Off => true,
            // Mostly the payload of a large message.
            State::Skip(left) if left > count => {
                self.state = State::Skip(left - count);
                true
            }
            _ => false,
        }
    }

    /// Takes what was received; appends to `passed` what may go on.
    pub(in crate::server) fn filter(&mut self, mut received: &[u8], passed: &mut BytesMut) {
        while !received.is_empty() {
            match self.state {
                State::Off => {
                    passed.extend_from_slice(received);
                    return;
                }
                State::Preface(have) => {
                    let wanted = &PREFACE[have..];
                    let common = wanted.iter().zip(received).take_while(|(a, b)| a == b).count();
                    take(&mut received, common, passed);
                    self.state = match have + common {
                        all if all == PREFACE.len() => HEAD,
                        _ if !received.is_empty() => State::Off,
                        some => State::Preface(some),
                    };
                }
                State::Head { mut head, have } => {
                    let taken = received.len().min(FRAME_HEAD_BYTES - have);
                    head[have..have + taken].copy_from_slice(&received[..taken]);
                    received.advance(taken);
                    self.state = State::Head {
                        head,
                        have: have + taken,
                    };
                    if have + taken == FRAME_HEAD_BYTES {
                        self.begin_frame(head, passed);
                    }
                }
                State::Skip(left) => {
                    let taken = received.len().min(left);
                    take(&mut received, taken, passed);
                    self.state = if taken == left { HEAD } else { State::Skip(left - taken) };
                }
                State::Hold(left) => {
                    let taken = received.len().min(left);
                    take(&mut received, taken, &mut self.held);
                    self.state = State::Hold(left - taken);
                    if taken == left {
                        patch_frame(&mut self.held);
                        passed.extend_from_slice(&self.held);
                        self.held.clear();
                        self.state = HEAD;
                    }
                }
            }
        }
    }

    /// Hands on what is held: nothing more will come.
    pub(in crate::server) fn end(&mut self, passed: &mut BytesMut) {
        if let State::Head { head, have } = self.state {
            passed.extend_from_slice(&head[..have]);
        }
        passed.extend_from_slice(&self.held);
        self.held.clear();
        self.state = State::Off;
    }

    fn begin_frame(&mut self, head: [u8; FRAME_HEAD_BYTES], passed: &mut BytesMut) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if head[3] == HEADERS && (1..=FRAME_BYTES_MAX).contains(&length) {
            self.held.extend_from_slice(&head);
            self.state = State::Hold(length);
            return;
        }
        passed.extend_from_slice(&head);
        self.state = if length == 0 { HEAD } else { State::Skip(length) };
    }
}

fn take(from: &mut &[u8], count: usize, to: &mut BytesMut) {
    to.extend_from_slice(&from[..count]);
    from.advance(count);
}

/// A complete HEADERS frame.
fn patch_frame(frame: &mut [u8]) {
    let flags = frame[4];
    let mut from = FRAME_HEAD_BYTES;
    let mut to = frame.len();
    if flags & PADDED != 0 {
        to = to.saturating_sub(usize::from(frame[from]));
        from += 1;
    }
    if flags & PRIORITY != 0 {
        from += PRIORITY_BYTES;
    }
    if let Some(block) = frame.get_mut(from..to) {
        // What cannot be followed is refused by the decoder.
        let _followed = patch_block(block);
    }
}

/// Patches the value of `:authority`. `None` where the block ends early, or is not HPACK.
fn patch_block(block: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while at < block.len() {
        let first = block[at];
        let prefix_bits = match first {
            // An indexed field: nothing is in it.
            0x80.. => {
                integer(block, &mut at, 7)?;
                continue;
            }
            // A change of the dynamic table's size.
            0x20..=0x3f => {
                integer(block, &mut at, 5)?;
                continue;
            }
            // A literal that is put into the dynamic table.
            0x40..=0x7f => 6,
            _ => 4,
        };
        let index = integer(block, &mut at, prefix_bits)?;
        let is_authority = match index {
            0 => {
                let (is_huffman, name) = string(block, &mut at)?;
                !is_huffman && block[name] == *AUTHORITY
            }
            index => index == AUTHORITY_INDEX,
        };
        let (is_huffman, value) = string(block, &mut at)?;
        match (is_authority, is_huffman) {
            (false, _) => {}
            (true, false) => patch_plain(&mut block[value]),
            (true, true) => patch_huffman(&mut block[value]),
        }
    }
    Some(())
}

/// RFC 7541, section 5.1.
fn integer(block: &[u8], at: &mut usize, prefix_bits: u32) -> Option<usize> {
    let max = (1usize << prefix_bits) - 1;
    let mut value = usize::from(*block.get(*at)?) & max;
    *at += 1;
    if value < max {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = *block.get(*at)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    // More than any frame holds.
    None
}

/// RFC 7541, section 5.2: whether it is in Huffman's code, and where it stands.
fn string(block: &[u8], at: &mut usize) -> Option<(bool, std::ops::Range<usize>)> {
    let is_huffman = block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let range = *at..at.checked_add(length)?;
    block.get(range.clone())?;
    *at = range.end;
    Some((is_huffman, range))
}

fn is_foreign(byte: u8) -> bool {
    matches!(byte, b'%' | b'/')
}

fn patch_plain(value: &mut [u8]) {
    for byte in value.iter_mut().filter(|byte| is_foreign(**byte)) {
        *byte = STANDS_IN;
    }
}

/// The symbols of each length of code that a host can have, from five bits on (RFC 7541, appendix B). The code is canonical:
/// those of one length follow each other, in the order of the symbols.
const SYMBOLS: [(u32, &[u8]); 10] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

fn patch_huffman(value: &mut [u8]) {
    let bits = value.len() * 8;
    let mut at = 0;
    while let Some((symbol, length)) = symbol(value, at, bits) {
        if is_foreign(symbol) {
            write_stand_in(value, at, length);
        }
        at += length;
    }
}

/// The symbol whose code begins at bit `at`, and the length of its code. `None` at the end, and for symbols that no host has.
fn symbol(value: &[u8], at: usize, bits: usize) -> Option<(u8, usize)> {
    let (mut code, mut have, mut first) = (0u32, 0u32, 0u32);
    let mut length_before = SYMBOLS[0].0;
    for (length, symbols) in SYMBOLS {
        first <<= length - length_before;
        length_before = length;
        while have < length {
            let bit = at + have as usize;
            if bit >= bits {
                return None;
            }
            code = code << 1 | u32::from(value[bit / 8] >> (7 - bit % 8) & 1);
            have += 1;
        }
        let count = u32::try_from(symbols.len()).unwrap_or(0);
        if code < first + count {
            let symbol = *symbols.get(code.checked_sub(first)? as usize)?;
            return Some((symbol, length as usize));
        }
        first += count;
    }
    None
}

/// Writes the code of [`STANDS_IN`], which is as long as that of what stood there.
fn write_stand_in(value: &mut [u8], at: usize, length: usize) {
    const CODE: u8 = 0x16;
    for bit in 0..length {
        let (byte, shift) = ((at + bit) / 8, 7 - (at + bit) % 8);
        let on = CODE >> (length - 1 - bit) & 1;
        value[byte] = value[byte] & !(1 << shift) | on << shift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn filtered(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut filter, mut passed) = (AuthorityFilter::default(), BytesMut::new());
        for piece in pieces {
            filter.filter(piece, &mut passed);
        }
        filter.end(&mut passed);
        passed.to_vec()
    }

    /// "a%2Fb" in Huffman's code: 00011 010101 00010 1100001(F) 100011, then ones.
    const HUFFMAN: [u8; 4] = [0b0001_1010, 0b1010_0010, 0b1100_0011, 0b0001_1111];
    const PATCHED: [u8; 4] = [0b0001_1010, 0b1100_0010, 0b1100_0011, 0b0001_1111];

    #[test]
    fn a_percent_sign_becomes_a_hyphen_in_both_codes() {
        let mut value = HUFFMAN;
        patch_huffman(&mut value);
        assert_eq!(value, PATCHED);
        let mut plain = *b"a%2Fb/c";
        patch_plain(&mut plain);
        assert_eq!(&plain, b"a-2Fb-c");
        // A value that a host can have stays.
        let mut host = [0b0001_1100, 0b0111_1111]; // "ab", then ones
        let before = host;
        patch_huffman(&mut host);
        assert_eq!(host, before);
    }

    #[test]
    fn the_patch_survives_every_cut() {
        // :method POST indexed, :authority with incremental indexing, a literal without a known name.
        let block = [
            &[0x83, 0x41, 0x84][..],
            &HUFFMAN,
            &[0x00, 0x02, b'x', b'/', 0x02, b'%', b'/'],
        ]
        .concat();
        let wanted = [
            &[0x83, 0x41, 0x84][..],
            &PATCHED,
            &[0x00, 0x02, b'x', b'/', 0x02, b'%', b'/'],
        ]
        .concat();
        let padded = |block: &[u8]| [&[2u8, 0, 0, 0, 0, 9][..], block, &[0, 0]].concat();
        let stream = |block: &[u8]| {
            [
                PREFACE.to_vec(),
                frame(4, 0, &[]),
                frame(HEADERS, 4, block),
                frame(0, 1, b"a/b%"),
                frame(HEADERS, 4 | PADDED | PRIORITY, &padded(block)),
            ]
            .concat()
        };
        let (sent, expected) = (stream(&block), stream(&wanted));
        assert_eq!(filtered(&[&sent]), expected);
        for cut in 0..sent.len() {
            assert_eq!(filtered(&[&sent[..cut], &sent[cut..]]), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = sent.chunks(1).collect();
        assert_eq!(filtered(&bytes), expected);
    }

    #[test]
    fn what_is_not_followed_passes_unchanged() {
        let http1 = b"PRI * HTTP/1.1 %/";
        assert_eq!(filtered(&[http1]), http1);
        for block in [
            &[0x41][..],
            &[0x41, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x41, 0x05, b'a'],
            &[0xff, 0xff, 0xff, 0xff],
            &[],
        ] {
            let sent = [
                PREFACE.to_vec(),
                frame(HEADERS, 4, block),
                frame(HEADERS, PADDED, &[200, 1]),
            ]
            .concat();
            assert_eq!(filtered(&[&sent]), sent, "{block:?}");
        }
        let unfinished = [PREFACE.to_vec(), frame(HEADERS, 4, &[0x41, 3, b'a'])].concat();
        assert_eq!(filtered(&[&unfinished]), unfinished);
    }
}
