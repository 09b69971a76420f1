//! What happened, as one number, and on demand as text.

use std::fmt;

use super::events::Micros;
use super::random::split_mix;

/// Of the hash of a step, which is made a million times a second: odd, so that nothing is lost by multiplying.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A running digest of everything that happens in a world: equal digests mean equal runs.
///
/// Text costs a hundred times what the digest costs, so it is written only where it was asked for.
#[derive(Debug, Default)]
pub struct Trace {
    digest: u64,
    steps: u64,
    lines: Option<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: Vec<String>,
    echo: bool,
}

impl Trace {
    /// Keeps the text as well.
    pub fn with_lines() -> Self {
        Self {
            lines: Some(Lines::default()),
            ..Self::default()
        }
    }

    /// Prints each line at once, so that a run that panics has told its story.
    pub fn printing() -> Self {
        let lines = Lines {
            echo: true,
            ..Lines::default()
        };
        Self {
            lines: Some(lines),
            ..Self::default()
        }
    }

    /// Notes one step by numbers that say what it was.
    pub fn step(&mut self, at: Micros, what: [u64; 3]) {
        self.steps += 1;
        for word in [at, what[0], what[1], what[2]] {
            self.digest = (self.digest.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
        }
    }

    /// Whether someone reads the text: look before making an expensive one.
    pub fn tells(&self) -> bool {
        self.lines.is_some()
    }

    pub fn tell(&mut self, at: Micros, line: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            let line = format!("{:>9}.{:03} {line}", at / 1_000, at % 1_000);
            if lines.echo {
                println!("{line}");
            } else {
                lines.kept.push(line);
            }
        }
    }

    pub fn digest(&self) -> u64 {
        let mut digest = self.digest;
        split_mix(&mut digest)
    }

    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    pub fn lines(&self) -> &[String] {
        self.lines.as_ref().map_or(&[], |lines| &lines.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_depends_on_every_number_and_on_their_order() {
        let digest = |steps: &[(u64, [u64; 3])]| {
            let mut trace = Trace::default();
            for (at, what) in steps {
                trace.step(*at, *what);
            }
            trace.digest()
        };
        let one = digest(&[(1, [2, 3, 4]), (5, [6, 7, 8])]);
        assert_eq!(one, digest(&[(1, [2, 3, 4]), (5, [6, 7, 8])]));
        assert_ne!(one, digest(&[(5, [6, 7, 8]), (1, [2, 3, 4])]));
        assert_ne!(one, digest(&[(1, [2, 3, 4]), (5, [6, 7, 9])]));
    }

    #[test]
    fn text_is_kept_only_on_demand() {
        let mut trace = Trace::default();
        trace.tell(1, format_args!("x"));
        assert!(trace.lines().is_empty() && !trace.tells());
        let mut trace = Trace::with_lines();
        trace.tell(1_234_567, format_args!("x"));
        assert_eq!(trace.lines(), ["     1234.567 x"]);
    }
}
