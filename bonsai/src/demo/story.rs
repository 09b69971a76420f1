//! How the demo speaks: numbered steps, the commands that would do the same, progress, facts that are ticked off.

use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Color, Style};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::launch::is_coloured;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const GREEN: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)));
const RED: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));

/// Where there is no terminal for a bar, so many lines tell of the progress.
const PLAIN_LINES: u64 = 10;

#[derive(Debug)]
pub struct Story {
    coloured: bool,
    steps: u32,
    step: Option<(String, Instant)>,
    costs: Vec<(String, Duration)>,
    failed: u32,
}

impl Story {
    /// A story of so many steps.
    pub fn new(steps: u32) -> Self {
        Self {
            coloured: is_coloured(),
            steps,
            step: None,
            costs: Vec::new(),
            failed: 0,
        }
    }

    /// Ends the step before, if any, and begins the next.
    pub fn step(&mut self, title: &str) {
        self.end_step();
        let number = self.costs.len() + 1;
        outln!("\n{}", self.styled(BOLD, &format!("{number}/{} {title}", self.steps)));
        self.step = Some((title.to_owned(), Instant::now()));
    }

    pub fn end_step(&mut self) {
        if let Some((title, started)) = self.step.take() {
            let cost = started.elapsed();
            outln!("    {}", self.styled(DIM, &seconds(cost)));
            self.costs.push((title, cost));
        }
    }

    /// What one would type to do the same with the originals' clients.
    pub fn same_with(&self, command: &str) {
        outln!("    {}", self.styled(DIM, &format!("$ {command}")));
    }

    pub fn say(&self, line: &str) {
        outln!("    {line}");
    }

    /// A number that was computed; ticked where it is known what it must be and it is.
    pub fn number(&mut self, number: u64, what: &str, expected: Option<u64>) {
        let number_text = thousands(number);
        match expected {
            Some(expected) if expected == number => {
                outln!("  {} {number_text} {what}", self.styled(GREEN, "✓"));
            }
            Some(expected) => {
                self.failed += 1;
                outln!(
                    "  {} {number_text} {what}, but it must be {}",
                    self.styled(RED, "✗"),
                    thousands(expected)
                );
            }
            None => outln!("    {number_text} {what}"),
        }
    }

    /// How many numbers were not what they must be.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    pub fn progress(&self, total: u64, unit: &'static str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stdout());
        if let Ok(style) = ProgressStyle::with_template("    {bar:40.cyan/dim} {human_pos}/{human_len} {msg} {rate}") {
            let style = style.with_key("rate", |state: &ProgressState, line: &mut dyn std::fmt::Write| {
                // A line that cannot be written is a terminal that is gone.
                let _ = write!(line, "{}/s", HumanCount(state.per_sec() as u64));
            });
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_message(unit);
        Progress {
            bar,
            total,
            unit,
            told: 0,
        }
    }

    /// What each step cost.
    pub fn costs(&self) {
        outln!("\n{}", self.styled(BOLD, "what it cost"));
        let width = self
            .costs
            .iter()
            .map(|(title, _)| title.chars().count())
            .max()
            .unwrap_or(0);
        for (title, cost) in &self.costs {
            outln!("    {title:width$}  {:>8}", seconds(*cost));
        }
        let total: Duration = self.costs.iter().map(|(_, cost)| *cost).sum();
        outln!("    {:width$}  {:>8}", "together", seconds(total));
    }

    pub fn heading(&self, text: &str) {
        outln!("\n{}", self.styled(BOLD, text));
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.coloured {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// A bar on a terminal, some lines elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    total: u64,
    unit: &'static str,
    told: u64,
}

impl Progress {
    pub fn at(&mut self, done: u64) {
        self.bar.set_position(done);
        let share = done * PLAIN_LINES / self.total.max(1);
        if self.bar.is_hidden() && share > self.told {
            self.told = share;
            outln!("    {}/{} {}", thousands(done), thousands(self.total), self.unit);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// `1 checkpoint`, `2 checkpoints`; of a noun whose plural ends in s.
pub fn counted(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", thousands(number))
}

/// 26398 → 26,398.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        let texts: Vec<String> = [0, 999, 1000, 26_398, 327_346, 1_000_000]
            .into_iter()
            .map(thousands)
            .collect();
        assert_eq!(texts, ["0", "999", "1,000", "26,398", "327,346", "1,000,000"]);
    }

    #[test]
    fn one_is_not_several() {
        assert_eq!(counted(1, "zip code"), "1 zip code");
        assert_eq!(counted(1_763, "window"), "1,763 windows");
    }

    #[test]
    fn a_wrong_number_is_counted() {
        let mut story = Story::new(1);
        story.number(1, "x", Some(1));
        story.number(1, "x", None);
        assert_eq!(story.failed(), 0);
        story.number(1, "x", Some(2));
        assert_eq!(story.failed(), 1);
    }
}
