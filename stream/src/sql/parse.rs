//! From text to [`Statement`]s.
//!
//! The whole file is read before anything runs, so a slip in its last line starts no job. Queries and expressions are
//! `sqlparser`'s, with [`FlinkDialect`]; statements are ours, because Flink's differ from every dialect it knows.
//! A statement that Flink has and we have not is `unsupported`; anything else that does not fit is a `parse` error.
//! Both name their place in the file.

use sqlparser::ast::{Ident, Query};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

use super::ddl;
use super::dialect::FlinkDialect;
use super::shape;
use super::statement::{Drop, Insert, Located, Name, Statement};
use crate::Error;

/// Expressions and queries within each other: enough for any program, little enough for the stack.
const NESTING_MAX: usize = 60;
/// The longest program, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// First words of statements that Flink has and we have not.
const FOREIGN: [&str; 24] = [
    "ADD", "ALTER", "ANALYZE", "CALL", "COMPILE", "DELETE", "DESC", "EXPLAIN", "HELP", "LOAD", "MERGE", "QUIT",
    "REMOVE", "REPLACE", "STOP", "TRUNCATE", "UNLOAD", "UPDATE", "USE", "SHOW", "CREATE", "DROP", "BEGIN", "EXECUTE",
];
/// What the three parts of a full name may be.
const CATALOG: &str = "default_catalog";
pub const DATABASE: &str = "default_database";

/// Reads a program: statements, each ended by `;` or the end of the text.
pub fn parse(text: &str) -> Result<Vec<Located>, Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::parse(format!(
            "a program may have {TEXT_BYTES_MAX} bytes, this one has {}",
            text.len()
        )));
    }
    let tokens = Tokenizer::new(&FlinkDialect, text)
        .tokenize_with_location()
        .map_err(|error| Error::parse(format!("{}{}", error.message, place(error.location))))?;
    refuse_hints(&tokens)?;
    shape::check(&tokens)?;
    let mut parser = Parser::new(&FlinkDialect)
        .with_recursion_limit(NESTING_MAX)
        .with_tokens_with_locations(tokens);
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        let first = parser.peek_token();
        if first.token == Token::EOF {
            return Ok(statements);
        }
        let statement = statement(&mut parser)?;
        let end = parser.peek_token();
        if !matches!(end.token, Token::SemiColon | Token::EOF) {
            return Err(unexpected(&end, "the end of the statement"));
        }
        statements.push(Located {
            statement,
            start: first.span.start,
        });
    }
}

/// ` at line 3, column 7`, or nothing for a place that is not known.
pub fn place(location: Location) -> String {
    if location.line == 0 {
        return String::new();
    }
    format!(" at line {}, column {}", location.line, location.column)
}

/// A parser's error in our words.
pub fn parse_error(error: ParserError) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return Error::parse(format!("the statement is nested more than {NESTING_MAX} levels deep"));
        }
    };
    Error::parse(
        text.replace(" at Line: ", " at line ")
            .replace(", Column: ", ", column "),
    )
}

pub fn unexpected(found: &TokenWithSpan, wanted: &str) -> Error {
    let what = if found.token == Token::EOF {
        "the end of the text".to_owned()
    } else {
        format!("\"{}\"", found.token)
    };
    Error::parse(format!(
        "Encountered {what}{}; expected {wanted}",
        place(found.span.start)
    ))
}

/// Hints change what a statement means, so dropping them as comments would be wrong.
fn refuse_hints(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    for token in tokens {
        if let Token::Whitespace(Whitespace::MultiLineComment(text)) = &token.token
            && text.starts_with('+')
        {
            return Err(Error::unsupported(format!(
                "hints (/*+ … */){}",
                place(token.span.start)
            )));
        }
    }
    Ok(())
}

/// Whether the word at `nth` is `text`, unquoted.
pub fn word_at(parser: &Parser, nth: usize, text: &str) -> bool {
    matches!(&parser.peek_nth_token_ref(nth).token,
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

/// Takes all `words` if they come next.
pub fn take_words(parser: &mut Parser, words: &[&str]) -> bool {
    let there = words.iter().enumerate().all(|(nth, word)| word_at(parser, nth, word));
    if there {
        words.iter().for_each(|_| parser.advance_token());
    }
    there
}

/// Takes all `words` or refuses.
pub fn expect_words(parser: &mut Parser, words: &[&str]) -> Result<(), Error> {
    words.iter().try_for_each(|word| {
        if take_words(parser, &[word]) {
            Ok(())
        } else {
            Err(unexpected(&parser.peek_token(), word))
        }
    })
}

fn statement(parser: &mut Parser) -> Result<Statement, Error> {
    let first = parser.peek_token();
    let query_starts = matches!(&first.token, Token::LParen)
        || ["SELECT", "WITH", "VALUES", "FROM"]
            .iter()
            .any(|word| word_at(parser, 0, word));
    if query_starts {
        return Ok(Statement::Query(query(parser)?));
    }
    if word_at(parser, 0, "CREATE") && ddl::create_follows(parser) {
        return ddl::create(parser);
    }
    if let Some(drop) = drop_statement(parser)? {
        return Ok(drop);
    }
    if take_words(parser, &["EXECUTE", "STATEMENT", "SET", "BEGIN"])
        || take_words(parser, &["BEGIN", "STATEMENT", "SET"])
    {
        return statement_set(parser);
    }
    if word_at(parser, 0, "EXECUTE") && word_at(parser, 1, "INSERT") {
        parser.advance_token();
    }
    if word_at(parser, 0, "INSERT") {
        return Ok(Statement::Insert(vec![insert(parser)?]));
    }
    if take_words(parser, &["SET"]) {
        return set(parser);
    }
    if take_words(parser, &["RESET"]) {
        let key = matches!(parser.peek_token_ref().token, Token::SingleQuotedString(_));
        let key = if key {
            Some(parser.parse_literal_string().map_err(parse_error)?)
        } else {
            None
        };
        return Ok(Statement::Reset { key });
    }
    for (words, statement) in [
        (["SHOW", "TABLES"], Statement::ShowTables),
        (["SHOW", "VIEWS"], Statement::ShowViews),
    ] {
        if take_words(parser, &words) {
            return Ok(statement);
        }
    }
    if take_words(parser, &["SHOW", "JOBS"]) {
        return Ok(Statement::ShowJobs);
    }
    if take_words(parser, &["STOP", "JOB"]) {
        return stop_job(parser);
    }
    if take_words(parser, &["DESCRIBE", "JOB"]) || take_words(parser, &["DESC", "JOB"]) {
        return Ok(Statement::DescribeJob(
            parser.parse_literal_string().map_err(parse_error)?,
        ));
    }
    if take_words(parser, &["DESCRIBE"]) || take_words(parser, &["DESC"]) {
        return Ok(Statement::Describe(name(parser)?));
    }
    Err(foreign(parser, &first))
}

fn foreign(parser: &Parser, first: &TokenWithSpan) -> Error {
    match FOREIGN.iter().find(|word| word_at(parser, 0, word)) {
        Some(word) => {
            let second = parser.peek_nth_token(1);
            let second = if let Token::Word(w) = second.token {
                format!(" {}", w.value.to_uppercase())
            } else {
                String::new()
            };
            Error::unsupported(format!(
                "{word}{second}{} is not served by this engine",
                place(first.span.start)
            ))
        }
        None => unexpected(first, "a statement"),
    }
}

/// Parses a query at the parser's place.
pub fn query(parser: &mut Parser) -> Result<Box<Query>, Error> {
    parser.parse_query().map_err(parse_error)
}

/// `t`, `default_database.t` or `default_catalog.default_database.t`.
pub fn name(parser: &mut Parser) -> Result<Name, Error> {
    let place = parser.peek_token_ref().span.start;
    let parts = parser.parse_object_name(false).map_err(parse_error)?;
    let parts: Vec<Ident> = parts.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
    resolve_name(&parts, place)
}

/// The last part of a name whose other parts are the defaults.
pub fn resolve_name(parts: &[Ident], at: Location) -> Result<Name, Error> {
    let texts: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
    match texts.as_slice() {
        [text] | [DATABASE, text] | [CATALOG, DATABASE, text] => Ok(Name {
            text: (*text).to_owned(),
            place: at,
        }),
        _ => Err(Error::validate(format!(
            "Object '{}' not found{}: there is one catalog, {CATALOG}, with one database, {DATABASE}",
            texts.join("."),
            place(at)
        ))),
    }
}

fn drop_statement(parser: &mut Parser) -> Result<Option<Statement>, Error> {
    for (temporary, is_view) in [(false, false), (false, true), (true, false), (true, true)] {
        let what = if is_view { "VIEW" } else { "TABLE" };
        let words = if temporary {
            vec!["DROP", "TEMPORARY", what]
        } else {
            vec!["DROP", what]
        };
        if take_words(parser, &words) {
            let if_exists = take_words(parser, &["IF", "EXISTS"]);
            return Ok(Some(Statement::Drop(Drop {
                name: name(parser)?,
                is_view,
                temporary,
                if_exists,
            })));
        }
    }
    Ok(None)
}

/// `STOP JOB 'id' [WITH SAVEPOINT] [WITH DRAIN]`
fn stop_job(parser: &mut Parser) -> Result<Statement, Error> {
    let id = parser.parse_literal_string().map_err(parse_error)?;
    let (mut savepoint, mut drain) = (false, false);
    loop {
        if take_words(parser, &["WITH", "SAVEPOINT"]) {
            savepoint = true;
        } else if take_words(parser, &["WITH", "DRAIN"]) {
            drain = true;
        } else {
            return Ok(Statement::StopJob { id, savepoint, drain });
        }
    }
}

fn set(parser: &mut Parser) -> Result<Statement, Error> {
    if matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
        return Ok(Statement::ShowSet);
    }
    let key = parser.parse_literal_string().map_err(parse_error)?;
    parser.expect_token(&Token::Eq).map_err(parse_error)?;
    let value = parser.parse_literal_string().map_err(parse_error)?;
    Ok(Statement::Set { key, value })
}

fn insert(parser: &mut Parser) -> Result<Insert, Error> {
    let start = parser.peek_token();
    expect_words(parser, &["INSERT"])?;
    if word_at(parser, 0, "OVERWRITE") {
        return Err(Error::unsupported(format!(
            "INSERT OVERWRITE{}",
            place(start.span.start)
        )));
    }
    expect_words(parser, &["INTO"])?;
    let table = name(parser)?;
    let mut partition = Vec::new();
    if take_words(parser, &["PARTITION"]) {
        parser.expect_token(&Token::LParen).map_err(parse_error)?;
        loop {
            let column = parser.parse_identifier().map_err(parse_error)?;
            parser.expect_token(&Token::Eq).map_err(parse_error)?;
            partition.push((column, parser.parse_expr().map_err(parse_error)?));
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen).map_err(parse_error)?;
    }
    let columns_follow = parser.peek_token_ref().token == Token::LParen
        && !["SELECT", "WITH", "VALUES"].iter().any(|word| word_at(parser, 1, word))
        && parser.peek_nth_token_ref(1).token != Token::LParen;
    let columns = if columns_follow {
        parser
            .parse_parenthesized(|p| p.parse_comma_separated(Parser::parse_identifier))
            .map_err(parse_error)?
    } else {
        Vec::new()
    };
    Ok(Insert {
        table,
        columns,
        partition,
        query: query(parser)?,
    })
}

fn statement_set(parser: &mut Parser) -> Result<Statement, Error> {
    let mut inserts = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.parse_keyword(Keyword::END) {
            break;
        }
        if !word_at(parser, 0, "INSERT") {
            return Err(unexpected(&parser.peek_token(), "INSERT or END"));
        }
        inserts.push(insert(parser)?);
        let end = parser.peek_token();
        if end.token != Token::SemiColon {
            return Err(unexpected(&end, "\";\""));
        }
    }
    if inserts.is_empty() {
        return Err(unexpected(&parser.peek_token(), "an INSERT in the statement set"));
    }
    Ok(Statement::Insert(inserts))
}
