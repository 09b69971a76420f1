//! Messages to bytes and back, with buffers of the size that a usual message has.
//!
//! tonic begins each call with two buffers of 8 KiB. Puts and gets of small pairs need a few hundred bytes, and an
//! allocator has blocks of up to a kilobyte at hand for every thread. Larger messages grow their buffer as before.

use std::fmt;
use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::{ProstDecoder, ProstEncoder};

/// The first size of a buffer, in bytes: with the allocator's own words the largest block that is kept per thread.
const BUFFER_BYTES: usize = 1_000;
/// A stream hands on what it has encoded when it is this much, in bytes; tonic's own figure.
const YIELD_BYTES: usize = 32 << 10;

/// Encodes `T` and decodes `U` as protobuf.
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> fmt::Debug for Codec<T, U> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Codec")
    }
}

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}
