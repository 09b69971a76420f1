//! The macro behind [`crate::messages`], and what every message can do.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{At, Error, Reader, Writer};

/// A request or a response.
pub trait Message: Sized {
    /// Name of the call, without `Request` or `Response`.
    const API: &'static str;
    /// Key of the call.
    const KEY: i16;
    /// The versions that this table knows, which may be more than a broker serves.
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version.
    const FLEXIBLE: i16;

    #[doc(hidden)]
    fn encode_at(&self, out: &mut Writer, at: At);
    #[doc(hidden)]
    fn decode_at(input: &mut Reader, at: At) -> Result<Self, Error>;
    #[doc(hidden)]
    #[cfg(test)]
    fn sample_at(next: &mut u32, at: At) -> Self;

    fn is_flexible(version: i16) -> bool {
        version >= Self::FLEXIBLE
    }

    /// Appends the body in `version`; fields that it does not carry are left out.
    fn encode(&self, out: &mut Writer, version: i16) {
        self.encode_at(out, At::new(version, Self::is_flexible(version)));
    }

    /// Reads a body. Bytes behind it are left alone.
    ///
    /// # Errors
    /// When the version is not in the table, or the bytes are not such a message.
    fn decode(body: Bytes, version: i16) -> Result<Self, Error> {
        if !Self::VERSIONS.contains(&version) {
            return Err(Error::Version {
                api: Self::API,
                version,
                known: Self::VERSIONS,
            });
        }
        Self::decode_at(&mut Reader::new(body), At::new(version, Self::is_flexible(version)))
    }
}

/// A message that is answered by another one.
pub trait Request: Message {
    type Response: Message;
}

/// Declares one call: its key, versions, request, response and their parts.
///
/// A field is `name: Type [versions]`, the versions as a Rust range within those of the call (`[..]` is all of them),
/// then where it applies `null [versions]` (those that allow null; all by default for an `Option`), `tag N` (a tagged
/// field) and `= default` (what a version without the field means).
#[macro_export]
#[doc(hidden)]
macro_rules! table {
    (
        api $api:ident = $key:literal, versions $versions:expr, flexible $flexible:expr, $request:ident => $response:ident;
        $( $name:ident { $( $field:ident : $type:ty [$carried:expr] $(null [$null:expr])? $(tag $tag:literal)? $(= $default:expr)? ),* $(,)? } )*
    ) => {
        $( $crate::table!(@structure $name { $( $field : $type [$carried] [$($null)?] [$($tag)?] [$($default)?], )* }); )*
        $crate::table!(@message $api $key $versions, $flexible, $request);
        $crate::table!(@message $api $key $versions, $flexible, $response);
        impl $crate::Request for $request {
            type Response = $response;
        }
    };

    // Structures alone: what records of internal topics are made of.
    (
        structures;
        $( $name:ident { $( $field:ident : $type:ty [$carried:expr] $(null [$null:expr])? $(tag $tag:literal)? $(= $default:expr)? ),* $(,)? } )*
    ) => {
        $( $crate::table!(@structure $name { $( $field : $type [$carried] [$($null)?] [$($tag)?] [$($default)?], )* }); )*
    };

    (@message $api:ident $key:literal $versions:expr, $flexible:expr, $message:ident) => {
        impl $crate::Message for $message {
            const API: &'static str = stringify!($api);
            const KEY: i16 = $key;
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE: i16 = $flexible;

            fn encode_at(&self, out: &mut $crate::Writer, at: $crate::At) {
                $crate::Field::encode(self, out, at);
            }
            fn decode_at(input: &mut $crate::Reader, at: $crate::At) -> Result<Self, $crate::Error> {
                $crate::Field::decode(input, at)
            }
            #[cfg(test)]
            fn sample_at(next: &mut u32, at: $crate::At) -> Self {
                $crate::Field::sample(next, at)
            }
        }
    };

    (@structure $name:ident { $( $field:ident : $type:ty [$carried:expr] [$($null:expr)?] [$($tag:literal)?] [$($default:expr)?], )* }) => {
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::table!(@default $($default)?), )* }
            }
        }

        #[allow(unused_variables, unused_mut, unused_assignments, reason = "structures without tagged fields")]
        impl $crate::Field for $name {
            fn encode(&self, out: &mut $crate::Writer, at: $crate::At) {
                let mut tagged: Vec<(u32, $crate::Writer)> = Vec::new();
                $( {
                    let at = at.nullable($crate::table!(@null at, $($null)?));
                    if std::ops::RangeBounds::<i16>::contains(&$carried, &at.version) {
                        match $crate::table!(@tag $($tag)?) {
                            None => $crate::Field::encode(&self.$field, out, at),
                            Some(tag)
                                if at.flexible
                                    && $crate::table::differs::<$type>(&self.$field, $crate::table!(@default $($default)?)) =>
                            {
                                let mut field = $crate::Writer::default();
                                $crate::Field::encode(&self.$field, &mut field, at);
                                tagged.push((tag, field));
                            }
                            Some(_) => {}
                        }
                    }
                } )*
                if at.flexible {
                    $crate::table::put_tagged(out, tagged);
                }
            }

            fn decode(input: &mut $crate::Reader, at: $crate::At) -> Result<Self, $crate::Error> {
                let mut this = Self::default();
                $(
                    if $crate::table!(@tag $($tag)?).is_none()
                        && std::ops::RangeBounds::<i16>::contains(&$carried, &at.version)
                    {
                        this.$field = $crate::Field::decode(input, at.nullable($crate::table!(@null at, $($null)?)))?;
                    }
                )*
                if at.flexible {
                    input.tagged(|tag, input| {
                        $(
                            if $crate::table!(@tag $($tag)?) == Some(tag)
                                && std::ops::RangeBounds::<i16>::contains(&$carried, &at.version)
                            {
                                let at = at.nullable($crate::table!(@null at, $($null)?));
                                this.$field = $crate::Field::decode(input, at)?;
                            }
                        )*
                        Ok(())
                    })?;
                }
                Ok(this)
            }

            #[cfg(test)]
            fn sample(next: &mut u32, at: $crate::At) -> Self {
                let mut this = Self::default();
                $(
                    if std::ops::RangeBounds::<i16>::contains(&$carried, &at.version)
                        && ($crate::table!(@tag $($tag)?).is_none() || at.flexible)
                    {
                        let at = at.nullable($crate::table!(@null at, $($null)?));
                        this.$field = $crate::Field::sample(next, at);
                    }
                )*
                this
            }
        }
    };

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@tag) => { None::<u32> };
    (@tag $tag:literal) => { Some::<u32>($tag) };
    (@null $at:ident,) => { true };
    (@null $at:ident, $null:expr) => { std::ops::RangeBounds::<i16>::contains(&$null, &$at.version) };
}

/// Whether a tagged field has to be written: one that holds its default is left out.
pub(crate) fn differs<T: PartialEq>(value: &T, default: T) -> bool {
    *value != default
}

/// Ends a structure of a flexible version: its tagged fields, in the order of their tags.
pub(crate) fn put_tagged(out: &mut Writer, mut tagged: Vec<(u32, Writer)>) {
    tagged.sort_by_key(|(tag, _)| *tag);
    out.put_unsigned_varint(tagged.len() as u32);
    for (tag, field) in tagged {
        out.put_unsigned_varint(tag);
        out.put_unsigned_varint(field.len() as u32);
        out.append(field);
    }
}
