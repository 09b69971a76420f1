//! Rust source without its comments, its strings and its tests, line for line.

/// What is left of `text` for the laws to look at; line numbers stay.
pub fn code_of(text: &str) -> String {
    without_tests(&without_comments_and_strings(text))
}

/// The string literals of `text` outside of its tests, without their quotes, each with the line on which it begins.
pub fn strings_of(text: &str) -> Vec<(usize, String)> {
    let text = without_tests(text);
    let mut strings = Vec::new();
    let mut rest = text.as_str();
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let is_raw = first == 'r' && !(before.is_alphanumeric() || before == '_');
        let (skipped, is_string) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => (block_comment(rest), false),
            '"' => (string(rest), true),
            'r' if is_raw => (raw_string(rest), true),
            '\'' => (character(rest), false),
            _ => (0, false),
        };
        let skipped = skipped.max(first.len_utf8());
        if is_string && skipped > 1 {
            let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
            let literal = rest[..skipped].strip_prefix('r').unwrap_or(&rest[..skipped]);
            let literal = literal.trim_matches('#').trim_matches('"');
            // A backslash at the end of a line joins it with the next.
            let joined = literal.split("\\\n").map(str::trim_start).collect::<Vec<_>>().join("");
            strings.push((line, joined));
        }
        before = rest[..skipped].chars().next_back().unwrap_or(' ');
        rest = &rest[skipped..];
    }
    strings
}

/// The modules in files of their own that `text`, the file at `path`, has for its tests: their paths without `.rs`.
pub fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or_default();
    let inside = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
    };
    let after_attribute = text.split("#[cfg(test)]").skip(1);
    after_attribute
        .filter_map(|rest| {
            let item = rest
                .trim_start()
                .lines()
                .find(|line| !line.trim_start().starts_with('#'))?;
            let declared = item.trim_start().trim_start_matches("pub ").strip_prefix("mod ")?;
            Some(format!("{inside}/{}", declared.trim_end().strip_suffix(';')?))
        })
        .collect()
}

/// Blanks what stands under `#[cfg(test)]`. Relies on rustfmt: a block ends with a brace as far in as it began.
fn without_tests(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            kept.push('\n');
            for skipped in lines.by_ref() {
                kept.push('\n');
                let one_line = skipped.trim_end().ends_with(';') || skipped.trim_end().ends_with('}');
                let attribute = skipped.trim_start().starts_with('#');
                let inside = skipped.len() > end.len() && skipped.starts_with(&end[..end.len() - 1]);
                if skipped.trim_end() == end || (one_line && !attribute && is_head(skipped, &end) && inside) {
                    break;
                }
            }
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Whether a line stands as far in as the item itself, rather than in its body.
fn is_head(line: &str, end: &str) -> bool {
    line.len() - line.trim_start().len() == end.len() - 1
}

fn without_comments_and_strings(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' if !kept.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            kept.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            rest = &rest[skipped..];
        }
    }
    kept
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = true; // The opening quote.
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string that begins here, or 0.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let open = 1 + hashes;
    if !text[open..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[open + 1..]
        .find(&end)
        .map_or(text.len(), |at| open + 1 + at + end.len())
}

/// The length of a character literal that begins here, or 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => chars
            .nth(1)
            .and_then(|(at, _)| text[at - 1..].find('\'').map(|more| at + more))
            .unwrap_or(0),
        Some((at, c)) if text[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_go() {
        let code = "let a = \"tokio \\\" tokio\"; // tokio\nlet b = r#\"to\"kio\"#; /* tokio /* */ tokio */ let c = 'x';\nfn f<'a>(x: &'a str) { let q = '\"'; tokio() }\n";
        let left = code_of(code);
        assert_eq!(left.matches("tokio").count(), 1, "{left}");
        assert!(left.contains("fn f<'a>(x: &'a str)"), "{left}");
        assert_eq!(left.lines().count(), 3);
        assert_eq!(
            code_of("let n = '\\n'; let u = '\\u{1F600}'; tokio")
                .matches("tokio")
                .count(),
            1
        );
    }

    #[test]
    fn strings_are_found_with_their_lines() {
        let code = "// \"no\"\nlet a = \"one \\\n    two\"; let c = '\"';\nfn f<'a>() { g(r#\"raw \"x\" \"#) }\n#[cfg(test)]\nmod tests {\n    \"no\"\n}\n";
        let strings = strings_of(code);
        assert_eq!(strings[0], (2, "one two".to_owned()));
        assert_eq!(strings.len(), 2, "{strings:?}");
        assert!(strings[1].0 == 4 && strings[1].1.starts_with("raw "), "{strings:?}");
    }

    #[test]
    fn test_modules_are_found() {
        let code = "#[cfg(test)]\nmod stories;\nmod other;\n#[cfg(test)]\nmod inside {\n}\n";
        assert_eq!(test_modules("a/src/group/mod.rs", code), ["a/src/group/stories"]);
        assert_eq!(test_modules("a/src/group.rs", code), ["a/src/group/stories"]);
    }

    #[test]
    fn tests_go() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    use tokio;\n}\nfn b() { tokio }\n";
        let left = code_of(code);
        assert_eq!(left.matches("tokio").count(), 1, "{left}");
        assert_eq!(left.lines().position(|line| line.contains("tokio")), Some(5));
        let code = "#[cfg(test)]\nmod tests;\nuse tokio;\n    #[cfg(test)]\n    fn x() {\n        tokio();\n    }\nuse tokio;\n";
        assert_eq!(code_of(code).matches("tokio").count(), 2, "{}", code_of(code));
    }
}
