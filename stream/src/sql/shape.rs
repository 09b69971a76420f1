//! How deep and how long a statement may be, judged by its tokens.
//!
//! The grammar's tree, the expressions bound from it and their evaluation are recursive: each is as deep as brackets stand
//! within each other, and as chains of operators are long (`a + b + c` leans to the left). What would be too deep is refused
//! here, before a tree exists. Chains of AND and OR are not counted: the dialect makes them flat.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::parse::place;
use crate::Error;

/// Operators of one chain: `1 + 1 + …`, `a = b IS NULL …`.
const CHAIN_MAX: usize = 250;
/// UNION, EXCEPT and INTERSECT of one query.
const SET_OPERATIONS_MAX: usize = 250;

/// Words that go on with the expression before them.
const LINKS: [&str; 8] = ["IS", "NOT", "LIKE", "SIMILAR", "IN", "BETWEEN", "AT", "COLLATE"];
const SET_OPERATIONS: [&str; 4] = ["UNION", "EXCEPT", "INTERSECT", "MINUS"];
/// Words behind which an expression begins.
const BEGINNINGS: [&str; 14] = [
    "SELECT", "FROM", "WHERE", "HAVING", "GROUP", "ORDER", "BY", "WHEN", "THEN", "ELSE", "ON", "AS", "VALUES", "OR",
];

/// What was counted between two brackets.
#[derive(Default)]
struct Level {
    links: usize,
    /// BETWEENs whose AND has not come.
    betweens: usize,
    set_operations: usize,
}

/// Refuses what is too long.
pub fn check(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let mut levels = vec![Level::default()];
    for token in tokens {
        let Some(level) = levels.last_mut() else { break };
        match &token.token {
            Token::LParen | Token::LBrace => levels.push(Level::default()),
            Token::LBracket => {
                level.links += 1;
                levels.push(Level::default());
            }
            Token::RParen | Token::RBrace | Token::RBracket => {
                levels.pop();
                if levels.is_empty() {
                    levels.push(Level::default());
                }
            }
            Token::SemiColon => levels = vec![Level::default()],
            Token::Comma => {
                level.links = 0;
                level.betweens = 0;
            }
            Token::Word(word) if word.quote_style.is_none() => level.word(&word.value),
            Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::StringConcat
            | Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::Gt
            | Token::LtEq
            | Token::GtEq
            | Token::DoubleColon => level.links += 1,
            _ => {}
        }
        let Some(level) = levels.last() else { break };
        let at = place(token.span.start);
        if level.links > CHAIN_MAX {
            return Err(Error::parse(format!(
                "an expression has more than {CHAIN_MAX} operators in a row{at}: set brackets, or compute it in steps"
            )));
        }
        if level.set_operations > SET_OPERATIONS_MAX {
            return Err(Error::parse(format!(
                "a query has more than {SET_OPERATIONS_MAX} UNIONs{at}: make views of parts of it"
            )));
        }
    }
    Ok(())
}

impl Level {
    fn word(&mut self, word: &str) {
        let is = |known: &&str| known.eq_ignore_ascii_case(word);
        if LINKS.iter().any(is) {
            self.links += 1;
            self.betweens += usize::from(word.eq_ignore_ascii_case("BETWEEN"));
        } else if word.eq_ignore_ascii_case("AND") {
            match self.betweens.checked_sub(1) {
                Some(left) => {
                    self.betweens = left;
                    self.links += 1;
                }
                None => self.links = 0,
            }
        } else if SET_OPERATIONS.iter().any(is) {
            self.set_operations += 1;
            self.links = 0;
        } else if BEGINNINGS.iter().any(is) {
            self.links = 0;
            self.betweens = 0;
        }
    }
}
