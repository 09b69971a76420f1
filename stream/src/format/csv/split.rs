//! Where records and fields end.

use std::borrow::Cow;

use super::CsvOptions;

/// The length of the first record in `bytes`, with its line end; `None` where it does not end in them.
pub fn record_end(bytes: &[u8], options: &CsvOptions) -> Option<usize> {
    let comment = options.allow_comments && bytes.first() == Some(&b'#');
    let (mut field_start, mut quoted) = (true, false);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if quoted {
            if Some(byte) == options.escape {
                at += 1;
            } else if Some(byte) == options.quote {
                quoted = false;
            }
            continue;
        }
        match byte {
            b'\n' => return Some(at),
            _ if comment => {}
            _ if Some(byte) == options.escape => at += 1,
            // A quote that opens a field, or the second of two inside one: both open.
            _ if Some(byte) == options.quote && (field_start || bytes[at - 2] == byte) => quoted = true,
            _ => {}
        }
        field_start = byte == options.delimiter;
    }
    None
}

/// Cuts a record into its fields.
pub fn fields<'a>(record: &'a str, options: &CsvOptions) -> Result<Vec<Cow<'a, str>>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        let (field, behind) = match options.quote {
            Some(quote) if rest.as_bytes().first() == Some(&quote) => quoted_field(&rest[1..], quote, options)?,
            _ => plain_field(rest, options),
        };
        fields.push(field);
        match behind {
            Some(behind) => rest = behind,
            None => return Ok(fields),
        }
    }
}

type Field<'a> = (Cow<'a, str>, Option<&'a str>);

fn plain_field<'a>(text: &'a str, options: &CsvOptions) -> Field<'a> {
    let bytes = text.as_bytes();
    let Some(escape) = options.escape.filter(|escape| bytes.contains(escape)) else {
        return match bytes.iter().position(|b| *b == options.delimiter) {
            Some(at) => (Cow::Borrowed(&text[..at]), Some(&text[at + 1..])),
            None => (Cow::Borrowed(text), None),
        };
    };
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == char::from(options.delimiter) {
            return (Cow::Owned(out), Some(&text[at + 1..]));
        }
        out.push(if c == char::from(escape) {
            chars.next().map_or(c, |(_, c)| unescaped(c))
        } else {
            c
        });
    }
    (Cow::Owned(out), None)
}

fn quoted_field<'a>(text: &'a str, quote: u8, options: &CsvOptions) -> Result<Field<'a>, &'static str> {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if Some(c) == options.escape.map(char::from) {
            out.push(chars.next().map_or(c, |(_, c)| unescaped(c)));
        } else if c != char::from(quote) {
            out.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == c) {
            chars.next();
            out.push(c);
        } else {
            let behind = text[at + 1..].trim_start_matches(' ');
            return match behind.as_bytes().first() {
                None => Ok((Cow::Owned(out), None)),
                Some(byte) if *byte == options.delimiter => Ok((Cow::Owned(out), Some(&behind[1..]))),
                Some(_) => Err("text between a closing quote and the next delimiter"),
            };
        }
    }
    Err("a quoted field without its closing quote")
}

fn unescaped(c: char) -> char {
    match c {
        '0' => '\0',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_span_lines_inside_quotes_only() {
        let options = CsvOptions::default();
        assert_eq!(record_end(b"a,b\nc", &options), Some(4));
        assert_eq!(record_end(b"a,\"x\ny\"\"\n\",b\nc", &options), Some(13));
        assert_eq!(record_end(b"a,x\"y\nz", &options), Some(6));
        assert_eq!(record_end(b"a,\"b\n", &options), None);
        let comments = CsvOptions {
            allow_comments: true,
            ..CsvOptions::default()
        };
        assert_eq!(record_end(b"#\"\na\n", &comments), Some(3));
    }

    #[test]
    fn fields_with_quotes_and_escapes() {
        let options = CsvOptions::default();
        assert_eq!(
            fields("1,\"a \"\"q\"\", b\",,x\"y", &options).unwrap(),
            ["1", "a \"q\", b", "", "x\"y"]
        );
        assert_eq!(fields("", &options).unwrap(), [""]);
        assert!(fields("\"a", &options).is_err());
        assert!(fields("\"a\"b,c", &options).is_err());
        let escapes = CsvOptions {
            escape: Some(b'\\'),
            delimiter: b';',
            quote: None,
            ..CsvOptions::default()
        };
        assert_eq!(fields("a\\;b;\"c\\n\"", &escapes).unwrap(), ["a;b", "\"c\n\""]);
    }
}
