//! From queries to relations.
//!
//! The planner walks a query's syntax and knows every part of it: a clause without an arm here is refused by its name
//! and place. It keeps track of two properties that decide what Flink would do: a relation is *updating* if Flink would
//! tell its rows as a changelog (we compute the final rows, so its input must be bounded), and a column may be a time
//! attribute or a window's bound, which lets an aggregation fire by watermark.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{self, SortOptions};
use arrow::datatypes::DataType;
use sqlparser::ast::{
    self, Distinct, Expr, Ident, LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr, SetOperator,
    SetQuantifier, Spanned, TableFactor, Value,
};

use super::catalog::{Catalog, Entry};
use super::condition::{conjuncts, has_subquery};
use super::environment::Environment;
use super::expr::{Binder, Bound, at, common_type, contains_aggregate};
use super::facts::Facts;
use super::parse::{place, resolve_name};
use super::relation::{Relation, column, positional};
use super::scope::{Role, Scope, ScopeColumn};
use super::statement::Name;
use super::{group, join, over, rank, set, subquery, table, window};
use crate::Error;
use crate::expression::{Junction, Kind};
use crate::functions::SessionFacts;
use crate::graph::{Node, Step};
use crate::operator::Rows;
use crate::operator::calc::Calc;
use crate::operator::set_operation::SetKind;

/// Views within views: enough for any program, and an end for views that name each other.
const VIEW_DEPTH_MAX: usize = 32;

/// What planning needs to know of its session.
pub struct Planner<'a> {
    pub catalog: &'a Catalog,
    pub session: &'a SessionFacts,
    pub environment: &'a Environment,
    /// `pipeline.auto-watermark-interval`.
    pub watermark_interval_ms: i64,
    /// Common table expressions in sight.
    pub with: BTreeMap<String, Relation>,
    pub depth: usize,
    /// Tables and views that were planned for this job: used again, they are read once.
    pub planned: Rc<RefCell<BTreeMap<String, Relation>>>,
}

impl Planner<'_> {
    pub fn query(&mut self, query: &Query) -> Result<Relation, Error> {
        self.refuse_clauses(query)?;
        let outer = self.with.clone();
        if let Some(with) = &query.with {
            if with.recursive {
                return Err(Error::unsupported(format!(
                    "WITH RECURSIVE{}",
                    place(with.span().start)
                )));
            }
            for cte in &with.cte_tables {
                let relation = self.query(&cte.query)?;
                let relation = self.alias(relation, &cte.alias.name.value, &column_names(&cte.alias))?;
                self.with.insert(cte.alias.name.value.clone(), relation);
            }
        }
        let relation = self.set_expr(&query.body)?;
        let relation = self.order(relation, query)?;
        let relation = self.limit(relation, query)?;
        self.with = outer;
        Ok(relation)
    }

    fn refuse_clauses(&self, query: &Query) -> Result<(), Error> {
        let at = place(query.span().start);
        let clauses = [
            (query.fetch.is_some(), "FETCH"),
            (!query.locks.is_empty(), "FOR UPDATE"),
            (query.for_clause.is_some(), "FOR"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "|>"),
        ];
        refuse(&clauses, &at)
    }

    fn set_expr(&mut self, body: &SetExpr) -> Result<Relation, Error> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::Values(values) => self.values(&values.rows.iter().map(|row| &row.content).collect::<Vec<_>>()),
            SetExpr::SetOperation {
                left,
                op: SetOperator::Union,
                set_quantifier,
                right,
            } => {
                let (left, right) = (self.set_expr(left)?, self.set_expr(right)?);
                let relation = set::union(left, right, &place(body.span().start))?;
                match set_quantifier {
                    SetQuantifier::All => Ok(relation),
                    SetQuantifier::None | SetQuantifier::Distinct => self.distinct(relation),
                    other => Err(Error::unsupported(format!("UNION {other}{}", place(body.span().start)))),
                }
            }
            SetExpr::SetOperation {
                left,
                op: op @ (SetOperator::Intersect | SetOperator::Except | SetOperator::Minus),
                set_quantifier,
                right,
            } => {
                let at = place(body.span().start);
                let all = match set_quantifier {
                    SetQuantifier::All => true,
                    SetQuantifier::None | SetQuantifier::Distinct => false,
                    other => return Err(Error::unsupported(format!("{op} {other}{at}"))),
                };
                let kind = match op {
                    SetOperator::Intersect => SetKind::Intersect { all },
                    _ => SetKind::Except { all },
                };
                let (left, right) = (self.set_expr(left)?, self.set_expr(right)?);
                set::counted(left, right, kind, &at)
            }
            other => Err(Error::unsupported(format!("this query{}", place(other.span().start)))),
        }
    }

    fn select(&mut self, select: &Select) -> Result<Relation, Error> {
        let at_select = place(select.select_token.0.span.start);
        refuse(
            &[
                (select.top.is_some(), "TOP"),
                (select.into.is_some(), "SELECT INTO"),
                (!select.lateral_views.is_empty(), "LATERAL VIEW"),
                (select.prewhere.is_some(), "PREWHERE"),
                (!select.connect_by.is_empty(), "CONNECT BY"),
                (!select.cluster_by.is_empty(), "CLUSTER BY"),
                (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
                (!select.sort_by.is_empty(), "SORT BY"),
                (select.qualify.is_some(), "QUALIFY"),
                (select.value_table_mode.is_some(), "SELECT AS"),
                (select.select_modifiers.is_some(), "this modifier of SELECT"),
                (select.exclude.is_some(), "EXCLUDE"),
                (!select.optimizer_hints.is_empty(), "a hint"),
                (select.flavor != ast::SelectFlavor::Standard, "FROM first"),
            ],
            &at_select,
        )?;
        let mut conditions: Vec<&Expr> = select.selection.as_ref().map(conjuncts).unwrap_or_default();
        let conditions_before = conditions.len();
        let mut relation = match select.from.as_slice() {
            [] => single_row()?,
            tables => join::from(self, tables, &mut conditions)?,
        };
        relation = rank::limited(self, relation, &mut conditions)?;
        if let Some(condition) = &select.selection {
            let whole = conditions.len() == conditions_before && !has_subquery(condition);
            relation = if whole {
                self.filter(relation, &[condition])?
            } else {
                self.filter(relation, &conditions)?
            };
        }
        let relation = if group::is_grouped(select) {
            group::plan(self, relation, select)?
        } else if rank::is_numbered(select) {
            rank::plan(self, relation, select)?
        } else if over::is_windowed(select) {
            let width = relation.scope.columns.len();
            let (relation, items) = over::plan(self, relation, select)?;
            let items = over::starred(items, &relation, width)?;
            self.projection(relation, &items)?
        } else {
            self.projection(relation, &select.projection)?
        };
        match &select.distinct {
            None | Some(Distinct::All) => Ok(relation),
            Some(Distinct::Distinct) => self.distinct(relation),
            Some(Distinct::On(_)) => Err(Error::unsupported(format!("DISTINCT ON{at_select}"))),
        }
    }

    pub fn binder<'b>(&'b self, relation: &'b Relation) -> Binder<'b> {
        Binder {
            scope: &relation.scope,
            schema: &relation.schema,
            session: self.session,
            grouped: None,
        }
    }

    fn projection(&mut self, relation: Relation, items: &[SelectItem]) -> Result<Relation, Error> {
        let mut columns = Vec::new();
        // Scalar subqueries put their columns behind those of FROM, which alone `*` stands for.
        let width = relation.scope.columns.len();
        let mut relation = relation;
        for item in items {
            match item {
                SelectItem::Wildcard(options) => {
                    refuse_wildcard_options(options)?;
                    columns.extend(relation.columns().into_iter().take(width));
                }
                SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    refuse_wildcard_options(options)?;
                    let qualifier = name.0.last().and_then(|part| part.as_ident());
                    let wanted = qualifier.map(|ident| ident.value.clone());
                    let before = columns.len();
                    columns.extend(
                        relation
                            .columns()
                            .into_iter()
                            .filter(|(_, column)| column.qualifier == wanted),
                    );
                    if columns.len() == before {
                        let at = place(name.span().start);
                        return Err(Error::validate(format!("Table '{name}' not found{at}")));
                    }
                }
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if has_subquery(expr) => {
                    let name = match item {
                        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                        _ => output_name(expr, columns.len()),
                    };
                    let (joined, expr) = subquery::scalars(self, relation, expr)?;
                    relation = joined;
                    columns.push(self.item(&relation, &expr, &name)?);
                }
                SelectItem::UnnamedExpr(expr) => {
                    columns.push(self.item(&relation, expr, &output_name(expr, columns.len()))?);
                }
                SelectItem::ExprWithAlias { expr, alias } => columns.push(self.item(&relation, expr, &alias.value)?),
                other => return Err(Error::unsupported(format!("this item{}", place(other.span().start)))),
            }
        }
        Ok(relation.project(None, columns))
    }

    fn item(&mut self, relation: &Relation, expr: &Expr, name: &str) -> Result<(Bound, ScopeColumn), Error> {
        let bound = self.binder(relation).bind(expr)?;
        // A column that is passed on as it is stays what it was to event time.
        let role = bound
            .column_index()
            .map_or(Role::Plain, |index| relation.scope.columns[index].role);
        let column = column(None, name, &bound.data, role).with(bound.facts.clone());
        Ok((bound, column))
    }

    /// The rows for which all conditions of a WHERE are true.
    fn filter(&mut self, relation: Relation, conditions: &[&Expr]) -> Result<Relation, Error> {
        let mut relation = relation;
        let (nested, plain): (Vec<&Expr>, Vec<&Expr>) =
            conditions.iter().partition(|condition| has_subquery(condition));
        let mut bound = Vec::new();
        for condition in plain {
            if contains_aggregate(condition) {
                return Err(Error::validate(format!(
                    "Aggregate function is not allowed in WHERE{}",
                    at(condition)
                )));
            }
            bound.push(self.binder(&relation).bind_condition(condition, "WHERE")?.expr);
        }
        if !bound.is_empty() {
            relation = relation.filter(Bound::new(Junction::of(Kind::And, bound), DataType::Boolean));
        }
        for condition in nested {
            relation = subquery::filter(self, relation, condition)?;
        }
        Ok(relation)
    }

    pub fn factor(&mut self, factor: &TableFactor) -> Result<Relation, Error> {
        let at = place(factor.span().start);
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                version,
                with_hints,
                sample,
                partitions,
                with_ordinality,
                ..
            } => {
                refuse(
                    &[
                        (args.is_some(), "a table function without TABLE( )"),
                        (version.is_some(), "FOR SYSTEM_TIME AS OF"),
                        (!with_hints.is_empty(), "a table hint"),
                        (sample.is_some(), "TABLESAMPLE"),
                        (!partitions.is_empty(), "PARTITION"),
                        (*with_ordinality, "WITH ORDINALITY"),
                    ],
                    &at,
                )?;
                let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
                let relation = self.table(&parts, name.span().start)?;
                self.aliased(relation, alias.as_ref())
            }
            TableFactor::Derived {
                lateral: false,
                subquery,
                alias,
                sample: None,
            } => {
                let relation = self.query(subquery)?;
                let relation = self.alias(relation, "", &[])?;
                self.aliased(relation, alias.as_ref())
            }
            TableFactor::TableFunction { expr, alias } => {
                let relation = window::plan(self, expr)?;
                self.aliased(relation, alias.as_ref())
            }
            other => {
                let text: String = other.to_string().chars().take(40).collect();
                Err(Error::unsupported(format!("{text}{at} in FROM")))
            }
        }
    }

    /// A table, view or common table expression by name.
    pub fn table(&mut self, parts: &[Ident], at: sqlparser::tokenizer::Location) -> Result<Relation, Error> {
        if let [one] = parts
            && let Some(relation) = self.with.get(&one.value)
        {
            return Ok(relation.clone());
        }
        let name: Name = resolve_name(parts, at)?;
        if let Some(relation) = self.planned.borrow().get(&name.text) {
            return Ok(relation.clone());
        }
        let relation = match self.catalog.find(&name)? {
            Entry::Table(table) => table::scan(self, table),
            Entry::View(view) => {
                if self.depth >= VIEW_DEPTH_MAX {
                    return Err(Error::validate(format!("views are nested too deeply{}", place(at))));
                }
                let mut inner = Planner {
                    catalog: self.catalog,
                    session: self.session,
                    environment: self.environment,
                    watermark_interval_ms: self.watermark_interval_ms,
                    with: BTreeMap::new(),
                    depth: self.depth + 1,
                    planned: Rc::clone(&self.planned),
                };
                let relation = inner.query(&view.query)?;
                self.alias(relation, &name.text, &view.columns)
            }
        }?;
        self.planned.borrow_mut().insert(name.text, relation.clone());
        Ok(relation)
    }

    fn aliased(&self, relation: Relation, alias: Option<&ast::TableAlias>) -> Result<Relation, Error> {
        match alias {
            None => Ok(relation),
            Some(alias) => self.alias(relation, &alias.name.value, &column_names(alias)),
        }
    }

    fn alias(&self, relation: Relation, name: &str, columns: &[String]) -> Result<Relation, Error> {
        Ok(Relation {
            scope: relation.scope.renamed(name, columns)?,
            ..relation
        })
    }

    fn values(&mut self, rows: &[&Vec<Expr>]) -> Result<Relation, Error> {
        let one = single_row()?;
        let mut bound_rows = Vec::new();
        for row in rows {
            let bound = row
                .iter()
                .map(|expr| self.binder(&one).bind(expr))
                .collect::<Result<Vec<_>, _>>()?;
            bound_rows.push(bound);
        }
        let width = bound_rows.first().map_or(0, Vec::len);
        let place = rows.first().and_then(|row| row.first()).map_or_else(String::new, at);
        if bound_rows.iter().any(|row| row.len() != width) {
            return Err(Error::validate(format!(
                "Values passed to VALUES operator must have the same length{place}"
            )));
        }
        let mut types = Vec::new();
        for column in 0..width {
            let column_types: Vec<DataType> = bound_rows.iter().map(|row| row[column].data.clone()).collect();
            types.push(common_type(&column_types).ok_or_else(|| {
                Error::validate(format!(
                    "Values passed to VALUES operator must have compatible types{place}"
                ))
            })?);
        }
        let facts: Vec<Facts> = (0..width)
            .map(|column| {
                let mut facts = bound_rows.iter().map(|row| row[column].facts.clone());
                let first = facts.next().unwrap_or_default();
                facts.fold(first, |all, facts| all.either(&facts))
            })
            .collect();
        let schema = positional(types.iter().cloned());
        let mut batches = Vec::new();
        for row in bound_rows {
            let columns = row
                .into_iter()
                .zip(&types)
                .map(|(bound, data)| Ok(super::expr::widen(bound, data)?.expr))
                .collect::<Result<Vec<_>, Error>>()?;
            let calc = Calc {
                filter: None,
                columns,
                schema: Arc::clone(&schema),
            };
            batches.push(calc.apply(Rows::new(one_row_batch()?, 0))?.batch);
        }
        let batch = compute::concat_batches(&schema, &batches)?;
        let columns = types.iter().enumerate();
        let columns = columns
            .map(|(index, data)| column(None, &format!("EXPR${index}"), data, Role::Plain).with(facts[index].clone()))
            .collect();
        Ok(Relation::bounded(Node::Values(batch), Scope { columns }, schema))
    }

    fn distinct(&mut self, relation: Relation) -> Result<Relation, Error> {
        let keys: Vec<Bound> = relation.columns().into_iter().map(|(bound, _)| bound).collect();
        group::distinct(self, relation, keys)
    }

    fn order(&mut self, relation: Relation, query: &Query) -> Result<Relation, Error> {
        let Some(order) = &query.order_by else {
            return Ok(relation);
        };
        let place_of = place(order.span().start);
        let OrderByKind::Expressions(items) = &order.kind else {
            return Err(Error::unsupported(format!("ORDER BY ALL{place_of}")));
        };
        let mut columns = Vec::new();
        for item in items {
            let bound = match &item.expr {
                Expr::Value(value) if matches!(value.value, Value::Number(..)) => {
                    return Err(Error::unsupported(format!("ORDER BY a position{}", at(&item.expr))));
                }
                expr => self.binder(&relation).bind(expr)?,
            };
            let Some(index) = bound.column_index() else {
                return Err(Error::unsupported(format!("ORDER BY an expression{}", at(&item.expr))));
            };
            let descending = item.options.asc == Some(false);
            // Flink sorts NULL as the least value.
            let nulls_first = item.options.nulls_first.unwrap_or(!descending);
            columns.push((
                index,
                SortOptions {
                    descending,
                    nulls_first,
                },
            ));
        }
        let by_time = columns
            .first()
            .is_some_and(|(index, options)| relation.scope.columns[*index].role.is_time() && !options.descending);
        if !by_time || relation.updating {
            return Err(Error::unsupported(format!(
                "Sort on a non-time-attribute field{place_of}: on a stream, ORDER BY must begin with the time \
                 attribute, ascending"
            )));
        }
        let schema = Arc::clone(&relation.schema);
        Ok(relation.step(Step::Sort { columns, schema }))
    }

    fn limit(&mut self, relation: Relation, query: &Query) -> Result<Relation, Error> {
        let Some(limit) = &query.limit_clause else {
            return Ok(relation);
        };
        let place_of = place(query.span().start);
        let LimitClause::LimitOffset {
            limit: Some(Expr::Value(value)),
            offset: None,
            limit_by,
        } = limit
        else {
            return Err(Error::unsupported(format!(
                "OFFSET, or a LIMIT that is no number{place_of}"
            )));
        };
        let Value::Number(text, _) = &value.value else {
            return Err(Error::validate(format!("LIMIT wants a number{place_of}")));
        };
        if !limit_by.is_empty() {
            return Err(Error::unsupported(format!("LIMIT BY{place_of}")));
        }
        let relation = relation.settled(&format!("LIMIT{place_of}"))?;
        let rows = text
            .parse()
            .map_err(|_| Error::validate(format!("LIMIT {text} is no number of rows{place_of}")))?;
        Ok(relation.step(Step::Limit(rows)))
    }
}

/// Refuses the first clause that is there.
pub fn refuse(clauses: &[(bool, &str)], at: &str) -> Result<(), Error> {
    match clauses.iter().find(|(there, _)| *there) {
        Some((_, clause)) => Err(Error::unsupported(format!("{clause}{at}"))),
        None => Ok(()),
    }
}

fn refuse_wildcard_options(options: &ast::WildcardAdditionalOptions) -> Result<(), Error> {
    let any = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some();
    refuse(&[(any, "an option of *")], &place(options.wildcard_token.0.span.start))
}

/// The name that Flink gives a column: its own, or `EXPR$n`.
pub fn output_name(expr: &Expr, index: usize) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(parts) => parts
            .last()
            .map_or_else(|| format!("EXPR${index}"), |p| p.value.clone()),
        Expr::Nested(inner) => output_name(inner, index),
        _ => format!("EXPR${index}"),
    }
}

fn column_names(alias: &ast::TableAlias) -> Vec<String> {
    alias.columns.iter().map(|column| column.name.value.clone()).collect()
}

/// The relation of a SELECT without FROM: one row without columns.
fn single_row() -> Result<Relation, Error> {
    let batch = one_row_batch()?;
    let schema = batch.schema();
    Ok(Relation::bounded(Node::Values(batch), Scope::default(), schema))
}

fn one_row_batch() -> Result<RecordBatch, Error> {
    crate::operator::calc::table(&positional(std::iter::empty()), Vec::new(), 1)
}
