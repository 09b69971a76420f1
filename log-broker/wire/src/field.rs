//! How one field is read and written.

use std::mem::size_of;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::Error;

/// Most memory, in bytes, that the decoded structures of one frame may take; opaque bytes are slices and do not count.
/// A metadata answer for a hundred thousand partitions needs about a fifth of it.
pub const DECODED_BYTES_MAX: usize = 64 << 20;

/// Slices of at least this many bytes become segments of their own when written, instead of being copied.
const SEGMENT_BYTES_MIN: usize = 4096;

/// Elements for which memory is reserved before they were read.
const ELEMENTS_RESERVED_MAX: usize = 1024;

/// Longest string that the old (not flexible) encoding can carry.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// What decides how a field stands on the wire.
#[derive(Debug, Clone, Copy)]
pub struct At {
    pub version: i16,
    /// Flexible versions have compact lengths (varint, plus one) and tagged fields.
    pub flexible: bool,
    /// Whether this version allows null in the field at hand.
    pub nullable: bool,
}

impl At {
    pub fn new(version: i16, flexible: bool) -> Self {
        Self {
            version,
            flexible,
            nullable: false,
        }
    }

    pub(crate) fn nullable(self, nullable: bool) -> Self {
        Self { nullable, ..self }
    }
}

/// A type that can stand in a message.
pub trait Field: Sized {
    fn encode(&self, out: &mut Writer, at: At);

    /// # Errors
    /// When the bytes are not such a field.
    fn decode(input: &mut Reader, at: At) -> Result<Self, Error>;

    /// A value with something in every field that `at` carries, for the tests against the oracle.
    #[cfg(test)]
    fn sample(next: &mut u32, at: At) -> Self;
}

/// A type that has a null on the wire.
pub(crate) trait Nullable: Field + Default {
    fn encode_null(out: &mut Writer, at: At);
    /// Reads the value, or `None` for null.
    fn decode_nullable(input: &mut Reader, at: At) -> Result<Option<Self>, Error>;
    /// Writes a value that could have been null.
    fn encode_some(&self, out: &mut Writer, at: At) {
        self.encode(out, at);
    }
}

/// Makes a structure of the table one that may be null: a byte before it says whether it is there.
macro_rules! nullable_structure {
    ($($name:ident),*) => {$(
        impl $crate::field::Nullable for $name {
            fn encode_null(out: &mut $crate::Writer, at: $crate::At) {
                $crate::Field::encode(&-1i8, out, at);
            }
            fn decode_nullable(input: &mut $crate::Reader, at: $crate::At) -> Result<Option<Self>, $crate::Error> {
                match <i8 as $crate::Field>::decode(input, at)? {
                    0.. => <Self as $crate::Field>::decode(input, at.nullable(false)).map(Some),
                    _ => Ok(None),
                }
            }
            fn encode_some(&self, out: &mut $crate::Writer, at: $crate::At) {
                $crate::Field::encode(&1i8, out, at);
                $crate::Field::encode(self, out, at);
            }
        }
    )*};
}
pub(crate) use nullable_structure;

/// Reads a message; see [`DECODED_BYTES_MAX`] for its budget.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    budget: usize,
}

impl Reader {
    pub fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            budget: DECODED_BYTES_MAX,
        }
    }

    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    /// All that is left.
    pub fn into_rest(self) -> Bytes {
        self.bytes
    }

    /// The next `len` bytes, borrowed from the frame.
    pub fn take(&mut self, len: usize) -> Result<Bytes, Error> {
        match len.checked_sub(self.bytes.len()) {
            None | Some(0) => Ok(self.bytes.split_to(len)),
            Some(missing) => Err(Error::Truncated { missing }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        if self.bytes.len() < N {
            return Err(Error::Truncated {
                missing: N - self.bytes.len(),
            });
        }
        self.bytes.copy_to_slice(&mut array);
        Ok(array)
    }

    pub fn unsigned_varint(&mut self) -> Result<u32, Error> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                return Err(Error::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Varint)
    }

    /// A length in bytes or elements, each of which takes a byte at least; `None` is null.
    fn length(&mut self, at: At, short: bool) -> Result<Option<usize>, Error> {
        let claimed = if at.flexible {
            i64::from(self.unsigned_varint()?) - 1
        } else if short {
            i64::from(i16::from_be_bytes(self.array()?))
        } else {
            i64::from(i32::from_be_bytes(self.array()?))
        };
        let left = self.bytes.len();
        match usize::try_from(claimed) {
            Ok(length) if length <= left => Ok(Some(length)),
            Err(_) if claimed == -1 => Ok(None),
            _ => Err(Error::Length { claimed, left }),
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        self.budget = self.budget.checked_sub(bytes).ok_or(Error::TooManyElements)?;
        Ok(())
    }

    /// Reads the tagged fields of a structure; `known` gets a reader over exactly the field, and says whether it knew it.
    pub fn tagged(&mut self, mut known: impl FnMut(u32, &mut Reader) -> Result<(), Error>) -> Result<(), Error> {
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            let mut field = Reader {
                bytes: self.take(size)?,
                budget: self.budget,
            };
            known(tag, &mut field)?;
            self.budget = field.budget;
        }
        Ok(())
    }
}

/// Record batches in a message: in memory, or somewhere else (in a file), from where whoever sends the message takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    Bytes(Bytes),
    /// As many bytes, which are not here. Only to be written, never read.
    Elsewhere(usize),
}

impl Default for Records {
    fn default() -> Self {
        Records::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Records::Bytes(bytes)
    }
}

impl Records {
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::Elsewhere(len) => *len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a message that was read; what is elsewhere is left out.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Records::Bytes(bytes) => bytes,
            Records::Elsewhere(_) => Bytes::new(),
        }
    }
}

/// A piece of a message that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    Bytes(Bytes),
    /// The place of [`Records::Elsewhere`].
    Elsewhere(usize),
}

/// Collects a message as segments: short fields are gathered, long slices stay what they are.
#[derive(Debug, Default)]
pub struct Writer {
    segments: Vec<Segment>,
    tail: BytesMut,
    len: usize,
}

impl Writer {
    pub fn put_slice(&mut self, slice: &[u8]) {
        self.len += slice.len();
        self.tail.extend_from_slice(slice);
    }

    /// Appends a slice without copying it, where that pays.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < SEGMENT_BYTES_MIN {
            return self.put_slice(bytes);
        }
        self.flush();
        self.len += bytes.len();
        self.segments.push(Segment::Bytes(bytes.clone()));
    }

    /// Leaves room for bytes that are elsewhere.
    fn put_elsewhere(&mut self, len: usize) {
        self.flush();
        self.len += len;
        self.segments.push(Segment::Elsewhere(len));
    }

    pub fn put_unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.put_slice(&[(value as u8) | 0x80]);
            value >>= 7;
        }
        self.put_slice(&[value as u8]);
    }

    /// Appends all of another writer.
    pub fn append(&mut self, mut other: Writer) {
        if other.segments.is_empty() {
            return self.put_slice(&other.tail);
        }
        other.flush();
        self.flush();
        self.len += other.len;
        self.segments.append(&mut other.segments);
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Length of all that was written, in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn into_segments(mut self) -> Vec<Segment> {
        self.flush();
        self.segments
    }

    /// All segments in one piece; copies when there are several.
    pub fn into_bytes(mut self) -> Bytes {
        if self.segments.is_empty() {
            return self.tail.freeze();
        }
        self.flush();
        let mut whole = BytesMut::with_capacity(self.len);
        for segment in &self.segments {
            if let Segment::Bytes(bytes) = segment {
                whole.put_slice(bytes);
            }
        }
        whole.freeze()
    }

    fn flush(&mut self) {
        if !self.tail.is_empty() {
            self.segments.push(Segment::Bytes(self.tail.split().freeze()));
        }
    }

    fn put_length(&mut self, len: usize, at: At, short: bool) {
        // Ours to keep: no message of ours comes near these lengths.
        if at.flexible {
            self.put_unsigned_varint(u32::try_from(len + 1).unwrap_or(u32::MAX));
        } else if short {
            self.put_slice(&i16::try_from(len).unwrap_or(i16::MAX).to_be_bytes());
        } else {
            self.put_slice(&i32::try_from(len).unwrap_or(i32::MAX).to_be_bytes());
        }
    }

    fn put_null(&mut self, at: At, short: bool) {
        if at.flexible {
            self.put_unsigned_varint(0);
        } else if short {
            self.put_slice(&(-1i16).to_be_bytes());
        } else {
            self.put_slice(&(-1i32).to_be_bytes());
        }
    }
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn encode(&self, out: &mut Writer, _: At) {
                out.put_slice(&self.to_be_bytes());
            }
            fn decode(input: &mut Reader, _: At) -> Result<Self, Error> {
                Ok(Self::from_be_bytes(input.array()?))
            }
            #[cfg(test)]
            fn sample(next: &mut u32, _: At) -> Self {
                *next += 1;
                (*next % 120) as Self
            }
        }
    )*};
}

number!(i8, i16, i32, i64, u16, u32, f64);

impl Field for bool {
    fn encode(&self, out: &mut Writer, _: At) {
        out.put_slice(&[u8::from(*self)]);
    }

    fn decode(input: &mut Reader, _: At) -> Result<Self, Error> {
        let [byte] = input.array()?;
        Ok(byte != 0)
    }

    #[cfg(test)]
    fn sample(next: &mut u32, _: At) -> Self {
        *next += 1;
        (*next).is_multiple_of(2)
    }
}

impl Field for Uuid {
    fn encode(&self, out: &mut Writer, _: At) {
        out.put_slice(self.as_bytes());
    }

    fn decode(input: &mut Reader, _: At) -> Result<Self, Error> {
        Ok(Self::from_bytes(input.array()?))
    }

    #[cfg(test)]
    fn sample(next: &mut u32, _: At) -> Self {
        *next += 1;
        Self::from_u128(u128::from(*next) << 64 | 7)
    }
}

/// What every nullable type does where null is not allowed.
macro_rules! decode_not_null {
    () => {
        fn decode(input: &mut Reader, at: At) -> Result<Self, Error> {
            Self::decode_nullable(input, at)?.ok_or(Error::Null)
        }
    };
}

impl Field for String {
    fn encode(&self, out: &mut Writer, at: At) {
        let mut text = self.as_str();
        if !at.flexible && text.len() > STRING_BYTES_MAX {
            text = &text[..text.floor_char_boundary(STRING_BYTES_MAX)]; // Error messages; names are shorter.
        }
        out.put_length(text.len(), at, true);
        out.put_slice(text.as_bytes());
    }

    decode_not_null!();

    #[cfg(test)]
    fn sample(next: &mut u32, _: At) -> Self {
        *next += 1;
        format!("text-{next}")
    }
}

impl Nullable for String {
    fn encode_null(out: &mut Writer, at: At) {
        out.put_null(at, true);
    }

    fn decode_nullable(input: &mut Reader, at: At) -> Result<Option<Self>, Error> {
        let Some(length) = input.length(at, true)? else {
            return Ok(None);
        };
        input.charge(length)?;
        let bytes = input.take(length)?;
        Ok(Some(std::str::from_utf8(&bytes).map_err(|_| Error::Utf8)?.to_owned()))
    }
}

impl Field for Bytes {
    fn encode(&self, out: &mut Writer, at: At) {
        out.put_length(self.len(), at, false);
        out.put_bytes(self);
    }

    decode_not_null!();

    #[cfg(test)]
    fn sample(next: &mut u32, _: At) -> Self {
        *next += 1;
        Bytes::from(vec![*next as u8; *next as usize % 7 * 1000])
    }
}

impl Nullable for Bytes {
    fn encode_null(out: &mut Writer, at: At) {
        out.put_null(at, false);
    }

    fn decode_nullable(input: &mut Reader, at: At) -> Result<Option<Self>, Error> {
        let Some(length) = input.length(at, false)? else {
            return Ok(None);
        };
        input.take(length).map(Some)
    }
}

impl Field for Records {
    fn encode(&self, out: &mut Writer, at: At) {
        match self {
            Records::Bytes(bytes) => bytes.encode(out, at),
            Records::Elsewhere(len) => {
                out.put_length(*len, at, false);
                out.put_elsewhere(*len);
            }
        }
    }

    decode_not_null!();

    #[cfg(test)]
    fn sample(next: &mut u32, at: At) -> Self {
        Bytes::sample(next, at).into()
    }
}

impl Nullable for Records {
    fn encode_null(out: &mut Writer, at: At) {
        Bytes::encode_null(out, at);
    }

    fn decode_nullable(input: &mut Reader, at: At) -> Result<Option<Self>, Error> {
        Ok(Bytes::decode_nullable(input, at)?.map(Records::Bytes))
    }
}

impl<T: Field> Field for Vec<T> {
    fn encode(&self, out: &mut Writer, at: At) {
        out.put_length(self.len(), at, false);
        for element in self {
            element.encode(out, at.nullable(false));
        }
    }

    decode_not_null!();

    #[cfg(test)]
    fn sample(next: &mut u32, at: At) -> Self {
        (0..2).map(|_| T::sample(next, at)).collect()
    }
}

impl<T: Field> Nullable for Vec<T> {
    fn encode_null(out: &mut Writer, at: At) {
        out.put_null(at, false);
    }

    fn decode_nullable(input: &mut Reader, at: At) -> Result<Option<Self>, Error> {
        let Some(length) = input.length(at, false)? else {
            return Ok(None);
        };
        input.charge(length.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(length.min(ELEMENTS_RESERVED_MAX));
        for _ in 0..length {
            elements.push(T::decode(input, at.nullable(false))?);
        }
        Ok(Some(elements))
    }
}

#[allow(private_bounds, reason = "only the types of this file have a null")]
impl<T: Nullable> Field for Option<T> {
    fn encode(&self, out: &mut Writer, at: At) {
        match self {
            Some(value) => value.encode_some(out, at.nullable(false)),
            None if at.nullable => T::encode_null(out, at),
            None => T::default().encode(out, at),
        }
    }

    fn decode(input: &mut Reader, at: At) -> Result<Self, Error> {
        match T::decode_nullable(input, at)? {
            None if !at.nullable => Err(Error::Null),
            value => Ok(value),
        }
    }

    #[cfg(test)]
    fn sample(next: &mut u32, at: At) -> Self {
        *next += 1;
        if at.nullable && (*next).is_multiple_of(3) {
            None
        } else {
            Some(T::sample(next, at))
        }
    }
}
