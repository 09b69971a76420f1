//! Java's regular expressions in the notation of the engine here.
//!
//! What looks the same and means something else is rewritten: in Java `\w`, `\d`, `\s` and the POSIX classes are ASCII, `(?i)`
//! folds ASCII letters only, `.` stops at every line terminator, `[` within a class opens another class, and `\Q…\E` quotes.
//! `\b` is left alone: up to Java 18 it is Unicode's, as here. What the linear-time engine does not have (look-around, back
//! references, possessive quantifiers) is refused by name.

use super::Failure;

/// A line terminator ends what `.` matches.
const DOT: &str = r"[^\n\r\x{85}\x{2028}\x{2029}]";
const HORIZONTAL: &str = r" \t\x{A0}\x{1680}\x{180e}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}";
const VERTICAL: &str = r"\n\x0B\f\r\x{85}\x{2028}\x{2029}";
/// Java's POSIX classes and what they hold.
const POSIX: [(&str, &str); 13] = [
    ("Lower", "a-z"),
    ("Upper", "A-Z"),
    ("ASCII", r"\x00-\x7F"),
    ("Alpha", "a-zA-Z"),
    ("Digit", "0-9"),
    ("Alnum", "a-zA-Z0-9"),
    ("Punct", r"!-/:-@\[-`{-~"),
    ("Graph", "!-~"),
    ("Print", " -~"),
    ("Blank", r" \t"),
    ("Cntrl", r"\x00-\x1F\x7F"),
    ("XDigit", "0-9a-fA-F"),
    ("Space", r" \t\n\x0B\f\r"),
];

/// Translates a pattern.
pub fn translate(pattern: &str) -> Result<String, Failure> {
    let mut translator = Translator {
        chars: pattern.chars().collect(),
        at: 0,
        out: String::with_capacity(pattern.len() + 16),
        flags: vec![Flags::default()],
    };
    translator.run().map_err(|what| {
        format!("The pattern '{pattern}' cannot be used: {what}. Write it without what is named there.")
    })?;
    Ok(translator.out)
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    dot_all: bool,
}

struct Translator {
    chars: Vec<char>,
    at: usize,
    out: String,
    /// Of the groups that are open.
    flags: Vec<Flags>,
}

impl Translator {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek(0);
        self.at += usize::from(next.is_some());
        next
    }

    fn flags(&self) -> Flags {
        self.flags.last().copied().unwrap_or_default()
    }

    fn run(&mut self) -> Result<(), Failure> {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                ')' => {
                    if self.flags.len() > 1 {
                        self.flags.pop();
                    }
                    self.out.push(')');
                }
                '.' if self.flags().dot_all => self.out.push_str("(?s:.)"),
                '.' => self.out.push_str(DOT),
                '*' | '+' | '?' => self.quantified(c)?,
                '}' => {
                    self.out.push('}');
                    if self.peek(0) == Some('+') {
                        return Err("possessive quantifiers are not supported".to_owned());
                    }
                }
                c => self.literal(c),
            }
        }
        Ok(())
    }

    fn quantified(&mut self, c: char) -> Result<(), Failure> {
        self.out.push(c);
        match self.peek(0) {
            Some('+') => Err("possessive quantifiers are not supported".to_owned()),
            Some('?') => {
                self.at += 1;
                self.out.push('?');
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn literal(&mut self, c: char) {
        if self.flags().ignore_case && c.is_ascii_alphabetic() {
            self.out.push('[');
            self.out.push(c.to_ascii_lowercase());
            self.out.push(c.to_ascii_uppercase());
            self.out.push(']');
        } else {
            self.out.push(c);
        }
    }

    fn quoted(&mut self, c: char) {
        if c.is_ascii_alphabetic() {
            self.literal(c);
        } else {
            self.out.push_str(&regex::escape(&c.to_string()));
        }
    }

    /// A group, behind its `(`.
    fn group(&mut self) -> Result<(), Failure> {
        let mut flags = self.flags();
        if self.peek(0) != Some('?') {
            self.flags.push(flags);
            self.out.push('(');
            return Ok(());
        }
        match (self.peek(1), self.peek(2)) {
            (Some('='), _) | (Some('!'), _) => return Err("look-around (look-ahead) is not supported".to_owned()),
            (Some('<'), Some('=' | '!')) => return Err("look-around (look-behind) is not supported".to_owned()),
            (Some('>'), _) => return Err("atomic groups are not supported".to_owned()),
            (Some('<'), _) => {
                self.flags.push(flags);
                self.out.push('(');
                return Ok(());
            }
            _ => {}
        }
        self.at += 1;
        // Flags, up to `)` for the rest of the group around, or `:` for a group of their own.
        let (mut kept, mut on, mut unicode) = (String::new(), true, false);
        let mut changed_case = None;
        while let Some(c) = self.next() {
            match c {
                '-' => {
                    on = false;
                    kept.push('-');
                }
                'i' => changed_case = Some(on),
                's' => flags.dot_all = on,
                // UNICODE_CASE and UNICODE_CHARACTER_CLASS.
                'u' | 'U' => unicode = on,
                'm' | 'x' => kept.push(c),
                'd' => {}
                ':' | ')' => {
                    if unicode {
                        return Err("the flags u and U are not supported".to_owned());
                    }
                    flags.ignore_case = changed_case.unwrap_or(flags.ignore_case);
                    let kept = kept.trim_end_matches('-');
                    if c == ':' {
                        self.flags.push(flags);
                        self.out.push_str(&format!("(?{kept}:"));
                    } else {
                        if let Some(current) = self.flags.last_mut() {
                            *current = flags;
                        }
                        if !kept.is_empty() {
                            self.out.push_str(&format!("(?{kept})"));
                        }
                    }
                    return Ok(());
                }
                other => return Err(format!("there is no flag '{other}'")),
            }
        }
        Err("a group has no end".to_owned())
    }

    /// What stands behind a backslash, within a class or outside.
    fn escape(&mut self, in_class: bool) -> Result<(), Failure> {
        let Some(c) = self.next() else {
            return Err("it ends in a backslash".to_owned());
        };
        let set = |set: &str, negated: bool| match (in_class, negated) {
            (_, true) => format!("[^{set}]"),
            (true, false) => set.to_owned(),
            (false, false) => format!("[{set}]"),
        };
        let text = match c {
            'w' => set("a-zA-Z_0-9", false),
            'W' => set("a-zA-Z_0-9", true),
            'd' => set("0-9", false),
            'D' => set("0-9", true),
            's' => set(r" \t\n\x0B\f\r", false),
            'S' => set(r" \t\n\x0B\f\r", true),
            'h' => set(HORIZONTAL, false),
            'H' => set(HORIZONTAL, true),
            'v' => set(VERTICAL, false),
            'V' => set(VERTICAL, true),
            'R' if !in_class => format!(r"(?:\r\n|[{VERTICAL}])"),
            'p' | 'P' => return self.property(c == 'P', in_class),
            'e' => r"\x1B".to_owned(),
            'Q' => {
                self.quote();
                return Ok(());
            }
            '0' => return self.octal(),
            'Z' if !in_class => r"(?:\n?\z)".to_owned(),
            'b' | 'B' | 'A' | 'z' if !in_class => format!("\\{c}"),
            'a' | 'f' | 't' | 'n' | 'r' | 'x' | 'u' => format!("\\{c}"),
            '1'..='9' | 'k' => return Err("back references are not supported".to_owned()),
            'G' => return Err("\\G is not supported".to_owned()),
            c if c.is_ascii_alphabetic() => return Err(format!("\\{c} is no escape")),
            c => regex::escape(&c.to_string()),
        };
        self.out.push_str(&text);
        Ok(())
    }

    /// Up to three octal digits behind `\0`.
    fn octal(&mut self) -> Result<(), Failure> {
        let mut code = 0;
        let mut digits = 0;
        while let Some(digit) = self.peek(0).and_then(|c| c.to_digit(8)) {
            if digits == 3 || code * 8 + digit > 0o377 {
                break;
            }
            code = code * 8 + digit;
            digits += 1;
            self.at += 1;
        }
        if digits == 0 {
            return Err("\\0 wants octal digits".to_owned());
        }
        self.out.push_str(&format!("\\x{{{code:x}}}"));
        Ok(())
    }

    fn quote(&mut self) {
        while let Some(c) = self.next() {
            if c == '\\' && self.peek(0) == Some('E') {
                self.at += 1;
                return;
            }
            self.quoted(c);
        }
    }

    /// `\p{Name}` or `\pL`.
    fn property(&mut self, negated: bool, in_class: bool) -> Result<(), Failure> {
        let name = match self.next() {
            Some('{') => {
                let mut name = String::new();
                loop {
                    match self.next() {
                        Some('}') => break name,
                        Some(c) => name.push(c),
                        None => return Err("a property has no end".to_owned()),
                    }
                }
            }
            Some(c) => c.to_string(),
            None => return Err("\\p wants a property".to_owned()),
        };
        if let Some((_, set)) = POSIX.iter().find(|(posix, _)| *posix == name) {
            self.out.push_str(&match (negated, in_class) {
                (true, _) => format!("[^{set}]"),
                (false, true) => (*set).to_owned(),
                (false, false) => format!("[{set}]"),
            });
            return Ok(());
        }
        if name.starts_with("java") || name.starts_with("In") {
            return Err(format!("the property {name} is not supported"));
        }
        let letter = if negated { 'P' } else { 'p' };
        let name = name.strip_prefix("Is").unwrap_or(&name);
        self.out.push_str(&format!("\\{letter}{{{name}}}"));
        Ok(())
    }

    /// A class, behind its `[`.
    fn class(&mut self) -> Result<(), Failure> {
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut first = true;
        while let Some(c) = self.next() {
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' => self.class()?,
                '\\' => self.escape(true)?,
                '&' if self.peek(0) == Some('&') => {
                    self.at += 1;
                    self.out.push_str("&&");
                }
                '-' if matches!(self.peek(0), Some(']') | None) || first => self.out.push_str("\\-"),
                '-' => self.out.push('-'),
                c if self.flags().ignore_case && c.is_ascii_alphabetic() => self.folded(c),
                ']' | '&' | '~' | '^' | ':' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                c => self.out.push(c),
            }
            first = false;
        }
        Err("a class has no end".to_owned())
    }

    /// A letter or a range of letters of a class, in both cases.
    fn folded(&mut self, from: char) {
        let to = match (self.peek(0), self.peek(1)) {
            (Some('-'), Some(to)) if to.is_ascii_alphabetic() => {
                self.at += 2;
                to
            }
            _ => from,
        };
        self.out.push_str(&format!("{from}-{to}"));
        let (low, high) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
        if low <= high && from.is_ascii_lowercase() == to.is_ascii_lowercase() {
            let (upper_low, upper_high) = (low.to_ascii_uppercase(), high.to_ascii_uppercase());
            self.out.push_str(&format!("{low}-{high}{upper_low}-{upper_high}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(pattern: &str, text: &str) -> String {
        let regex = regex::Regex::new(&translate(pattern).unwrap()).unwrap();
        regex.replace_all(text, "#").into_owned()
    }

    #[test]
    fn classes_are_javas() {
        assert_eq!(replaced(r"\w", "aäb1١_ x"), "#ä##١# #");
        assert_eq!(replaced(r"\W", "aäb1١_ x"), "a#b1#_#x");
        assert_eq!(replaced(r"[^\w]", "aäb"), "a#b");
        assert_eq!(replaced(r"[\w=]+", "x=ä1"), "#ä#");
        assert_eq!(replaced(r"\b", "aäb x"), "#aäb# #x#");
        assert_eq!(replaced(r"\p{Lower}", "äA1a"), "äA1#");
        assert_eq!(replaced(r"\p{L}", "ä1"), "#1");
        assert_eq!(replaced("[[:alpha:]]", "ä_1"), "ä_1");
        assert_eq!(replaced(r"[a-z&&[^bc]]", "abcd"), "#bc#");
        assert_eq!(replaced(r"\Qa.b\E", "a.b axb"), "# axb");
        assert_eq!(replaced(".", "a\u{85}b"), "#\u{85}#");
    }

    #[test]
    fn cases_fold_in_ascii_and_within_their_group() {
        assert_eq!(replaced("(?i)ä", "äÄ"), "#Ä");
        assert_eq!(replaced("(?i)k", "kK\u{212a}"), "##\u{212a}");
        assert_eq!(replaced("(?i:a)b", "ab Ab AB"), "# # AB");
        assert_eq!(replaced("(?i)[a-c]", "aBd"), "##d");
        assert_eq!(replaced("((?i)a)b", "Ab AB"), "# AB");
    }

    #[test]
    fn what_the_engine_has_not_is_refused_by_name() {
        for (pattern, name) in [
            ("foo(?=bar)", "look-ahead"),
            ("(?<!a)b", "look-behind"),
            (r"(a)\1", "back references"),
            ("a*+", "possessive"),
            ("(?>a)", "atomic"),
        ] {
            assert!(translate(pattern).unwrap_err().contains(name), "{pattern}");
        }
    }
}
