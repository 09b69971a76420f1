//! CREATE TABLE and CREATE VIEW in Flink's grammar.

use sqlparser::ast::Ident;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::data_type;
use super::parse::{expect_words, name, parse_error, place, query, take_words, unexpected, word_at};
use super::statement::{Column, ColumnKind, CreateTable, CreateView, Like, Statement, Watermark};
use crate::Error;

/// Whether a CREATE that we serve comes next.
pub fn create_follows(parser: &Parser) -> bool {
    let object = if word_at(parser, 1, "TEMPORARY") { 2 } else { 1 };
    ["TABLE", "VIEW"].iter().any(|word| word_at(parser, object, word))
}

/// Parses from `CREATE` on.
pub fn create(parser: &mut Parser) -> Result<Statement, Error> {
    expect_words(parser, &["CREATE"])?;
    let temporary = take_words(parser, &["TEMPORARY"]);
    if take_words(parser, &["VIEW"]) {
        return create_view(parser, temporary);
    }
    expect_words(parser, &["TABLE"])?;
    let if_not_exists = take_words(parser, &["IF", "NOT", "EXISTS"]);
    let name = name(parser)?;
    let mut table = CreateTable {
        name,
        temporary,
        if_not_exists,
        columns: Vec::new(),
        watermark: None,
        primary_key: Vec::new(),
        partition_keys: Vec::new(),
        options: Vec::new(),
        like: None,
        query: None,
    };
    if parser.consume_token(&Token::LParen) {
        elements(parser, &mut table)?;
    }
    clauses(parser, &mut table)?;
    Ok(Statement::CreateTable(Box::new(table)))
}

fn create_view(parser: &mut Parser, temporary: bool) -> Result<Statement, Error> {
    let if_not_exists = take_words(parser, &["IF", "NOT", "EXISTS"]);
    let name = name(parser)?;
    let columns = if parser.peek_token_ref().token == Token::LParen {
        identifiers(parser)?
    } else {
        Vec::new()
    };
    comment(parser)?;
    expect_words(parser, &["AS"])?;
    let query = query(parser)?;
    Ok(Statement::CreateView(Box::new(CreateView {
        name,
        temporary,
        if_not_exists,
        columns,
        query,
    })))
}

/// What stands between the brackets; the opening one has been read.
fn elements(parser: &mut Parser, table: &mut CreateTable) -> Result<(), Error> {
    // LIKE allows an empty list.
    if parser.consume_token(&Token::RParen) {
        return Ok(());
    }
    loop {
        if word_at(parser, 0, "WATERMARK") && word_at(parser, 1, "FOR") {
            watermark(parser, table)?;
        } else if word_at(parser, 0, "PRIMARY") || word_at(parser, 0, "CONSTRAINT") || word_at(parser, 0, "UNIQUE") {
            table_constraint(parser, table)?;
        } else {
            column(parser, table)?;
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    let end = parser.next_token();
    if end.token == Token::RParen {
        Ok(())
    } else {
        Err(unexpected(&end, "\",\" or \")\""))
    }
}

fn watermark(parser: &mut Parser, table: &mut CreateTable) -> Result<(), Error> {
    let start = parser.peek_token();
    if table.watermark.is_some() {
        return Err(Error::parse(format!(
            "Multiple WATERMARK declarations are not supported{}",
            place(start.span.start)
        )));
    }
    expect_words(parser, &["WATERMARK", "FOR"])?;
    let column = parser.parse_identifier().map_err(parse_error)?;
    if parser.peek_token_ref().token == Token::Period {
        let found = parser.peek_token();
        return Err(Error::unsupported(format!(
            "a watermark on a nested field{}",
            place(found.span.start)
        )));
    }
    expect_words(parser, &["AS"])?;
    let expr = parser.parse_expr().map_err(parse_error)?;
    table.watermark = Some(Watermark { column, expr });
    Ok(())
}

fn table_constraint(parser: &mut Parser, table: &mut CreateTable) -> Result<(), Error> {
    let start = parser.peek_token();
    if take_words(parser, &["CONSTRAINT"]) {
        parser.parse_identifier().map_err(parse_error)?;
    }
    if word_at(parser, 0, "UNIQUE") {
        return Err(Error::unsupported(format!(
            "a UNIQUE constraint{}",
            place(start.span.start)
        )));
    }
    expect_words(parser, &["PRIMARY", "KEY"])?;
    let columns = identifiers(parser)?;
    primary_key(parser, table, columns)
}

fn primary_key(parser: &mut Parser, table: &mut CreateTable, columns: Vec<Ident>) -> Result<(), Error> {
    let end = parser.peek_token();
    if !take_words(parser, &["NOT", "ENFORCED"]) {
        return Err(Error::validate(format!(
            "A PRIMARY KEY must be NOT ENFORCED, because the engine does not own the data{}",
            place(end.span.start)
        )));
    }
    if !table.primary_key.is_empty() {
        return Err(Error::validate(format!(
            "Duplicate primary key definition{}",
            place(end.span.start)
        )));
    }
    table.primary_key = columns;
    Ok(())
}

fn column(parser: &mut Parser, table: &mut CreateTable) -> Result<(), Error> {
    let name = parser.parse_identifier().map_err(parse_error)?;
    let kind = if take_words(parser, &["AS"]) {
        ColumnKind::Computed(Box::new(parser.parse_expr().map_err(parse_error)?))
    } else {
        let data_type = data_type::parse(parser).map_err(parse_error)?;
        if take_words(parser, &["METADATA"]) {
            let key = if take_words(parser, &["FROM"]) {
                Some(parser.parse_literal_string().map_err(parse_error)?)
            } else {
                None
            };
            ColumnKind::Metadata {
                data_type,
                key,
                is_virtual: take_words(parser, &["VIRTUAL"]),
            }
        } else {
            ColumnKind::Physical(data_type)
        }
    };
    if take_words(parser, &["PRIMARY", "KEY"]) {
        primary_key(parser, table, vec![name.clone()])?;
    }
    comment(parser)?;
    table.columns.push(Column { name, kind });
    Ok(())
}

fn clauses(parser: &mut Parser, table: &mut CreateTable) -> Result<(), Error> {
    comment(parser)?;
    let start = parser.peek_token();
    if word_at(parser, 0, "DISTRIBUTED") {
        return Err(Error::unsupported(format!("DISTRIBUTED{}", place(start.span.start))));
    }
    if take_words(parser, &["PARTITIONED", "BY"]) {
        table.partition_keys = identifiers(parser)?;
    }
    if take_words(parser, &["WITH"]) {
        options(parser, table)?;
    }
    if take_words(parser, &["LIKE"]) {
        table.like = Some(like(parser)?);
    } else if take_words(parser, &["AS"]) {
        table.query = Some(query(parser)?);
    }
    Ok(())
}

fn options(parser: &mut Parser, table: &mut CreateTable) -> Result<(), Error> {
    parser.expect_token(&Token::LParen).map_err(parse_error)?;
    loop {
        let place_of_key = parser.peek_token().span.start;
        let key = parser.parse_literal_string().map_err(parse_error)?;
        parser.expect_token(&Token::Eq).map_err(parse_error)?;
        let value = parser.parse_literal_string().map_err(parse_error)?;
        if table.options.iter().any(|(known, _)| *known == key) {
            return Err(Error::validate(format!(
                "the option '{key}' is given twice{}",
                place(place_of_key)
            )));
        }
        table.options.push((key, value));
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen).map_err(parse_error)?;
    Ok(())
}

fn like(parser: &mut Parser) -> Result<Like, Error> {
    let source = name(parser)?;
    let mut like = Like {
        source,
        watermarks: true,
        options: true,
        generated: true,
        metadata: true,
        constraints: true,
        partitions: true,
    };
    if !parser.consume_token(&Token::LParen) {
        return Ok(like);
    }
    while !parser.consume_token(&Token::RParen) {
        let found = parser.peek_token();
        let including = if take_words(parser, &["INCLUDING"]) {
            true
        } else if take_words(parser, &["EXCLUDING"]) {
            false
        } else if take_words(parser, &["OVERWRITING"]) {
            true
        } else {
            return Err(unexpected(&found, "INCLUDING, EXCLUDING or OVERWRITING"));
        };
        let what = parser.next_token();
        match what.token.to_string().to_ascii_uppercase().as_str() {
            "ALL" => {
                like = Like {
                    watermarks: including,
                    options: including,
                    generated: including,
                    metadata: including,
                    constraints: including,
                    partitions: including,
                    source: like.source,
                }
            }
            "WATERMARKS" => like.watermarks = including,
            "OPTIONS" => like.options = including,
            "GENERATED" => like.generated = including,
            "METADATA" => like.metadata = including,
            "CONSTRAINTS" => like.constraints = including,
            "PARTITIONS" => like.partitions = including,
            _ => return Err(unexpected(&what, "a part of the table, such as WATERMARKS")),
        }
    }
    Ok(like)
}

/// A comment says nothing to the engine; Flink keeps it for people.
fn comment(parser: &mut Parser) -> Result<(), Error> {
    if take_words(parser, &["COMMENT"]) {
        parser.parse_literal_string().map_err(parse_error)?;
    }
    Ok(())
}

fn identifiers(parser: &mut Parser) -> Result<Vec<Ident>, Error> {
    parser
        .parse_parenthesized(|p| p.parse_comma_separated(Parser::parse_identifier))
        .map_err(parse_error)
}
