//! A strict JSON reader over borrowed text: it finds values and skips them, and copies nothing but escaped strings.

use std::borrow::Cow;

/// Brackets inside one another; the limit of Flink's parser, and what keeps the stack small.
const DEPTH_MAX: usize = 1000;

/// A place in a JSON text.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A value, containers as their text.
#[derive(Debug, Clone, PartialEq)]
pub enum Token<'a> {
    Null,
    Boolean(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(&'a str),
    Object(&'a str),
}

/// What is wrong with a JSON text, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Broken {
    pub what: &'static str,
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn broken<T>(&self, what: &'static str) -> Result<T, Broken> {
        Err(Broken { what, at: self.at })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Broken> {
        self.skip_blanks();
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.broken(what)
    }

    /// Nothing but blanks may follow.
    pub fn end(&mut self) -> Result<(), Broken> {
        self.skip_blanks();
        if self.at == self.text.len() {
            Ok(())
        } else {
            self.broken("unexpected text behind the value")
        }
    }

    /// The next value, checked to its end.
    pub fn token(&mut self) -> Result<Token<'a>, Broken> {
        self.skip_blanks();
        let start = self.at;
        match self.peek() {
            Some(b'"') => Ok(Token::Text(self.string()?)),
            Some(b'{') => self.skip_object(0).map(|()| Token::Object(&self.text[start..self.at])),
            Some(b'[') => self.skip_array(0).map(|()| Token::Array(&self.text[start..self.at])),
            Some(b'-' | b'0'..=b'9') => self.skip_number().map(|()| Token::Number(&self.text[start..self.at])),
            Some(b't') => self.word("true").map(|()| Token::Boolean(true)),
            Some(b'f') => self.word("false").map(|()| Token::Boolean(false)),
            Some(b'n') => self.word("null").map(|()| Token::Null),
            _ => self.broken("expected a value"),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Broken> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        self.broken("expected a value")
    }

    fn skip_value(&mut self, depth: usize) -> Result<(), Broken> {
        if depth > DEPTH_MAX {
            return self.broken("more than 1000 brackets inside one another");
        }
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.skip_object(depth),
            Some(b'[') => self.skip_array(depth),
            Some(b'"') => self.skip_string().map(|_| ()),
            _ => self.token().map(|_| ()),
        }
    }

    fn skip_object(&mut self, depth: usize) -> Result<(), Broken> {
        self.at += 1;
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            self.skip_blanks();
            self.skip_string()?;
            self.expect(b':', "expected ':'")?;
            self.skip_value(depth + 1)?;
            if !self.separated(b'}', "expected ',' or '}'")? {
                return Ok(());
            }
        }
    }

    fn skip_array(&mut self, depth: usize) -> Result<(), Broken> {
        self.at += 1;
        if self.closes(b']') {
            return Ok(());
        }
        loop {
            self.skip_value(depth + 1)?;
            if !self.separated(b']', "expected ',' or ']'")? {
                return Ok(());
            }
        }
    }

    fn closes(&mut self, bracket: u8) -> bool {
        self.skip_blanks();
        let closes = self.peek() == Some(bracket);
        self.at += usize::from(closes);
        closes
    }

    /// `true` behind a comma, `false` behind the closing bracket.
    fn separated(&mut self, bracket: u8, what: &'static str) -> Result<bool, Broken> {
        if self.closes(bracket) {
            return Ok(false);
        }
        self.expect(b',', what).map(|()| true)
    }

    fn skip_number(&mut self) -> Result<(), Broken> {
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return self.broken("expected a digit"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.')) {
            return self.broken("unexpected text behind a number");
        }
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn digits(&mut self) -> Result<(), Broken> {
        if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return self.broken("expected a digit");
        }
        self.skip_digits();
        Ok(())
    }

    /// Passes a string; gives its inner text and whether it has escapes.
    fn skip_string(&mut self) -> Result<(&'a str, bool), Broken> {
        if self.peek() != Some(b'"') {
            return self.broken("expected '\"'");
        }
        let start = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut escaped = false;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    let digits = bytes.get(at + 2..at + 6).unwrap_or_default();
                    match bytes.get(at + 1) {
                        Some(b'u') if digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit) => at += 6,
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                        _ => {
                            return Err(Broken {
                                what: "a bad escape in a string",
                                at,
                            });
                        }
                    }
                }
                Some(0..=0x1f) => {
                    return Err(Broken {
                        what: "a control character in a string",
                        at,
                    });
                }
                Some(_) => at += 1,
                None => {
                    return Err(Broken {
                        what: "a string without its end",
                        at: start - 1,
                    });
                }
            }
        }
        self.at = at + 1;
        // Both ends stand beside an ASCII quote, so they are on character boundaries.
        Ok((&self.text[start..at], escaped))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Broken> {
        let at = self.at;
        let (inner, escaped) = self.skip_string()?;
        if !escaped {
            return Ok(Cow::Borrowed(inner));
        }
        unescape(inner).map(Cow::Owned).ok_or(Broken {
            what: "a bad escape in a string",
            at,
        })
    }

    /// Calls `visit` with each field of an object; the value has been checked.
    pub fn object(&mut self, mut visit: impl FnMut(Cow<'a, str>, Token<'a>)) -> Result<(), Broken> {
        self.expect(b'{', "expected '{'")?;
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            self.skip_blanks();
            let name = self.string()?;
            self.expect(b':', "expected ':'")?;
            let value = self.token()?;
            visit(name, value);
            if !self.separated(b'}', "expected ',' or '}'")? {
                return Ok(());
            }
        }
    }

    /// Calls `visit` with each item of an array.
    pub fn array(&mut self, mut visit: impl FnMut(Token<'a>)) -> Result<(), Broken> {
        self.expect(b'[', "expected '['")?;
        if self.closes(b']') {
            return Ok(());
        }
        loop {
            let value = self.token()?;
            visit(value);
            if !self.separated(b']', "expected ',' or ']'")? {
                return Ok(());
            }
        }
    }
}

/// Resolves JSON's escapes; `None` where one is unknown or half a surrogate pair.
pub fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let kind = *rest.as_bytes().get(at + 1)?;
        rest = rest.get(at + 2..)?;
        match kind {
            b'"' | b'\\' | b'/' => out.push(char::from(kind)),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let high = hex4(rest)?;
                rest = &rest[4..];
                if (0xd800..0xdc00).contains(&high) {
                    let low = hex4(rest.strip_prefix("\\u")?)?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return None;
                    }
                    rest = &rest[6..];
                    out.push(char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?);
                } else {
                    out.push(char::from_u32(high)?);
                }
            }
            _ => return None,
        }
    }
    out.push_str(rest);
    Some(out)
}

fn hex4(text: &str) -> Option<u32> {
    let digits = text.get(..4)?;
    digits
        .bytes()
        .all(|b| b.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &str) -> bool {
        let mut cursor = Cursor::new(text);
        cursor.token().is_ok() && cursor.end().is_ok()
    }

    #[test]
    fn tokens_and_escapes() {
        assert_eq!(
            Cursor::new(" \"a\\u00fc\\ud83d\\ude00\\n\"").token(),
            Ok(Token::Text("aü😀\n".into()))
        );
        assert_eq!(Cursor::new("-1.5e3,").token(), Ok(Token::Number("-1.5e3")));
        assert_eq!(
            Cursor::new("{\"a\":[1,{}]} x").token(),
            Ok(Token::Object("{\"a\":[1,{}]}"))
        );
        let mut seen = Vec::new();
        Cursor::new(r#"{"a":1,"b":null}"#)
            .object(|name, value| seen.push((name.into_owned(), value)))
            .unwrap();
        assert_eq!(
            seen,
            [("a".to_owned(), Token::Number("1")), ("b".to_owned(), Token::Null)]
        );
    }

    #[test]
    fn bad_texts_are_refused_and_deep_ones_do_not_overflow() {
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "01",
            "1.",
            "\"\\x\"",
            "\"\\ud800\"",
            "nul",
            "{broken",
            "\"a\nb\"",
            "1x",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
        assert!(accepts(&("[".repeat(1000) + &"]".repeat(1000))));
        assert!(!accepts(&"[".repeat(1_000_000)));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}:,"a1\\ .eE+-]{0,12}|true|null"#) {
            prop_assert_eq!(accepts(&text), serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|_| true)
                || serde_json::from_str::<serde_json::Value>(&text).is_err_and(|e| e.to_string().contains("out of range")));
        }

        #[test]
        fn reads_what_serde_json_writes(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(Cursor::new(&written).token(), Ok(Token::Text(text.into())));
        }
    }
}
