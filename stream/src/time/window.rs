//! Window table functions: which windows a time belongs to, and when a window fires.
//!
//! Windows are counted in milliseconds. For a TIMESTAMP_LTZ column they are laid out in the session's zone (a day is a
//! local day): the time is shifted to local, assigned, and a window's end is shifted back to know when it may fire.

use crate::time::Zone;
use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};

use crate::Error;

/// The windows that one row of HOP or CUMULATE may fall into: bounds the copies made of it.
const WINDOWS_A_ROW_MAX: i64 = 10_000;

/// TUMBLE, HOP or CUMULATE. Sizes and steps are positive, a size is a multiple of its step.
/// The offset of TUMBLE is smaller than its size; that of the others may be any, as in Flink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windows {
    Tumble { size: i64, offset: i64 },
    Hop { slide: i64, size: i64, offset: i64 },
    Cumulate { step: i64, size: i64, offset: i64 },
}

impl Windows {
    pub fn tumble(size: i64, offset: i64) -> Result<Self, Error> {
        if size <= 0 {
            return Err(Error::validate("TUMBLE wants a positive size"));
        }
        if offset.abs() >= size {
            return Err(Error::validate("TUMBLE wants an offset smaller than its size"));
        }
        Ok(Self::Tumble { size, offset })
    }

    pub fn hop(slide: i64, size: i64, offset: i64) -> Result<Self, Error> {
        check_step("HOP", "slide", slide, size)?;
        Ok(Self::Hop { slide, size, offset })
    }

    pub fn cumulate(step: i64, size: i64, offset: i64) -> Result<Self, Error> {
        check_step("CUMULATE", "step", step, size)?;
        Ok(Self::Cumulate { step, size, offset })
    }

    /// Calls `each` with the start and end of every window that holds `time`, the earliest end first.
    pub fn assign(&self, time: i64, mut each: impl FnMut(i64, i64)) {
        match *self {
            Self::Tumble { size, offset } => {
                let start = start_of(time, offset, size);
                each(start, start + size);
            }
            Self::Hop { slide, size, offset } => {
                let last = start_of(time, offset, slide);
                let mut start = last - size + slide;
                while start <= last {
                    each(start, start + size);
                    start += slide;
                }
            }
            Self::Cumulate { step, size, offset } => {
                let start = start_of(time, offset, size);
                let mut end = start_of(time, offset, step) + step;
                while end <= start + size {
                    each(start, end);
                    end += step;
                }
            }
        }
    }
}

fn check_step(function: &str, name: &str, step: i64, size: i64) -> Result<(), Error> {
    if step <= 0 || size <= 0 {
        return Err(Error::validate(format!("{function} wants a positive {name} and size")));
    }
    if size % step != 0 {
        return Err(Error::validate(format!(
            "{function} wants a size that is a multiple of its {name}"
        )));
    }
    if size / step > WINDOWS_A_ROW_MAX {
        return Err(Error::unsupported(format!(
            "{function} with more than {WINDOWS_A_ROW_MAX} windows a row; take a longer {name}"
        )));
    }
    Ok(())
}

/// The start of the window of `size` that holds `time`.
pub fn start_of(time: i64, offset: i64, size: i64) -> i64 {
    time - (time - offset).rem_euclid(size)
}

/// The watermark from which on a window that ends at `end` has fired.
pub fn fires_at(end: i64, zone: Option<Zone>) -> i64 {
    match zone {
        None => end - 1,
        Some(zone) => to_instant(end - 1, zone),
    }
}

/// Local milliseconds of an instant.
pub fn to_local(instant: i64, zone: Zone) -> i64 {
    match DateTime::from_timestamp_millis(instant) {
        Some(utc) => {
            let offset = zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc();
            instant + i64::from(offset) * 1000
        }
        None => instant,
    }
}

/// The instant of local milliseconds: of two the later; of none (the hour that is skipped) the end of the gap.
pub fn to_instant(local: i64, zone: Zone) -> i64 {
    let Some(naive) = DateTime::from_timestamp_millis(local).map(|utc| utc.naive_utc()) else {
        return local;
    };
    match zone.from_local_datetime(&naive) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(_, instant) => instant.timestamp_millis(),
        LocalResult::None => before_gap(naive, zone).unwrap_or(local),
    }
}

fn before_gap(naive: NaiveDateTime, zone: Zone) -> Option<i64> {
    // No zone skips more than a day (Samoa did, once): the offset a day earlier is the one before the gap.
    let earlier = zone
        .from_local_datetime(&(naive - chrono::Duration::hours(25)))
        .earliest()?;
    let offset = i64::from(earlier.offset().fix().local_minus_utc()) * 1000;
    Some(naive.and_utc().timestamp_millis() - offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(windows: Windows, time: i64) -> Vec<(i64, i64)> {
        let mut all = Vec::new();
        windows.assign(time, |start, end| all.push((start, end)));
        all
    }

    #[test]
    fn the_three_kinds() {
        assert_eq!(windows(Windows::tumble(10, 3).unwrap(), 12), [(3, 13)]);
        assert_eq!(windows(Windows::tumble(10, 0).unwrap(), -1), [(-10, 0)]);
        assert_eq!(windows(Windows::hop(10, 20, 3).unwrap(), 12), [(-7, 13), (3, 23)]);
        assert_eq!(windows(Windows::cumulate(5, 15, 0).unwrap(), 7), [(0, 10), (0, 15)]);
    }

    #[test]
    fn misfits_are_refused() {
        assert!(Windows::tumble(0, 0).is_err());
        assert!(Windows::tumble(10, 13).is_err());
        assert_eq!(windows(Windows::hop(10, 10, 13).unwrap(), 12), [(3, 13)]);
        assert!(Windows::hop(3, 10, 0).is_err());
        assert!(Windows::cumulate(20, 10, 0).is_err());
        assert!(Windows::hop(1, 100_000, 0).is_err());
    }

    #[test]
    fn a_local_day_fires_at_local_midnight() {
        let tokyo: Zone = "Asia/Tokyo".parse().unwrap();
        let noon = 1_704_110_400_000; // 2024-01-01T12:00Z is 21:00 in Tokyo.
        let [(start, end)] = windows(Windows::tumble(86_400_000, 0).unwrap(), to_local(noon, tokyo))[..] else {
            panic!()
        };
        assert_eq!((start, end), (1_704_067_200_000, 1_704_153_600_000));
        assert_eq!(fires_at(end, Some(tokyo)), 1_704_121_199_999); // 14:59:59.999Z
    }

    proptest! {
        #[test]
        fn every_window_holds_its_time_and_none_is_missing(
            time in -100_000_i64..100_000, step in 1_i64..50, times in 1_i64..6, offset in 0_i64..50,
        ) {
            let size = step * times;
            let offset = offset % step;
            let brute: Vec<(i64, i64)> = (time - 2 * size..=time)
                .filter(|start| (start - offset).rem_euclid(step) == 0 && time < start + size)
                .map(|start| (start, start + size))
                .collect();
            prop_assert_eq!(windows(Windows::hop(step, size, offset).unwrap(), time), brute);
            for (start, end) in windows(Windows::cumulate(step, size, offset).unwrap(), time) {
                prop_assert!(start <= time && time < end && end - start <= size && (end - start) % step == 0);
            }
        }

        #[test]
        fn local_and_back(instant in 0_i64..2_000_000_000_000) {
            let zone: Zone = "Asia/Kolkata".parse().unwrap();
            prop_assert_eq!(to_instant(to_local(instant, zone), zone), instant);
        }
    }
}
