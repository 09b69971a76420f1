//! Every step with its vector clock: what may have caused what.
//!
//! A node's clock counts its own steps and what it had heard of the others' (Fidge, 1988; Mattern, 1989). One step
//! happened before another if its clock is below the other's in every place. The space-time diagram (Lamport, 1978) has a
//! line for each node, time goes down, and an arrow for each message that arrived.

use std::fmt::{self, Write as _};

use crate::world::{Address, Micros};

/// The step that sent a message; none for what comes from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cause(Option<u32>);

#[derive(Debug, Clone)]
struct Step {
    at: Micros,
    node: Address,
    cause: Cause,
    text: String,
    clock: Vec<u32>,
}

/// The steps of a world, in order.
#[derive(Debug, Clone)]
pub struct Story {
    clocks: Vec<Vec<u32>>,
    steps: Vec<Step>,
}

/// Steps that are kept; a story of more is not read by anyone.
const STEPS_MAX: usize = 20_000;
/// What a step's text is cut to, in characters.
const TEXT_MAX: usize = 160;
const LANE: usize = 190;
const ROW: usize = 18;

impl Story {
    pub fn new(nodes: usize) -> Self {
        Self {
            clocks: vec![vec![0; nodes]; nodes],
            steps: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn step(&mut self, at: Micros, node: Address, cause: Cause, text: fmt::Arguments<'_>) -> Cause {
        if self.steps.len() >= STEPS_MAX {
            return Cause(None);
        }
        let clock = &mut self.clocks[node];
        if let Some(sent) = cause.0 {
            for (mine, theirs) in clock.iter_mut().zip(&self.steps[sent as usize].clock) {
                *mine = (*mine).max(*theirs);
            }
        }
        clock[node] += 1;
        let text = text.to_string().chars().take(TEXT_MAX).collect();
        self.steps.push(Step {
            at,
            node,
            cause,
            text,
            clock: clock.clone(),
        });
        Cause(Some(self.steps.len() as u32 - 1))
    }

    pub(super) fn add_text(&mut self, step: Cause, text: fmt::Arguments<'_>) {
        if let Some(step) = step.0 {
            let _infallible = write!(self.steps[step as usize].text, " [{text}]");
        }
    }

    /// Whether one step may have caused another, by their clocks alone.
    pub fn happened_before(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.steps[one].clock, &self.steps[other].clock);
        one != other && one.iter().zip(other).all(|(one, other)| one <= other)
    }

    /// For ShiViz: parse with `(?<event>.*)\n(?<host>\S*) (?<clock>{.*})`.
    pub fn shiviz(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let heard = step.clock.iter().enumerate().filter(|(_, count)| **count > 0);
            let clock: Vec<String> = heard.map(|(node, count)| format!("\"n{node}\":{count}")).collect();
            let event = step.text.replace('\n', " ");
            let _infallible = writeln!(
                text,
                "{}.{:03} {event}\nn{} {{{}}}",
                step.at / 1_000,
                step.at % 1_000,
                step.node,
                clock.join(",")
            );
        }
        text
    }

    /// The space-time diagram of the first `steps` steps.
    pub fn svg(&self, steps: usize) -> String {
        let steps = &self.steps[..self.steps.len().min(steps)];
        let nodes = self.clocks.len();
        let (width, height) = (LANE * nodes + 80, ROW * (steps.len() + 4));
        let x = |node: Address| 80 + LANE * node;
        let y = |row: usize| ROW * (row + 3);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"monospace\" font-size=\"10\">\n\
             <defs><marker id=\"a\" markerWidth=\"6\" markerHeight=\"6\" refX=\"6\" refY=\"3\" orient=\"auto\"><path d=\"M0,0L6,3L0,6z\" fill=\"#888\"/></marker></defs>\n"
        );
        for node in 0..nodes {
            let x = x(node);
            let _infallible = writeln!(
                svg,
                "<text x=\"{x}\" y=\"20\" text-anchor=\"middle\" font-size=\"13\">n{node}</text><line x1=\"{x}\" y1=\"28\" x2=\"{x}\" y2=\"{height}\" stroke=\"#ccc\"/>"
            );
        }
        for (row, step) in steps.iter().enumerate() {
            let (x_here, y_here) = (x(step.node), y(row));
            if let Some(sent) = step.cause.0.map(|sent| sent as usize) {
                let (x_sent, y_sent) = (x(steps[sent].node), y(sent));
                let _infallible = writeln!(
                    svg,
                    "<line x1=\"{x_sent}\" y1=\"{y_sent}\" x2=\"{x_here}\" y2=\"{y_here}\" stroke=\"#888\" marker-end=\"url(#a)\"/>"
                );
            }
            let label: String = escaped(&step.text).chars().take(28).collect();
            let (label_x, label_y) = (x_here + 6, y_here + 3);
            let _infallible = writeln!(
                svg,
                "<circle cx=\"{x_here}\" cy=\"{y_here}\" r=\"3\" fill=\"#2a6\"><title>{} {:?}</title></circle>\
                 <text x=\"{label_x}\" y=\"{label_y}\">{}</text><text x=\"2\" y=\"{label_y}\" fill=\"#999\">{}.{:03}</text>",
                escaped(&step.text),
                step.clock,
                without_half_entity(&label),
                step.at / 1_000,
                step.at % 1_000
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A cut may have gone through `&amp;`.
fn without_half_entity(text: &str) -> &str {
    match text.rfind('&') {
        Some(at) if !text[at..].contains(';') => &text[..at],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_order_what_a_message_orders_and_nothing_else() {
        let mut story = Story::new(3);
        let first = story.step(1, 0, Cause::default(), format_args!("a<b & c"));
        story.step(2, 2, Cause::default(), format_args!("apart"));
        story.step(3, 1, first, format_args!("got it"));
        assert!(story.happened_before(0, 2) && !story.happened_before(2, 0));
        assert!(!story.happened_before(0, 1) && !story.happened_before(1, 0) && !story.happened_before(1, 2));
        assert_eq!(story.shiviz().lines().nth(5), Some("n1 {\"n0\":1,\"n1\":1}"));
        let svg = story.svg(100);
        assert!(svg.contains("a&lt;b &amp; c") && svg.matches("marker-end").count() == 1);
    }
}
