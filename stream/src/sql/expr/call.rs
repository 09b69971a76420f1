//! Function calls, CAST, and the calls that have a syntax of their own.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::ScalarFunctionExpr;
use sqlparser::ast::{
    self, CastKind, CeilFloorKind, DateTimeField, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    TrimWhereField,
};

use super::result::{cast_facts, result_facts};
use super::{Binder, Bound, at};
use crate::Error;
use crate::expression::Kind;
use crate::functions;
use crate::sql::data_type::{self, Length, SqlType};
use crate::sql::dialect::{ALL_OF, ANY_OF, BETWEEN_SYMMETRIC};
use crate::sql::facts::Facts;
use crate::sql::parse::place;

/// Functions that are called without brackets.
const NILADIC: [&str; 6] = [
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "CURRENT_DATABASE",
];
/// Functions whose first argument is the name of a unit.
const UNIT_FIRST: [&str; 2] = ["TIMESTAMPADD", "TIMESTAMPDIFF"];

impl Binder<'_> {
    /// A column that does not exist may be a function without brackets.
    pub(super) fn niladic(&mut self, parts: &[Ident]) -> Option<Result<Bound, Error>> {
        let [ident] = parts else { return None };
        let upper = ident.value.to_ascii_uppercase();
        let known = ident.quote_style.is_none() && NILADIC.contains(&upper.as_str());
        known.then(|| self.apply(&upper, Vec::new(), &place(ident.span.start)))
    }

    pub(super) fn call(&mut self, function: &ast::Function) -> Result<Bound, Error> {
        let span = function
            .name
            .0
            .first()
            .and_then(|part| part.as_ident())
            .map(|ident| ident.span);
        let place = span.map_or_else(String::new, |span| place(span.start));
        let upper = function.name.to_string().to_ascii_uppercase();
        if super::grouped::is_aggregate(function) && function.over.is_none() {
            return Err(Error::validate(format!(
                "Aggregate function {upper} is not allowed here{place}"
            )));
        }
        if function.over.is_some() {
            return Err(Error::unsupported(format!("{upper} OVER a window{place}")));
        }
        if function.filter.is_some() || !function.within_group.is_empty() || function.null_treatment.is_some() {
            return Err(Error::validate(format!("{upper} is no aggregate function{place}")));
        }
        let args = self.arguments(function, &upper, &place)?;
        self.apply(&upper, args, &place)
    }

    fn arguments(&mut self, function: &ast::Function, upper: &str, place: &str) -> Result<Vec<Bound>, Error> {
        let list = match &function.args {
            FunctionArguments::None => return Ok(Vec::new()),
            FunctionArguments::List(list) if list.clauses.is_empty() && list.duplicate_treatment.is_none() => list,
            _ => return Err(Error::unsupported(format!("these arguments of {upper}{place}"))),
        };
        let mut args = Vec::with_capacity(list.args.len());
        for (number, arg) in list.args.iter().enumerate() {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
                return Err(Error::validate(format!(
                    "{upper} does not take the argument {arg}{place}"
                )));
            };
            let unit = match expr {
                Expr::Identifier(ident) if number == 0 && UNIT_FIRST.contains(&upper) => Some(ident),
                _ => None,
            };
            args.push(match unit {
                Some(unit) => text(&unit.value.to_ascii_uppercase()),
                None => self.bind(expr)?,
            });
        }
        Ok(args)
    }

    /// A function of our own names, for syntax that means a call.
    pub(super) fn call_named(&mut self, name: &str, args: &[Expr], whole: &Expr) -> Result<Bound, Error> {
        let args = args.iter().map(|arg| self.bind(arg)).collect::<Result<_, _>>()?;
        self.apply(name, args, &at(whole))
    }

    /// Calls the function `upper`.
    pub(super) fn apply(&mut self, upper: &str, args: Vec<Bound>, place: &str) -> Result<Bound, Error> {
        match upper {
            BETWEEN_SYMMETRIC => return self.between_symmetric(args, place),
            ALL_OF => return self.chain(Kind::And, args, place),
            ANY_OF => return self.chain(Kind::Or, args, place),
            "TYPEOF" => return self.type_of(&args, place),
            "ROUND" | "TRUNCATE"
                if args
                    .first()
                    .is_some_and(|arg| matches!(arg.data, DataType::Decimal128(..))) =>
            {
                return self.round_decimal(upper, args, place);
            }
            "JSON VALUE" => {
                let target = args.get(2).map_or(DataType::Utf8, |arg| arg.data.clone());
                if !matches!(
                    target,
                    DataType::Utf8 | DataType::Int32 | DataType::Float64 | DataType::Boolean
                ) {
                    // Flink fails here when it generates code, behind its validation.
                    return Err(Error::runtime(format!(
                        "Unsupported type '{}' for RETURNING in JSON_VALUE().",
                        data_type::name(&target)
                    )));
                }
            }
            "COALESCE" | "IFNULL" => return self.coalesce(args, place),
            "NULLIF" => return self.nullif(args, place),
            "IF" => return self.choice(args, place),
            // As a value; as a time attribute it is not served, and a window over it is refused.
            "PROCTIME" => return self.apply("CURRENT_ROW_TIMESTAMP", args, place),
            "MOD" => {
                let [left, right] = <[Bound; 2]>::try_from(args)
                    .map_err(|_| Error::validate(format!("MOD wants two arguments{place}")))?;
                return self.arithmetic(left, datafusion::logical_expr::Operator::Modulo, right, place);
            }
            _ => {}
        }
        if let Some(udf) = functions::scalar(upper, self.session) {
            return self.scalar(udf, args, upper, place);
        }
        let types: Vec<String> = args.iter().map(Bound::type_name).collect();
        Err(Error::validate(format!(
            "No match found for function signature {upper}({}){place}",
            types.join(", ")
        )))
    }

    pub(super) fn scalar(
        &self,
        udf: Arc<ScalarUDF>,
        args: Vec<Bound>,
        name: &str,
        place: &str,
    ) -> Result<Bound, Error> {
        let facts: Vec<Facts> = args.iter().map(|arg| arg.facts.clone()).collect();
        let args = args.into_iter().map(|arg| arg.expr).collect();
        let expr = ScalarFunctionExpr::try_new(udf, args, &self.input_schema(), config())
            .map_err(|error| Error::validate(format!("{name}{place}: {}", error.strip_backtrace())))?;
        let data = expr.return_type().clone();
        Ok(Bound::new(Arc::new(expr), data).with(result_facts(name, &facts)))
    }

    pub(super) fn cast(
        &mut self,
        kind: &CastKind,
        inner: &Expr,
        target: &ast::DataType,
        whole: &Expr,
    ) -> Result<Bound, Error> {
        let place = at(whole);
        let ast::DataType::Custom(target_name, _) = target else {
            return Err(Error::parse(format!(
                "Encountered \"::\"{place}: write CAST(x AS type)"
            )));
        };
        if !matches!(kind, CastKind::Cast | CastKind::TryCast) {
            return Err(Error::parse(format!(
                "Encountered \"::\"{place}: write CAST(x AS type)"
            )));
        }
        let text = target_name
            .0
            .first()
            .and_then(|part| part.as_ident())
            .map_or("", |ident| ident.value.as_str());
        let target = data_type::from_text(text)?;
        if let Some(bound) = self.round_text(inner, &target)? {
            return self.cast_bound(bound, &target, false, &place);
        }
        let bound = self.bind(inner)?;
        self.cast_bound(bound, &target, matches!(kind, CastKind::TryCast), &place)
    }

    /// An explicit cast with Flink's rules.
    pub fn cast_bound(&mut self, bound: Bound, target: &SqlType, lenient: bool, place: &str) -> Result<Bound, Error> {
        let facts = cast_facts(&bound.facts, target, lenient);
        if bound.data == DataType::Null {
            return Ok(super::coerce::cast_to(bound, &target.data)?.with(facts));
        }
        if bound.data == target.data && target.length.is_none() && target.precision.is_none() {
            return Ok(bound.with(facts));
        }
        if !functions::can_cast(&bound.data, &target.data) {
            return Err(Error::validate(format!(
                "Cast function cannot convert value of type {} to type {target}{place}",
                data_type::name(&bound.data)
            )));
        }
        // The digits behind the second: of the target, or those that a text is to show.
        let precision = match &target.data {
            DataType::Utf8 => bound.facts.precision,
            _ => target.precision,
        };
        let length = target.length.map(|length| match length {
            Length::Char(n) => functions::Length::Char(n),
            Length::VarChar(n) => functions::Length::VarChar(n),
            Length::Binary(n) => functions::Length::Binary(n),
            Length::VarBinary(n) => functions::Length::VarBinary(n),
        });
        let udf = functions::cast(&target.data, length, precision, lenient, self.session);
        Ok(self.scalar(udf, vec![bound], "CAST", place)?.with(facts))
    }

    /// The same where nothing was written: a string beside a number.
    pub(super) fn cast_by_function(&mut self, bound: Bound, to: &DataType, place: &str) -> Result<Bound, Error> {
        self.cast_bound(bound, &SqlType::new(to.clone()), false, place)
    }

    pub(super) fn special_syntax(&mut self, expr: &Expr) -> Result<Bound, Error> {
        let place = at(expr);
        match expr {
            Expr::Extract { field, expr: inner, .. } => self.with_unit("EXTRACT", field, inner, true, &place),
            Expr::Ceil { expr: inner, field } => self.rounded("CEIL", inner, field, &place),
            Expr::Floor { expr: inner, field } => self.rounded("FLOOR", inner, field, &place),
            Expr::Position {
                expr: part,
                r#in: whole,
            } => self.call_of("POSITION", &[part, whole], &place),
            Expr::Substring {
                expr: inner,
                substring_from,
                substring_for,
                ..
            } => {
                let mut args: Vec<&Expr> = vec![inner];
                args.extend(substring_from.as_deref());
                args.extend(substring_for.as_deref());
                self.call_of("SUBSTRING", &args, &place)
            }
            Expr::Overlay {
                expr: inner,
                overlay_what,
                overlay_from,
                overlay_for,
            } => {
                let mut args: Vec<&Expr> = vec![inner, overlay_what, overlay_from];
                args.extend(overlay_for.as_deref());
                self.call_of("OVERLAY", &args, &place)
            }
            Expr::Trim {
                expr: inner,
                trim_where,
                trim_what,
                trim_characters: None,
            } => self.trim(*trim_where, trim_what.as_deref(), inner, &place),
            Expr::Like {
                negated,
                any: false,
                expr: inner,
                pattern,
                escape_char,
            } => {
                let like = self.pattern("LIKE", inner, pattern, escape_char.as_ref(), &place)?;
                negate_if(like, *negated)
            }
            Expr::SimilarTo {
                negated,
                expr: inner,
                pattern,
                escape_char,
            } => {
                let similar = self.pattern("SIMILAR", inner, pattern, escape_char.as_ref(), &place)?;
                negate_if(similar, *negated)
            }
            Expr::InSubquery { .. } | Expr::Exists { .. } | Expr::Subquery(_) => {
                Err(Error::unsupported(format!("a subquery within an expression{place}")))
            }
            other => {
                let text: String = other.to_string().chars().take(60).collect();
                Err(Error::unsupported(format!("the expression {text}{place}")))
            }
        }
    }

    fn trim(
        &mut self,
        side: Option<TrimWhereField>,
        what: Option<&Expr>,
        inner: &Expr,
        place: &str,
    ) -> Result<Bound, Error> {
        let side = match side {
            None | Some(TrimWhereField::Both) => "BOTH",
            Some(TrimWhereField::Leading) => "LEADING",
            Some(TrimWhereField::Trailing) => "TRAILING",
        };
        let what = what.map_or_else(|| Ok(text(" ")), |what| self.bind(what))?;
        let inner = self.bind(inner)?;
        self.apply("TRIM", vec![text(side), what, inner], place)
    }

    fn call_of(&mut self, name: &str, args: &[&Expr], place: &str) -> Result<Bound, Error> {
        let args = args.iter().map(|arg| self.bind(arg)).collect::<Result<_, _>>()?;
        self.apply(name, args, place)
    }

    fn rounded(&mut self, name: &str, inner: &Expr, field: &CeilFloorKind, place: &str) -> Result<Bound, Error> {
        match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => self.call_of(name, &[inner], place),
            CeilFloorKind::DateTimeField(field) => self.with_unit(name, field, inner, false, place),
            CeilFloorKind::Scale(scale) => {
                let scale = super::literal::value(scale)?;
                let inner = self.bind(inner)?;
                self.apply(name, vec![inner, scale], place)
            }
        }
    }

    fn with_unit(
        &mut self,
        name: &str,
        field: &DateTimeField,
        inner: &Expr,
        unit_first: bool,
        place: &str,
    ) -> Result<Bound, Error> {
        let unit = text(&field.to_string().to_ascii_uppercase());
        let inner = self.bind(inner)?;
        let args = if unit_first {
            vec![unit, inner]
        } else {
            vec![inner, unit]
        };
        self.apply(name, args, place)
    }

    fn pattern(
        &mut self,
        name: &str,
        inner: &Expr,
        pattern: &Expr,
        escape: Option<&ast::ValueWithSpan>,
        place: &str,
    ) -> Result<Bound, Error> {
        let mut args = vec![self.bind(inner)?, self.bind(pattern)?];
        args.extend(escape.map(super::literal::value).transpose()?);
        self.apply(name, args, place)
    }
}

impl Binder<'_> {
    /// ROUND and TRUNCATE of a DECIMAL: Flink derives the type from a constant number of places, and keeps the argument's
    /// where the number is computed.
    fn round_decimal(&mut self, upper: &str, args: Vec<Bound>, place: &str) -> Result<Bound, Error> {
        let places = match args.get(1) {
            None => Some(0),
            Some(places) => match places.constant() {
                Some(ScalarValue::Int8(Some(places))) => Some(i64::from(*places)),
                Some(ScalarValue::Int16(Some(places))) => Some(i64::from(*places)),
                Some(ScalarValue::Int32(Some(places))) => Some(i64::from(*places)),
                Some(ScalarValue::Int64(Some(places))) => Some(*places),
                _ => None,
            },
        };
        let (Some(places), DataType::Decimal128(precision, scale), true) = (places, &args[0].data, args.len() <= 2)
        else {
            let udf = functions::scalar(upper, self.session)
                .ok_or_else(|| Error::validate(format!("{upper}{place} is not known")))?;
            return self.scalar(udf, args, upper, place);
        };
        let (precision, scale) = (i64::from(*precision), i64::from(*scale));
        let (precision, scale) = if places >= scale {
            (precision, scale)
        } else if places < 0 {
            ((1 + precision - scale).min(38), 0)
        } else {
            (1 + precision - scale + places, places)
        };
        let data = DataType::Decimal128(precision as u8, scale as i8);
        let mut args = args;
        if args.len() == 1 {
            args.push(Bound::literal(ScalarValue::Int32(Some(0))));
        }
        let facts = super::arithmetic::strict(&args.iter().collect::<Vec<_>>());
        args.push(super::coerce::cast_to(Bound::literal(ScalarValue::Null), &data)?);
        let bound = self.apply(&format!("{upper}_TO"), args, place)?;
        Ok(bound.with(facts))
    }

    /// `CAST(ROUND(decimal, places) AS STRING)` with places from a column: the text has as many places.
    fn round_text(&mut self, inner: &Expr, target: &SqlType) -> Result<Option<Bound>, Error> {
        let inner = match inner {
            Expr::Nested(inner) => return self.round_text(inner, target),
            inner => inner,
        };
        let Expr::Function(function) = inner else {
            return Ok(None);
        };
        let upper = function.name.to_string().to_ascii_uppercase();
        if target.data != DataType::Utf8 || self.grouped.is_some() || !["ROUND", "TRUNCATE"].contains(&upper.as_str()) {
            return Ok(None);
        }
        let place = at(inner);
        let args = self.arguments(function, &upper, &place)?;
        match args.as_slice() {
            [value, places]
                if matches!(value.data, DataType::Decimal128(..))
                    && places.constant().is_none()
                    && places.data.is_signed_integer() =>
            {
                self.apply(&format!("{upper}_TEXT"), args, &place).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A long chain of conditions, which the dialect hands over in one piece.
    fn chain(&mut self, kind: Kind, args: Vec<Bound>, place: &str) -> Result<Bound, Error> {
        let condition = |bound: Bound| match bound.data {
            DataType::Boolean => Ok(bound),
            DataType::Null => super::coerce::cast_to(bound, &DataType::Boolean),
            _ => Err(Error::validate(format!(
                "AND/OR clause must be a condition, not {}{place}",
                bound.type_name()
            ))),
        };
        let conditions = args.into_iter().map(condition).collect::<Result<Vec<_>, _>>()?;
        Ok(super::arithmetic::junction(kind, conditions))
    }

    /// TYPEOF(value [, whether to write it in full]).
    fn type_of(&self, args: &[Bound], place: &str) -> Result<Bound, Error> {
        match args {
            [value] => Ok(text(&value.type_name()).not_null(false)),
            [value, full] if full.data == DataType::Boolean && full.constant().is_some() => {
                Ok(text(&value.type_name()).not_null(false))
            }
            _ => Err(Error::validate(format!(
                "No match found for function signature TYPEOF with {} arguments{place}",
                args.len()
            ))),
        }
    }
}

fn text(value: &str) -> Bound {
    Bound::literal(ScalarValue::Utf8(Some(value.to_owned())))
}

/// DataFusion's options, none of which our functions look at; one copy, for they are many.
pub(super) fn config() -> Arc<ConfigOptions> {
    static CONFIG: LazyLock<Arc<ConfigOptions>> = LazyLock::new(Arc::default);
    Arc::clone(&CONFIG)
}

fn negate_if(bound: Bound, negated: bool) -> Result<Bound, Error> {
    if !negated {
        return Ok(bound);
    }
    super::negated(bound)
}
