//! Hexadecimal, base64, character sets and digests.

use arrow::datatypes::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::arguments::{as_int, as_text, bytes, text};
use super::string::{give, null};
use super::{Call, Failure, Function};
use crate::format::column::Column;
use crate::format::view::Value;

pub const FUNCTIONS: &[Function] = &[
    Function::new(&["TO_BASE64"], "a", text, |_, a, out| {
        give(out, &STANDARD.encode(raw(&a[0])))
    }),
    Function::new(&["FROM_BASE64"], "s", text, |_, a, out| {
        match STANDARD.decode(as_text(&a[0]).trim()) {
            Ok(bytes) => give(out, &String::from_utf8_lossy(&bytes)),
            Err(_) => null(out),
        }
    }),
    Function::new(&["HEX"], "a", text, |_, a, out| match a[0] {
        Value::Integer(value) => give(out, &format!("{value:X}")),
        ref other => give(
            out,
            &raw(other).iter().map(|byte| format!("{byte:02X}")).collect::<String>(),
        ),
    }),
    Function::new(&["UNHEX"], "s", bytes, |_, a, out| {
        give_bytes(out, unhex(as_text(&a[0])).as_deref())
    }),
    Function::new(&["BIN"], "i", text, |_, a, out| {
        give(out, &format!("{:b}", as_int(&a[0])))
    }),
    Function::new(&["ENCODE"], "ss", bytes, |_, a, out| {
        encode(out, as_text(&a[0]), as_text(&a[1]))
    }),
    Function::new(&["DECODE"], "xs", text, |_, a, out| {
        decode(out, raw(&a[0]), as_text(&a[1]))
    }),
    Function::new(&["MD5"], "a", text, |_, a, out| give(out, &hex_of::<Md5>(raw(&a[0])))),
    Function::new(&["SHA1"], "a", text, |_, a, out| give(out, &hex_of::<Sha1>(raw(&a[0])))),
    Function::new(&["SHA224"], "a", text, |_, a, out| {
        give(out, &hex_of::<Sha224>(raw(&a[0])))
    }),
    Function::new(&["SHA256"], "a", text, |_, a, out| {
        give(out, &hex_of::<Sha256>(raw(&a[0])))
    }),
    Function::new(&["SHA384"], "a", text, |_, a, out| {
        give(out, &hex_of::<Sha384>(raw(&a[0])))
    }),
    Function::new(&["SHA512"], "a", text, |_, a, out| {
        give(out, &hex_of::<Sha512>(raw(&a[0])))
    }),
    Function::new(&["SHA2"], "ai", sha2_type, sha2),
];

fn raw<'a>(value: &Value<'a>) -> &'a [u8] {
    match value {
        Value::Text(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        _ => &[],
    }
}

fn give_bytes(out: &mut Column, bytes: Option<&[u8]>) -> Result<(), Failure> {
    match out {
        Column::Bytes(values) => values.append_option(bytes),
        other => other.append_null(),
    }
    Ok(())
}

fn hex_of<D: Digest>(bytes: &[u8]) -> String {
    D::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha2_type(types: &[DataType]) -> Result<DataType, Failure> {
    text(types)
}

fn sha2(_: &mut Call<'_>, a: &[Value<'_>], out: &mut Column) -> Result<(), Failure> {
    let bytes = raw(&a[0]);
    match as_int(&a[1]) {
        224 => give(out, &hex_of::<Sha224>(bytes)),
        256 => give(out, &hex_of::<Sha256>(bytes)),
        384 => give(out, &hex_of::<Sha384>(bytes)),
        512 => give(out, &hex_of::<Sha512>(bytes)),
        other => Err(format!(
            "Unsupported algorithm: SHA-{other}. Use 224, 256, 384 or 512 bits."
        )),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .map(|b| (b as char).to_digit(16).map(|d| d as u8))
        .collect::<Option<_>>()?;
    // An odd digit stands in front alone.
    let (head, pairs) = digits.split_at(digits.len() % 2);
    Some(
        head.iter()
            .copied()
            .chain(pairs.chunks(2).map(|pair| pair[0] << 4 | pair[1]))
            .collect(),
    )
}

fn encode(out: &mut Column, text: &str, charset: &str) -> Result<(), Failure> {
    let bytes: Vec<u8> = match charset.to_ascii_uppercase().as_str() {
        "UTF-8" => text.as_bytes().to_vec(),
        "US-ASCII" => text
            .chars()
            .map(|c| if c.is_ascii() { c as u8 } else { b'?' })
            .collect(),
        "ISO-8859-1" => text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
            .collect(),
        "UTF-16BE" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        "UTF-16LE" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "UTF-16" => [0xfe, 0xff]
            .into_iter()
            .chain(text.encode_utf16().flat_map(u16::to_be_bytes))
            .collect(),
        _ => return Err(unknown_charset(charset)),
    };
    give_bytes(out, Some(&bytes))
}

fn decode(out: &mut Column, bytes: &[u8], charset: &str) -> Result<(), Failure> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    let text = match charset.to_ascii_uppercase().as_str() {
        "UTF-8" => String::from_utf8_lossy(bytes).into_owned(),
        "US-ASCII" => bytes
            .iter()
            .map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' })
            .collect(),
        "ISO-8859-1" => bytes.iter().map(|b| char::from(*b)).collect(),
        "UTF-16BE" => utf16(bytes, u16::from_be_bytes),
        "UTF-16LE" => utf16(bytes, u16::from_le_bytes),
        "UTF-16" => match bytes {
            [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
            [0xfe, 0xff, rest @ ..] | rest => utf16(rest, u16::from_be_bytes),
        },
        _ => return Err(unknown_charset(charset)),
    };
    give(out, &text)
}

fn unknown_charset(charset: &str) -> Failure {
    format!("Unsupported encoding: {charset}. Use UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE or UTF-16LE.")
}
