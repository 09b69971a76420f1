//! Flink's grammar where it departs from what `sqlparser` knows.
//!
//! The dialect answers two hooks. A prefix may be `TABLE t` (an argument of a window function), `CAST(x AS type)` with
//! Flink's own types, or `MAP[k, v]`; an infix may be `BETWEEN SYMMETRIC`. What they find is put into ordinary syntax
//! nodes that no Flink text can make by itself (a function named by a reserved word), so that the binder recognises them.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart,
};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token};

use super::data_type;
use super::json;

/// The function that stands for the argument `TABLE t`.
pub const TABLE_ARGUMENT: &str = "TABLE";
/// The function that stands for `x BETWEEN SYMMETRIC a AND b`.
pub const BETWEEN_SYMMETRIC: &str = "BETWEEN SYMMETRIC";

/// The functions that stand for long chains of AND and of OR.
pub const ALL_OF: &str = "ALL OF";
pub const ANY_OF: &str = "ANY OF";
/// Conditions of a chain that are still written with binary nodes.
const PLAIN_CHAIN_MAX: usize = 16;
/// How tightly OR and AND bind, as in `sqlparser`'s own table.
const PRECEDENCE_OR: u8 = 5;
const PRECEDENCE_AND: u8 = 10;

/// How tightly IS binds, as in `sqlparser`'s own table.
const PRECEDENCE_IS: u8 = 17;
/// How tightly BETWEEN binds, as in `sqlparser`'s own table.
const PRECEDENCE_BETWEEN: u8 = 20;

/// Flink SQL.
#[derive(Debug)]
pub struct FlinkDialect;

impl Dialect for FlinkDialect {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_' || ch == '$'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let Token::Word(word) = parser.peek_token().token else {
            return None;
        };
        if word.quote_style.is_some() {
            return None;
        }
        let next = parser.peek_nth_token(1).token;
        match (word.keyword, next) {
            (Keyword::TABLE, Token::Word(_)) => Some(table_argument(parser)),
            (Keyword::CAST, Token::LParen) => Some(cast(parser, CastKind::Cast)),
            (Keyword::TRY_CAST, Token::LParen) => Some(cast(parser, CastKind::TryCast)),
            (_, Token::LParen) if json::is_call(&word.value) => Some(json::parse(parser)),
            (_, Token::LBracket) if word.value.eq_ignore_ascii_case("MAP") => Some(map_literal(parser)),
            _ => None,
        }
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let is = |nth: usize, text: &str| match &parser.peek_nth_token_ref(nth).token {
            Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text),
            _ => false,
        };
        if is(0, "AND") || is(0, "OR") {
            return Some(chain(parser, expr, is(0, "AND")));
        }
        if is(0, "IS") && (is(1, "JSON") || is(1, "NOT") && is(2, "JSON")) {
            return Some(Ok(json::is_json(parser, expr)));
        }
        let not = usize::from(is(1, "NOT"));
        if is(0, "IS") && is(1 + not, "DISTINCT") && is(2 + not, "FROM") {
            for _ in 0..3 + not {
                parser.advance_token();
            }
            return Some(distinct_from(parser, expr, not == 1));
        }
        let negated = is(0, "NOT");
        let first = usize::from(negated);
        if !is(first, "BETWEEN") || !(is(first + 1, "SYMMETRIC") || is(first + 1, "ASYMMETRIC")) {
            return None;
        }
        let symmetric = is(first + 1, "SYMMETRIC");
        for _ in 0..first + 2 {
            parser.advance_token();
        }
        Some(between(parser, expr, negated, symmetric))
    }
}

/// The rest of `a IS [NOT] DISTINCT FROM b`. The grammar of `sqlparser` would take all that follows, ANDs too, for `b`.
fn distinct_from(parser: &mut Parser, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
    let (left, right) = (Box::new(expr.clone()), Box::new(parser.parse_subexpr(PRECEDENCE_IS)?));
    Ok(if negated {
        Expr::IsNotDistinctFrom(left, right)
    } else {
        Expr::IsDistinctFrom(left, right)
    })
}

/// The rest of `expr AND b AND c …`, or of the same with OR. A long chain becomes one node with all its conditions: the
/// binary nodes of the grammar would be nested as deeply as it is long.
fn chain(parser: &mut Parser, expr: &Expr, is_and: bool) -> Result<Expr, ParserError> {
    let (keyword, op, precedence, name) = if is_and {
        (Keyword::AND, BinaryOperator::And, PRECEDENCE_AND, ALL_OF)
    } else {
        (Keyword::OR, BinaryOperator::Or, PRECEDENCE_OR, ANY_OF)
    };
    let span = parser.peek_token_ref().span;
    let mut conditions = vec![expr.clone()];
    while parser.parse_keyword(keyword) {
        conditions.push(parser.parse_subexpr(precedence)?);
    }
    if conditions.len() > PLAIN_CHAIN_MAX {
        return Ok(call(name, span, conditions));
    }
    let mut conditions = conditions.into_iter();
    let first = conditions.next().unwrap_or_else(|| expr.clone());
    Ok(conditions.fold(first, |left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    }))
}

fn table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    let name = parser.parse_object_name(false)?;
    let idents = name.0.into_iter().filter_map(|part| part.as_ident().cloned()).collect();
    Ok(call(TABLE_ARGUMENT, span, vec![Expr::CompoundIdentifier(idents)]))
}

fn cast(parser: &mut Parser, kind: CastKind) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let expr = parser.parse_expr()?;
    parser.expect_keyword(Keyword::AS)?;
    let span = parser.peek_token_ref().span;
    let target = data_type::parse(parser)?;
    parser.expect_token(&Token::RParen)?;
    Ok(cast_to(kind, expr, span, &target.to_string()))
}

/// `CAST(expr AS target)`; the binder reads the type again.
pub fn cast_to(kind: CastKind, expr: Expr, span: Span, target: &str) -> Expr {
    let name = Ident::with_span(span, target);
    Expr::Cast {
        kind,
        expr: Box::new(expr),
        data_type: DataType::Custom(ObjectName(vec![ObjectNamePart::Identifier(name)]), Vec::new()),
        array: false,
        format: None,
    }
}

fn map_literal(parser: &mut Parser) -> Result<Expr, ParserError> {
    let span = parser.next_token().span;
    parser.expect_token(&Token::LBracket)?;
    let entries = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RBracket)?;
    Ok(call("MAP", span, entries))
}

fn between(parser: &mut Parser, expr: &Expr, negated: bool, symmetric: bool) -> Result<Expr, ParserError> {
    let low = parser.parse_subexpr(PRECEDENCE_BETWEEN)?;
    let span = parser.expect_keyword(Keyword::AND)?.span;
    let high = parser.parse_subexpr(PRECEDENCE_BETWEEN)?;
    if !symmetric {
        return Ok(Expr::Between {
            expr: Box::new(expr.clone()),
            negated,
            low: Box::new(low),
            high: Box::new(high),
        });
    }
    let between = call(BETWEEN_SYMMETRIC, span, vec![expr.clone(), low, high]);
    if !negated {
        return Ok(between);
    }
    Ok(Expr::UnaryOp {
        op: sqlparser::ast::UnaryOperator::Not,
        expr: Box::new(between),
    })
}

/// A call that no text can make by itself, if its name is no word.
pub fn call(name: &str, span: Span, args: Vec<Expr>) -> Expr {
    let args = args
        .into_iter()
        .map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)))
        .collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_span(span, name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
