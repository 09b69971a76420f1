//! How deeply a statement may nest.
//!
//! The parser makes a tree of a statement, and the planner others of that one; walking, comparing and dropping them takes
//! stack with every level. A statement of a hundred thousand `+ 1` would end the process. [`check`] counts what makes a
//! tree deep in the tokens, before there is a tree; [`check_plan`] counts what views and common table expressions add.
//! Both bounds are far below what the stack of the threads that plan can carry ([`STACK_BYTES`](super::runtime)).

use std::collections::HashMap;

use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Levels of operators, set operations, joins and brackets, one within or behind the other.
pub const LEVELS_MAX: usize = 600;
/// Brackets, subqueries and CASE within each other.
pub const BRACKETS_MAX: usize = 48;
/// SELECTs of one statement: each may refer to the one before it.
const SELECTS_MAX: usize = 1_000;
/// Levels of a plan.
const PLAN_LEVELS_MAX: usize = 4_000;
/// Nodes of a plan. Common table expressions that use each other twice double it at each step.
const PLAN_NODES_MAX: usize = 100_000;

/// What one pair of brackets holds so far.
#[derive(Default)]
struct Level {
    /// Operators of the expression at hand: each is a level around the one before it.
    operators: usize,
    /// Set operations and joins, which go on over commas.
    links: usize,
    /// In a FROM clause a comma is a join.
    from: bool,
    /// Opened by CASE, so that END closes it.
    case: bool,
}

impl Level {
    fn depth(&self) -> usize {
        self.operators + self.links + 1
    }
}

/// Refuses a statement that nests more deeply than can be planned.
///
/// # Errors
/// Says what to do, and where in the text the limit was passed.
pub fn check(sql: &str, dialect: &dyn Dialect) -> Result<()> {
    let tokens = match Tokenizer::new(dialect, sql).tokenize_with_location() {
        Ok(tokens) => tokens,
        // The parser says better what is wrong.
        Err(_) => return Ok(()),
    };
    let mut levels = vec![Level::default()];
    // The sum over all levels but the innermost.
    let mut around = 0;
    let mut selects = 0;
    for token in tokens {
        let Some(level) = levels.last_mut() else { return Ok(()) };
        match &token.token {
            Token::Whitespace(_) | Token::EOF | Token::Number(..) => continue,
            Token::SemiColon => {
                levels = vec![Level::default()];
                (around, selects) = (0, 0);
                continue;
            }
            Token::Comma if level.from => level.links += 1,
            Token::Comma => level.operators = 0,
            Token::LParen | Token::LBracket | Token::LBrace => {
                level.operators += 1;
                around += level.depth();
                levels.push(Level::default());
            }
            Token::RParen | Token::RBracket | Token::RBrace => close(&mut levels, &mut around, false),
            Token::Word(word) => match word.keyword {
                Keyword::NoKeyword => continue,
                Keyword::CASE => {
                    level.operators += 1;
                    around += level.depth();
                    levels.push(Level {
                        case: true,
                        ..Level::default()
                    });
                }
                Keyword::END => close(&mut levels, &mut around, true),
                Keyword::WHEN | Keyword::THEN | Keyword::ELSE => level.operators = 0,
                Keyword::SELECT | Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::JOIN => {
                    selects += usize::from(word.keyword == Keyword::SELECT);
                    (level.operators, level.from) = (0, level.from && word.keyword == Keyword::JOIN);
                    level.links += usize::from(word.keyword != Keyword::SELECT);
                }
                Keyword::FROM => (level.operators, level.from) = (0, true),
                Keyword::WHERE | Keyword::GROUP | Keyword::ORDER | Keyword::HAVING | Keyword::LIMIT => {
                    (level.operators, level.from) = (0, false);
                }
                _ => level.operators += 1,
            },
            Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) => continue,
            _ => level.operators += 1,
        }
        let depth = around + levels.last().map_or(0, Level::depth);
        let place = token.span.start;
        if levels.len() > BRACKETS_MAX {
            return plan_err!(
                "the statement nests brackets, subqueries or CASE more than {BRACKETS_MAX} deep (line {}, column {}): split \
                 it with views or WITH",
                place.line,
                place.column
            );
        }
        if depth > LEVELS_MAX || selects > SELECTS_MAX {
            return plan_err!(
                "the statement chains more than {LEVELS_MAX} operators, set operations or joins (line {}, column {}): use IN \
                 (…) or VALUES for long lists, or split it",
                place.line,
                place.column
            );
        }
    }
    Ok(())
}

fn close(levels: &mut Vec<Level>, around: &mut usize, case: bool) {
    let closes = levels.len() > 1 && levels.last().is_some_and(|level| level.case == case);
    if closes {
        levels.pop();
        *around -= levels.last().map_or(0, Level::depth);
    }
}

/// Refuses a plan that views or common table expressions have made too deep or too large.
///
/// # Errors
/// Says so.
pub fn check_plan(plan: &LogicalPlan) -> Result<()> {
    // Nodes are shared between the uses of one common table expression: each is counted once and its size remembered.
    let mut known: HashMap<*const LogicalPlan, (usize, usize)> = HashMap::new();
    let mut open = vec![(plan, false)];
    while let Some((node, inputs_known)) = open.pop() {
        let place = std::ptr::from_ref(node);
        if known.contains_key(&place) {
            continue;
        }
        let inputs = node.inputs();
        if !inputs_known {
            open.push((node, true));
            open.extend(inputs.into_iter().map(|input| (input, false)));
            continue;
        }
        let (mut levels, mut nodes) = (0, 1usize);
        for input in inputs {
            let (of_input, size) = known.get(&std::ptr::from_ref(input)).copied().unwrap_or_default();
            levels = levels.max(of_input);
            nodes = nodes.saturating_add(size);
        }
        if levels + 1 > PLAN_LEVELS_MAX || nodes > PLAN_NODES_MAX {
            return plan_err!(
                "the views and common table expressions of the statement refer to each other too often: its plan has more \
                 than {PLAN_LEVELS_MAX} levels or {PLAN_NODES_MAX} nodes; store an intermediate result with CREATE TABLE … AS"
            );
        }
        known.insert(place, (levels + 1, nodes));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;

    use super::*;

    fn refused(sql: &str) -> bool {
        check(sql, &GenericDialect {}).is_err()
    }

    #[test]
    fn what_is_deep_is_refused_and_what_is_long_is_not() {
        let many = 100_000;
        assert!(refused(&format!("SELECT 1{}", " + 1".repeat(many))));
        assert!(refused(&format!("SELECT true{}", " OR true".repeat(many))));
        assert!(refused(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(many))));
        assert!(refused(&format!("SELECT {}1{}", "(".repeat(many), ")".repeat(many))));
        assert!(refused(&format!("SELECT {}1{}", "abs(".repeat(many), ")".repeat(many))));
        assert!(refused(&format!(
            "SELECT {}1{}",
            "CASE WHEN true THEN ".repeat(many),
            " END".repeat(many)
        )));
        assert!(refused(&format!("SELECT {} true", "NOT ".repeat(many))));
        assert!(refused(&format!("SELECT {}1", "- ".repeat(many))));
        assert!(refused(&format!("SELECT a{}", "[1]".repeat(many))));
        assert!(refused(&format!("SELECT 1{}", "::int".repeat(many))));
        assert!(refused(&format!("SELECT 1 FROM a{}", ", a".repeat(many))));
        assert!(refused(&format!("SELECT 1 FROM a{}", " JOIN a ON true".repeat(many))));
        assert!(refused(&format!(
            "SELECT 1 FROM {}a{}",
            "(".repeat(many),
            ")".repeat(many)
        )));
        assert!(refused(&format!("{} SELECT 1", "EXPLAIN ".repeat(many))));
        let chain: String = (1..2_000)
            .map(|at| format!(", t{at} AS (SELECT 1 FROM t{})", at - 1))
            .collect();
        assert!(refused(&format!("WITH t0 AS (SELECT 1){chain} SELECT 1")));

        assert!(!refused(&format!("SELECT 1 IN (1{})", ", 1".repeat(many))));
        assert!(!refused(&format!(
            "INSERT INTO t VALUES (1, -1){}",
            ", (1, -1)".repeat(many)
        )));
        assert!(!refused(&format!(
            "SELECT CASE a {} END",
            "WHEN 1 THEN 2 ".repeat(many)
        )));
        assert!(!refused(&format!("SELECT a + 1{} FROM t", ", a + 1".repeat(many))));
        assert!(!refused(&"SELECT 1 + 1;".repeat(many)));
        assert!(!refused(&format!("SELECT 1{}", " + 1".repeat(500))));
        assert!(!refused("SELECT 'a ( ( ( (' || \"b ( (\" -- ((((("));
    }
}
