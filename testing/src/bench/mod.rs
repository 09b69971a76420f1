//! Benchmarks: two contenders under the same load, in alternating rounds, shown in one table.
//!
//! The machine under a benchmark is rarely quiet, and changes from minute to minute. So every measurement is many short
//! rounds, A B A B, and what is shown is the median of the rounds with the ratio of the two; the CPU time that a server
//! takes per operation is the steadiest figure of all. A benchmark is a program that prints a table ([`Table::text`]) or
//! JSON ([`Table::json`]); it is never a test with a time limit.

mod progress;
mod table;

pub use progress::Progress;
pub use table::{Line, Row, Table};

/// Nearest-rank percentile of sorted values; `None` if there are none.
///
/// `percent` is from 0 to 100.
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

/// The median; the mean of the two in the middle if there is an even number. `None` if there are none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// Runs `round(contender, number)` for each of `contenders` in turn, `rounds` times; the results by contender.
///
/// # Errors
/// The first error of a round: a half-measured table helps no reader.
pub fn alternate<T, E>(
    contenders: usize,
    rounds: usize,
    mut round: impl FnMut(usize, usize) -> Result<T, E>,
) -> Result<Vec<Vec<T>>, E> {
    let mut results: Vec<Vec<T>> = (0..contenders).map(|_| Vec::new()).collect();
    for number in 0..rounds {
        for (contender, results) in results.iter_mut().enumerate() {
            results.push(round(contender, number)?);
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 50.0), Some(50.0));
        assert_eq!(percentile(&values, 99.0), Some(99.0));
        assert_eq!(percentile(&values, 100.0), Some(100.0));
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&[7.0], 99.9), Some(7.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn contenders_take_turns() {
        let mut order = Vec::new();
        let results = alternate(2, 2, |contender, round| {
            order.push((contender, round));
            Ok::<_, ()>(contender * 10 + round)
        });
        assert_eq!(order, [(0, 0), (1, 0), (0, 1), (1, 1)]);
        assert_eq!(results, Ok(vec![vec![0, 1], vec![10, 11]]));
        assert_eq!(
            alternate(1, 3, |_, round| if round == 1 { Err("no") } else { Ok(()) }),
            Err("no")
        );
    }
}
