//! From minutes to a colour: steps, not a ramp, so that a county's colour can be found in the legend again.
//!
//! Blue is early, red is late, sand is about on time; the two ends differ in lightness as well as in hue, so the map reads
//! without red-green vision and in print.

/// Where one step ends and the next begins, in minutes.
pub const BOUNDS: [f64; 7] = [-5.0, 0.0, 5.0, 10.0, 20.0, 30.0, 45.0];

const COLOURS: [&str; 8] = [
    "#2f6690", "#7fa9c4", "#d9e2dc", "#f4e4bf", "#f2bf7a", "#e58b52", "#c8503a", "#8c1c2e",
];

/// A county without a zip code.
pub const NO_DATA: &str = "#e6e4df";

pub fn colour(minutes: f64) -> &'static str {
    COLOURS[BOUNDS.iter().filter(|bound| minutes >= **bound).count()]
}

/// The steps with their colours, lowest first.
pub fn steps() -> impl Iterator<Item = &'static str> {
    COLOURS.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_step_above() {
        assert_eq!(colour(-100.0), COLOURS[0]);
        assert_eq!(colour(-5.0), COLOURS[1]);
        assert_eq!(colour(-0.001), COLOURS[1]);
        assert_eq!(colour(0.0), COLOURS[2]);
        assert_eq!(colour(45.0), COLOURS[7]);
        assert_eq!(colour(1e9), COLOURS[7]);
    }
}
