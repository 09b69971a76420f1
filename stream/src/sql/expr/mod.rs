//! From syntax to vectorised expressions, with Flink's types.
//!
//! The binder resolves names against a [`Scope`], finds each operator's types by Flink's rules and writes every
//! coercion down as a cast, so that DataFusion's evaluators never guess. Functions come from [`crate::functions`] by
//! name. A node that is not listed here is refused: nothing is ignored.
//!
//! Above an aggregation the binder works in *grouped* mode: an expression that equals a GROUP BY expression is that key,
//! an aggregate call is a result column, and a column that is neither is an error.

mod arithmetic;
mod call;
mod case;
mod coerce;
mod compare;
mod decimal;
mod field;
mod grouped;
mod literal;
mod result;

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use sqlparser::ast::{self, Expr, Ident, Spanned};

pub use coerce::{common_type, implicit_cast, widen};
pub use grouped::{Grouped, Sets, aggregate_call, contains_aggregate};
pub use literal::interval_millis;

use super::data_type;
use super::facts::Facts;
use super::parse::place;
use super::scope::Scope;
use crate::Error;
use crate::functions::SessionFacts;

/// An expression and its type.
#[derive(Debug, Clone)]
pub struct Bound {
    pub expr: Arc<dyn PhysicalExpr>,
    pub data: DataType,
    /// What the Arrow type does not say.
    pub facts: Facts,
}

impl Bound {
    /// A value that may be NULL.
    pub fn new(expr: Arc<dyn PhysicalExpr>, data: DataType) -> Self {
        Self {
            expr,
            data,
            facts: Facts::default(),
        }
    }

    pub fn with(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }

    pub fn not_null(mut self, not_null: bool) -> Self {
        self.facts.not_null = not_null;
        self
    }

    /// The type as Flink writes it.
    pub fn type_name(&self) -> String {
        data_type::name_with(&self.data, &self.facts)
    }

    pub fn column(index: usize, data: DataType) -> Self {
        Self {
            expr: Arc::new(Column::new(&format!("c{index}"), index)),
            data,
            facts: Facts::default(),
        }
    }

    pub fn literal(value: ScalarValue) -> Self {
        let data = value.data_type();
        let facts = Facts::default().with_not_null(!value.is_null());
        Self {
            expr: Arc::new(Literal::new(value)),
            data,
            facts,
        }
    }

    /// The value, if it is a constant.
    pub fn constant(&self) -> Option<&ScalarValue> {
        self.expr.downcast_ref::<Literal>().map(Literal::value)
    }

    /// The index, if it is nothing but a column.
    pub fn column_index(&self) -> Option<usize> {
        self.expr.downcast_ref::<Column>().map(Column::index)
    }
}

/// Binds expressions over one relation.
pub struct Binder<'a> {
    pub scope: &'a Scope,
    /// The relation's columns, named `c0`, `c1`, ….
    pub schema: &'a SchemaRef,
    pub session: &'a SessionFacts,
    pub grouped: Option<&'a mut Grouped>,
}

impl Binder<'_> {
    pub fn bind(&mut self, expr: &Expr) -> Result<Bound, Error> {
        if let Some(bound) = self.bind_grouped(expr)? {
            return Ok(bound);
        }
        self.node(expr)
    }

    /// A condition.
    pub fn bind_condition(&mut self, expr: &Expr, clause: &str) -> Result<Bound, Error> {
        let bound = self.bind(expr)?;
        match bound.data {
            DataType::Boolean => Ok(bound),
            DataType::Null => coerce::cast_to(bound, &DataType::Boolean),
            other => Err(Error::validate(format!(
                "{clause} clause must be a condition, not {}{}",
                data_type::name(&other),
                at(expr)
            ))),
        }
    }

    /// What the columns of a bound expression refer to: the input, or above an aggregation its output.
    fn input_schema(&self) -> SchemaRef {
        match &self.grouped {
            Some(grouped) => grouped.output(),
            None => Arc::clone(self.schema),
        }
    }

    fn node(&mut self, expr: &Expr) -> Result<Bound, Error> {
        match expr {
            Expr::Identifier(ident) => self.name(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(parts) => self.name(parts),
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            Expr::Nested(inner) => self.bind(inner),
            Expr::Value(value) => literal::value(value),
            Expr::TypedString(typed) => self.typed_string(typed),
            Expr::Interval(interval) => literal::interval(interval, expr.span()),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, expr),
            Expr::UnaryOp { op, expr: inner } => self.unary(op, inner, expr),
            Expr::IsNull(inner) | Expr::IsUnknown(inner) => self.is_null(inner, false),
            Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => self.is_null(inner, true),
            Expr::IsTrue(inner) => self.is_truth(inner, true, false),
            Expr::IsNotTrue(inner) => self.is_truth(inner, true, true),
            Expr::IsFalse(inner) => self.is_truth(inner, false, false),
            Expr::IsNotFalse(inner) => self.is_truth(inner, false, true),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right, true),
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right, false),
            Expr::InList {
                expr: inner,
                list,
                negated,
            } => self.in_list(inner, list, *negated),
            Expr::Between {
                expr: inner,
                negated,
                low,
                high,
            } => self.between(inner, low, high, *negated),
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(operand.as_deref(), conditions, else_result.as_deref()),
            Expr::Cast {
                kind,
                expr: inner,
                data_type,
                ..
            } => self.cast(kind, inner, data_type, expr),
            Expr::Function(function) => self.call(function),
            Expr::Tuple(items) => self.call_named("ROW", items, expr),
            Expr::Array(array) => self.call_named("ARRAY", &array.elem, expr),
            other => self.special_syntax(other),
        }
    }

    fn name(&mut self, parts: &[Ident]) -> Result<Bound, Error> {
        let (index, used) = match self.scope.resolve(parts) {
            Ok(found) => found,
            Err(error) => return self.niladic(parts).unwrap_or(Err(error)),
        };
        if let Some(grouped) = &self.grouped {
            // What is a key was found before; this column is not one.
            return Err(grouped.not_grouped(&self.scope.columns[index].name, parts[0].span));
        }
        let mut bound = Bound::column(index, self.schema.field(index).data_type().clone())
            .with(self.scope.columns[index].facts.clone());
        for field in &parts[used..] {
            bound = self.field(bound, field)?;
        }
        Ok(bound)
    }

    fn access(&mut self, root: &Expr, chain: &[ast::AccessExpr]) -> Result<Bound, Error> {
        let mut bound = self.bind(root)?;
        for access in chain {
            bound = match access {
                ast::AccessExpr::Dot(Expr::Identifier(field)) => self.field(bound, field)?,
                ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => {
                    let index = self.bind(index)?;
                    self.apply("ITEM", vec![bound, index], &at(root))?
                }
                _ => {
                    return Err(Error::unsupported(format!(
                        "this access to a part of a value{}",
                        at(root)
                    )));
                }
            };
        }
        Ok(bound)
    }

    fn field(&mut self, bound: Bound, field: &Ident) -> Result<Bound, Error> {
        let at = place(field.span.start);
        let found = match &bound.data {
            DataType::Struct(fields) => fields.iter().position(|f| *f.name() == field.value),
            _ => None,
        };
        let index = found.ok_or_else(|| Error::validate(format!("Column '{}' not found{at}", field.value)))?;
        let facts = bound.facts.child(index);
        let not_null = bound.facts.not_null && facts.not_null;
        let value = self.scalar(field::udf(index), vec![bound], &field.value, &at)?;
        Ok(value.with(facts.with_not_null(not_null)))
    }

    fn unary(&mut self, op: &ast::UnaryOperator, inner: &Expr, whole: &Expr) -> Result<Bound, Error> {
        match op {
            ast::UnaryOperator::Plus => self.bind(inner),
            ast::UnaryOperator::Minus => {
                // The least BIGINT has no positive counterpart, so a sign belongs to its number.
                if let Expr::Value(value) = inner
                    && let ast::Value::Number(text, _) = &value.value
                {
                    return literal::number(&format!("-{text}"), &at(whole));
                }
                let bound = self.bind(inner)?;
                self.negate(bound, whole)
            }
            ast::UnaryOperator::Not => {
                let bound = self.bind_condition(inner, "NOT")?;
                negated(bound)
            }
            other => Err(Error::parse(format!("Encountered \"{other}\"{}", at(whole)))),
        }
    }
}

/// NOT.
fn negated(bound: Bound) -> Result<Bound, Error> {
    let expr = datafusion::physical_expr::expressions::not(bound.expr).map_err(Error::validate)?;
    Ok(Bound::new(expr, DataType::Boolean).with(bound.facts))
}

/// ` at line 3, column 7`.
pub fn at(expr: &Expr) -> String {
    place(expr.span().start)
}
