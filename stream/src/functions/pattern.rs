//! Java's date patterns (`yyyy-MM-dd HH:mm:ss`), as `SimpleDateFormat` and `DateTimeFormatter` read and write them.

use std::fmt::Write;

use super::Failure;
use crate::format::temporal::{Moment, SECONDS_PER_DAY, civil_from_days, days_from_civil, days_in_month};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A pattern, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A letter and how often it stands there.
    Field(char, usize),
    Literal(char),
}

/// How strictly a text must follow its pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// `DateTimeFormatter`: widths as written, valid dates only, nothing behind.
    Exact,
    /// `SimpleDateFormat`: any width, days and months past their end roll over, anything may follow.
    Lenient,
}

impl Pattern {
    pub fn new(pattern: &str) -> Result<Self, Failure> {
        let mut parts = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.next_if_eq(&'\'').is_some() => parts.push(Part::Literal('\'')),
                '\'' => loop {
                    match chars.next() {
                        Some('\'') if chars.next_if_eq(&'\'').is_some() => parts.push(Part::Literal('\'')),
                        Some('\'') => break,
                        Some(c) => parts.push(Part::Literal(c)),
                        None => return Err(format!("The date pattern '{pattern}' has an open quote. Close it.")),
                    }
                },
                'y' | 'u' | 'M' | 'L' | 'd' | 'D' | 'H' | 'k' | 'K' | 'h' | 'm' | 's' | 'S' | 'a' | 'E' => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    parts.push(Part::Field(c, count));
                }
                c if c.is_ascii_alphabetic() => {
                    return Err(format!(
                        "The letter '{c}' of the date pattern '{pattern}' is not supported. Leave it out."
                    ));
                }
                c => parts.push(Part::Literal(c)),
            }
        }
        Ok(Self { parts })
    }

    /// Writes a local date and time.
    pub fn format(&self, moment: Moment) -> String {
        let (days, second) = moment.day_and_second();
        let (year, month, day) = civil_from_days(days);
        let hour = second / 3600;
        let mut out = String::new();
        for part in &self.parts {
            let (letter, count) = match part {
                Part::Literal(c) => {
                    out.push(*c);
                    continue;
                }
                Part::Field(letter, count) => (*letter, *count),
            };
            let number: i64 = match letter {
                'y' | 'u' if count == 2 => year.rem_euclid(100),
                'y' | 'u' => year,
                'M' | 'L' if count >= 3 => {
                    let name = MONTHS[month as usize - 1];
                    out.push_str(if count == 3 { &name[..3] } else { name });
                    continue;
                }
                'M' | 'L' => month.into(),
                'd' => day.into(),
                'D' => days - days_from_civil(year, 1, 1) + 1,
                'H' => hour.into(),
                'k' => if hour == 0 { 24 } else { hour }.into(),
                'K' => (hour % 12).into(),
                'h' => if hour % 12 == 0 { 12 } else { hour % 12 }.into(),
                'm' => (second / 60 % 60).into(),
                's' => (second % 60).into(),
                'S' => {
                    let digits = format!("{:09}", moment.nano);
                    out.push_str(&digits[..count.min(9)]);
                    continue;
                }
                'a' => {
                    out.push_str(if hour < 12 { "AM" } else { "PM" });
                    continue;
                }
                _ => {
                    let name = DAYS[(days + 4).rem_euclid(7) as usize];
                    out.push_str(if count <= 3 { &name[..3] } else { name });
                    continue;
                }
            };
            write!(out, "{number:0count$}").expect("a String takes all that is written to it");
        }
        out
    }

    /// Reads a local date and time; fields that the pattern lacks are those of 1970-01-01T00:00:00.
    pub fn parse(&self, text: &str, strictness: Strictness) -> Option<Moment> {
        let lenient = strictness == Strictness::Lenient;
        let mut fields = Fields::default();
        let mut rest = text;
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(c) => rest = rest.strip_prefix(*c)?,
                Part::Field(letter, count) => {
                    let number_follows =
                        matches!(self.parts.get(index + 1), Some(Part::Field(next, n)) if is_number(*next, *n));
                    rest = fields.read(*letter, *count, rest, lenient, number_follows)?;
                }
            }
        }
        if !rest.is_empty() && !lenient {
            return None;
        }
        fields.moment(lenient)
    }
}

fn is_number(letter: char, count: usize) -> bool {
    match letter {
        'a' | 'E' => false,
        'M' | 'L' => count < 3,
        _ => true,
    }
}

#[derive(Debug)]
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    hour: i64,
    half_day: Option<i64>,
    minute: i64,
    second: i64,
    nano: u32,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            year: 1970,
            month: 1,
            day: 1,
            day_of_year: None,
            hour: 0,
            half_day: None,
            minute: 0,
            second: 0,
            nano: 0,
        }
    }
}

impl Fields {
    /// Reads one field from the front of a text; gives what is behind it.
    fn read<'a>(
        &mut self,
        letter: char,
        count: usize,
        text: &'a str,
        lenient: bool,
        number_follows: bool,
    ) -> Option<&'a str> {
        let named = |names: &[&str]| {
            names.iter().position(|name| {
                [*name, &name[..3]]
                    .iter()
                    .any(|n| text.get(..n.len()).is_some_and(|t| t.eq_ignore_ascii_case(n)))
            })
        };
        match letter {
            'a' => {
                self.half_day = Some(i64::from(text.get(..2)?.eq_ignore_ascii_case("PM")));
                return text.get(2..);
            }
            'E' => return skip_name(text, DAYS[named(&DAYS)?]),
            'M' | 'L' if count >= 3 => {
                let index = named(&MONTHS)?;
                self.month = index as i64 + 1;
                return skip_name(text, MONTHS[index]);
            }
            _ => {}
        }
        let text = if lenient { text.trim_start_matches(' ') } else { text };
        let available = text.bytes().take_while(u8::is_ascii_digit).count();
        let width = match (letter, lenient, number_follows) {
            ('S', false, _) => count,
            (_, true, true) | (_, false, true) => count,
            (_, true, false) => available.min(18),
            ('y' | 'u', false, false) if count != 2 => available.clamp(count, 18),
            (_, false, false) if count == 1 => available.clamp(1, 19),
            (_, false, false) => count,
        };
        if available < width || width == 0 {
            return None;
        }
        let value: i64 = text[..width].parse().ok()?;
        match letter {
            'y' | 'u' if count == 2 && width == 2 => self.year = 2000 + value,
            'y' | 'u' => self.year = value,
            'M' | 'L' => self.month = value,
            'd' => self.day = value,
            'D' => self.day_of_year = Some(value),
            'H' => self.hour = value,
            'k' => self.hour = value % 24,
            'K' => self.hour = value,
            'h' => self.hour = value % 12,
            'm' => self.minute = value,
            's' => self.second = value,
            'S' if lenient => self.nano = u32::try_from(value.min(999)).ok()? * 1_000_000,
            _ => {
                self.nano = u32::try_from(value)
                    .ok()?
                    .checked_mul(10u32.checked_pow(9u32.checked_sub(width as u32)?)?)?
            }
        }
        Some(&text[width..])
    }

    fn moment(&self, lenient: bool) -> Option<Moment> {
        let hour = self.hour + 12 * self.half_day.unwrap_or(0);
        if self.year.abs() > 999_999_999
            || [self.month, self.day, hour, self.minute, self.second]
                .iter()
                .any(|v| *v > 1 << 40)
        {
            return None;
        }
        let valid = (1..=12).contains(&self.month)
            && self.day >= 1
            && self.day <= i64::from(days_in_month(self.year, self.month as u32))
            && hour < 24
            && self.minute < 60
            && self.second < 60;
        if !valid && !lenient {
            return None;
        }
        let year = self.year + (self.month - 1).div_euclid(12);
        let month = (self.month - 1).rem_euclid(12) as u32 + 1;
        let days = match self.day_of_year {
            Some(day) => days_from_civil(year, 1, 1) + day - 1,
            None => days_from_civil(year, month, 1) + self.day - 1,
        };
        Some(Moment::new(
            days * SECONDS_PER_DAY + hour * 3600 + self.minute * 60 + self.second,
            self.nano,
        ))
    }
}

fn skip_name<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let full = text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
    text.get(if full { name.len() } else { 3 }..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::temporal::parse_timestamp;

    fn read(pattern: &str, text: &str, strictness: Strictness) -> Option<String> {
        let iso = Pattern::new("yyyy-MM-dd HH:mm:ss.SSS").unwrap();
        Pattern::new(pattern)
            .unwrap()
            .parse(text, strictness)
            .map(|moment| iso.format(moment))
    }

    #[test]
    fn patterns_write() {
        let moment = parse_timestamp("2024-02-09 15:04:05.089", b' ').unwrap();
        let write = |pattern: &str| Pattern::new(pattern).unwrap().format(moment);
        assert_eq!(write("yyyyMMdd"), "20240209");
        assert_eq!(write("yy/M/d h:mm a, EEE"), "24/2/9 3:04 PM, Fri");
        assert_eq!(write("EEEE d MMM yyyy 'at' HH''SSS"), "Friday 9 Feb 2024 at 15'089");
        assert!(Pattern::new("yyyy-QQ").is_err());
    }

    #[test]
    fn exact_patterns_want_the_whole_text() {
        let exact = |pattern, text| read(pattern, text, Strictness::Exact);
        assert_eq!(
            exact("yyyy/MM/dd HH.mm", "2023/12/31 12.30").as_deref(),
            Some("2023-12-31 12:30:00.000")
        );
        assert_eq!(
            exact("yyyyMMddHHmmss", "20240229235959").as_deref(),
            Some("2024-02-29 23:59:59.000")
        );
        assert_eq!(exact("yyyy-MM-dd", "2024-02-29 23:59:59"), None);
        assert_eq!(exact("yyyy-MM-dd", "2024-2-9"), None);
        assert_eq!(exact("yyyy-MM-dd", "2024-02-30"), None);
    }

    #[test]
    fn lenient_patterns_want_a_beginning() {
        let lenient = |pattern, text| read(pattern, text, Strictness::Lenient);
        assert_eq!(
            lenient("yyyy-MM-dd", "2021-01-03T10:00:00").as_deref(),
            Some("2021-01-03 00:00:00.000")
        );
        assert_eq!(
            lenient("yyyy-MM-dd", "2024-2-30").as_deref(),
            Some("2024-03-01 00:00:00.000")
        );
        assert_eq!(
            lenient("yyyy-MM-dd HH:mm:ss", "2000-10-15 05:06:07.089").as_deref(),
            Some("2000-10-15 05:06:07.000")
        );
        assert_eq!(lenient("yyyy-MM-dd HH:mm:ss", "2020-12-31"), None);
        assert_eq!(lenient("yyyy-MM-dd", "not a time"), None);
    }
}
