//! The syntax of the SQL/JSON functions.
//!
//! `JSON_VALUE(v, path RETURNING t DEFAULT d ON EMPTY ERROR ON ERROR)` and its kin become calls of functions whose names are
//! no words (`JSON VALUE`), with each clause as an argument.

use sqlparser::ast::{CastKind, Expr, UnaryOperator, Value, ValueWithSpan};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token};

use super::data_type;
use super::dialect::{call, cast_to};
use super::parse::{take_words, word_at};

/// Whether a name is that of a function with clauses.
pub fn is_call(name: &str) -> bool {
    ["JSON_VALUE", "JSON_QUERY", "JSON_EXISTS"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// A call, at its name.
pub fn parse(parser: &mut Parser) -> Result<Expr, ParserError> {
    let name = parser.next_token();
    let span = name.span;
    let upper = name.token.to_string().to_ascii_uppercase();
    parser.expect_token(&Token::LParen)?;
    let mut args = vec![parser.parse_expr()?];
    parser.expect_token(&Token::Comma)?;
    args.push(parser.parse_expr()?);
    if parser.consume_token(&Token::RParen) {
        return Ok(call(&upper, span, args));
    }
    match upper.as_str() {
        "JSON_EXISTS" => args.push(on_error_of_exists(parser, span)?),
        "JSON_QUERY" => query_clauses(parser, span, &mut args)?,
        _ => value_clauses(parser, span, &mut args)?,
    }
    parser.expect_token(&Token::RParen)?;
    Ok(call(&upper.replace('_', " "), span, args))
}

/// `expr IS [NOT] JSON [VALUE | OBJECT | ARRAY | SCALAR]`, at IS.
pub fn is_json(parser: &mut Parser, expr: &Expr) -> Expr {
    let span = parser.next_token().span;
    let negated = take_words(parser, &["NOT"]);
    take_words(parser, &["JSON"]);
    let kinds = ["VALUE", "OBJECT", "ARRAY", "SCALAR"];
    let kind = kinds.iter().find(|kind| take_words(parser, &[kind]));
    let mut args = vec![expr.clone()];
    args.extend(kind.map(|kind| literal(span, kind)));
    let call = call("IS_JSON", span, args);
    if !negated {
        return call;
    }
    Expr::UnaryOp {
        op: UnaryOperator::Not,
        expr: Box::new(call),
    }
}

fn literal(span: Span, text: &str) -> Expr {
    Expr::Value(ValueWithSpan {
        value: Value::SingleQuotedString(text.to_owned()),
        span,
    })
}

fn null(span: Span, target: &str) -> Expr {
    let value = Expr::Value(ValueWithSpan {
        value: Value::Null,
        span,
    });
    cast_to(CastKind::Cast, value, span, target)
}

/// `RETURNING type`, or STRING.
fn returning(parser: &mut Parser) -> Result<String, ParserError> {
    if take_words(parser, &["RETURNING"]) {
        return Ok(data_type::parse(parser)?.to_string());
    }
    Ok("STRING".to_owned())
}

fn on_error_of_exists(parser: &mut Parser, span: Span) -> Result<Expr, ParserError> {
    for word in ["TRUE", "FALSE", "UNKNOWN", "ERROR"] {
        if take_words(parser, &[word, "ON", "ERROR"]) {
            return Ok(literal(span, word));
        }
    }
    let found = parser.peek_token();
    parser.expected("TRUE, FALSE, UNKNOWN or ERROR ON ERROR", found)
}

/// What to do for an empty result and for an error, in either order: a word, and a default.
fn value_clauses(parser: &mut Parser, span: Span, args: &mut Vec<Expr>) -> Result<(), ParserError> {
    let target = returning(parser)?;
    let mut behaviours: [Option<(&str, Expr)>; 2] = [None, None];
    while !matches!(parser.peek_token_ref().token, Token::RParen | Token::EOF) {
        let behaviour = if take_words(parser, &["NULL"]) {
            ("NULL", null(span, &target))
        } else if take_words(parser, &["ERROR"]) {
            ("ERROR", null(span, &target))
        } else if word_at(parser, 0, "ON") {
            // `RETURNING type NULL ON EMPTY`: the type has taken the NULL for its own.
            ("NULL", null(span, &target))
        } else if take_words(parser, &["DEFAULT"]) {
            let value = parser.parse_expr()?;
            ("DEFAULT", cast_to(CastKind::Cast, value, span, &target))
        } else {
            let found = parser.peek_token();
            return parser.expected("NULL, ERROR or DEFAULT", found);
        };
        behaviours[on_what(parser)?] = Some(behaviour);
    }
    args.push(null(span, &target));
    for behaviour in behaviours {
        let (word, default) = behaviour.unwrap_or_else(|| ("NULL", null(span, &target)));
        args.extend([literal(span, word), default]);
    }
    Ok(())
}

fn query_clauses(parser: &mut Parser, span: Span, args: &mut Vec<Expr>) -> Result<(), ParserError> {
    let target = returning(parser)?;
    let mut wrapper = "WITHOUT";
    if take_words(parser, &["WITHOUT"]) {
        take_words(parser, &["ARRAY"]);
        expect(parser, "WRAPPER")?;
    } else if take_words(parser, &["WITH"]) {
        wrapper = "UNCONDITIONAL";
        if take_words(parser, &["CONDITIONAL"]) {
            wrapper = "CONDITIONAL";
        } else {
            take_words(parser, &["UNCONDITIONAL"]);
        }
        take_words(parser, &["ARRAY"]);
        expect(parser, "WRAPPER")?;
    }
    let mut behaviours = ["NULL", "NULL"];
    while !matches!(parser.peek_token_ref().token, Token::RParen | Token::EOF) {
        let behaviour = if take_words(parser, &["NULL"]) {
            "NULL"
        } else if take_words(parser, &["ERROR"]) {
            "ERROR"
        } else if word_at(parser, 0, "ON") {
            // The type has taken the NULL for its own.
            "NULL"
        } else if take_words(parser, &["EMPTY", "ARRAY"]) {
            "EMPTY ARRAY"
        } else if take_words(parser, &["EMPTY", "OBJECT"]) {
            "EMPTY OBJECT"
        } else {
            let found = parser.peek_token();
            return parser.expected("NULL, ERROR, EMPTY ARRAY or EMPTY OBJECT", found);
        };
        behaviours[on_what(parser)?] = behaviour;
    }
    args.extend([null(span, &target), literal(span, wrapper)]);
    args.extend(behaviours.iter().map(|behaviour| literal(span, behaviour)));
    Ok(())
}

fn expect(parser: &mut Parser, word: &str) -> Result<(), ParserError> {
    if take_words(parser, &[word]) {
        return Ok(());
    }
    let found = parser.peek_token();
    parser.expected(word, found)
}

/// `ON EMPTY` is 0, `ON ERROR` 1.
fn on_what(parser: &mut Parser) -> Result<usize, ParserError> {
    expect(parser, "ON")?;
    if word_at(parser, 0, "EMPTY") {
        parser.advance_token();
        return Ok(0);
    }
    expect(parser, "ERROR").map(|()| 1)
}
