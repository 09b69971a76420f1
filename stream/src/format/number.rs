//! Numbers as text, in Java's forms: decimals by `BigDecimal`, floats by `Double.toString` of JDK 19 and later.

use std::fmt::{Display, LowerExp};

/// The powers of ten that fit an `i128`.
pub fn power_of_ten(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

/// Reads a decimal number, `1`, `-0.5`, `1e3`, into `value * 10^-scale`, rounding half away from zero. `None` where the
/// text is no number; `Some(None)` where the number does not fit the precision.
pub fn parse_decimal(text: &str, precision: u8, scale: i8) -> Option<Option<i128>> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    // The digits up to the last one kept, and the one behind it, which decides the rounding.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(scale);
    let mut value: i128 = 0;
    let mut round_up = false;
    for (index, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let digit = i128::from(digit - b'0');
        if (index as i64) < kept {
            match value.checked_mul(10).and_then(|v| v.checked_add(digit)) {
                Some(next) => value = next,
                None => return Some(None),
            }
        } else {
            round_up = index as i64 == kept && digit >= 5;
            break;
        }
    }
    let missing = kept - (whole.len() + fraction.len()) as i64;
    if missing > 0 && value != 0 {
        let scaled = u32::try_from(missing)
            .ok()
            .and_then(power_of_ten)
            .and_then(|power| value.checked_mul(power));
        match scaled {
            Some(next) => value = next,
            None => return Some(None),
        }
    }
    value += i128::from(round_up);
    let fits = power_of_ten(u32::from(precision)).is_none_or(|limit| value < limit);
    Some(fits.then_some(if negative { -value } else { value }))
}

/// A decimal at another scale, rounded half away from zero; `None` where it does not fit the precision.
pub fn rescale(value: i128, from: i8, precision: u8, to: i8) -> Option<i128> {
    let shift = i32::from(to) - i32::from(from);
    let scaled = if shift >= 0 {
        if value == 0 {
            0
        } else {
            value.checked_mul(power_of_ten(shift as u32)?)?
        }
    } else {
        match power_of_ten(shift.unsigned_abs()) {
            Some(power) => {
                let (quotient, rest) = (value / power, value % power);
                quotient
                    + if rest.unsigned_abs() >= power.unsigned_abs().div_ceil(2) {
                        value.signum()
                    } else {
                        0
                    }
            }
            None => 0,
        }
    };
    let limit = power_of_ten(u32::from(precision)).unwrap_or(i128::MAX);
    (scaled.unsigned_abs() < limit.unsigned_abs()).then_some(scaled)
}

/// `value * 10^-scale` in full: `BigDecimal.toPlainString`.
pub fn plain_decimal(value: i128, scale: i8) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = value.unsigned_abs().to_string();
    let scale = usize::try_from(scale).unwrap_or(0);
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// `value * 10^-scale` without trailing zeros, and with an exponent where `BigDecimal.toString` writes one.
pub fn stripped_decimal(value: i128, scale: i8) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    let (mut value, mut scale) = (value, i32::from(scale));
    while value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    let digits = value.unsigned_abs().to_string();
    let adjusted = digits.len() as i32 - 1 - scale;
    if scale >= 0 && adjusted >= -6 {
        return plain_decimal(value, scale as i8);
    }
    let sign = if value < 0 { "-" } else { "" };
    let point = if digits.len() > 1 { "." } else { "" };
    format!("{sign}{}{point}{}E{adjusted:+}", &digits[..1], &digits[1..])
}

/// Java's text of a `double`: shortest digits, plain from 1e-3 to 1e7, else `d.dddE±x`.
pub fn java_double(value: f64) -> String {
    java_float_text(
        value,
        value.is_nan(),
        value.is_infinite(),
        value.abs() >= 1e-3 && value.abs() < 1e7,
    )
}

/// The text of a finite `double` as `BigDecimal.valueOf` reads it; what is no number fails as there.
pub fn decimal_text(value: f64) -> Result<String, String> {
    if value.is_finite() {
        return Ok(java_double(value));
    }
    let letter = if value.is_nan() { 'N' } else { 'I' };
    Err(format!(
        "Character {letter} is neither a decimal digit number, decimal point, nor \"e\" notation exponential mark."
    ))
}

/// Java's text of a `float`.
pub fn java_float(value: f32) -> String {
    java_float_text(
        value,
        value.is_nan(),
        value.is_infinite(),
        value.abs() >= 1e-3 && value.abs() < 1e7,
    )
}

fn java_float_text(value: impl Display + LowerExp, nan: bool, infinite: bool, plain: bool) -> String {
    if nan {
        return "NaN".to_owned();
    }
    let scientific = format!("{value:e}");
    let negative = scientific.starts_with('-');
    if infinite {
        return if negative { "-Infinity" } else { "Infinity" }.to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    if plain || mantissa.trim_start_matches('-') == "0" {
        let text = format!("{value}");
        return if text.contains('.') { text } else { text + ".0" };
    }
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_exactly_and_rounded_half_up() {
        assert_eq!(parse_decimal("12345.67891", 20, 5), Some(Some(1_234_567_891)));
        assert_eq!(parse_decimal("-7.25", 8, 1), Some(Some(-73)));
        assert_eq!(parse_decimal("1e3", 10, 2), Some(Some(100_000)));
        assert_eq!(parse_decimal("0.5", 10, 0), Some(Some(1)));
        assert_eq!(parse_decimal("0.05", 10, 0), Some(Some(0)));
        assert_eq!(parse_decimal("5e-3", 10, 2), Some(Some(1)));
        assert_eq!(parse_decimal("1000", 3, 0), Some(None));
        assert_eq!(parse_decimal("99.95", 3, 1), Some(None));
        assert_eq!(parse_decimal("1e999999999", 38, 0), Some(None));
        assert_eq!(parse_decimal("0e999999999", 38, 0), Some(Some(0)));
        for bad in ["", "-", ".", "1.2.3", "abc", "1e", "1e99999999999", "٣"] {
            assert_eq!(parse_decimal(bad, 10, 2), None, "{bad}");
        }
    }

    #[test]
    fn texts_are_javas() {
        assert_eq!(plain_decimal(-5, 3), "-0.005");
        assert_eq!(stripped_decimal(1_500, 3), "1.5");
        assert_eq!(stripped_decimal(10_000, 2), "1E+2");
        assert_eq!(stripped_decimal(12_000, 0), "1.2E+4");
        assert_eq!(stripped_decimal(27, 9), "2.7E-8");
        assert_eq!(java_double(2.2790015986666667E8), "2.2790015986666667E8");
        assert_eq!(java_double(0.0), "0.0");
        assert_eq!(java_double(-0.0), "-0.0");
        assert_eq!(java_double(1e10), "1.0E10");
        assert_eq!(java_double(1e-5), "1.0E-5");
        assert_eq!(java_double(100.0), "100.0");
        assert_eq!(java_double(f64::NEG_INFINITY), "-Infinity");
        assert_eq!(java_float(3.5), "3.5");
        assert_eq!(java_float(9.223_372e18), "9.223372E18");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in -10i128.pow(37)..10i128.pow(37), scale in 0i8..38) {
            prop_assert_eq!(parse_decimal(&plain_decimal(value, scale), 38, scale), Some(Some(value)));
            prop_assert_eq!(parse_decimal(&stripped_decimal(value, scale), 38, scale), Some(Some(value)));
        }

        #[test]
        fn doubles_survive(value in any::<f64>().prop_filter("a number", |v| v.is_finite())) {
            prop_assert_eq!(java_double(value).parse::<f64>().unwrap(), value);
        }
    }
}
