//! Exact signs of polynomials in coordinates.
//!
//! Decisions about topology must not depend on rounding: two that contradict each other give a matrix that no pair of
//! geometries has. Products and sums are therefore kept as expansions, sums of doubles that do not overlap (Shewchuk,
//! "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates", 1997), after a plain evaluation
//! with an error bound has failed to decide. Values beyond about 1e150 overflow and lose the guarantee.

use std::cmp::Ordering;

use geo::{Coord, GeoNum, Kernel, Orientation};

/// A number as a sum of doubles, smallest first.
#[derive(Debug, Clone)]
struct Expansion(Vec<f64>);

fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

impl Expansion {
    fn difference(a: f64, b: f64) -> Expansion {
        let (high, low) = two_sum(a, -b);
        let mut terms = Vec::with_capacity(2);
        terms.extend([low, high].into_iter().filter(|term| *term != 0.0));
        Expansion(terms)
    }

    fn grow(&mut self, value: f64) {
        let mut carry = value;
        let mut kept = 0;
        for at in 0..self.0.len() {
            let (sum, error) = two_sum(carry, self.0[at]);
            carry = sum;
            if error != 0.0 {
                self.0[kept] = error;
                kept += 1;
            }
        }
        self.0.truncate(kept);
        if carry != 0.0 {
            self.0.push(carry);
        }
    }

    fn plus(mut self, other: &Expansion) -> Expansion {
        other.0.iter().for_each(|term| self.grow(*term));
        self
    }

    fn minus(mut self, other: &Expansion) -> Expansion {
        other.0.iter().for_each(|term| self.grow(-term));
        self
    }

    fn times(&self, other: &Expansion) -> Expansion {
        let mut product = Expansion(Vec::new());
        for a in &self.0 {
            for b in &other.0 {
                let (high, low) = two_product(*a, *b);
                product.grow(low);
                product.grow(high);
            }
        }
        product
    }

    fn sign(&self) -> Ordering {
        let largest = self.0.last().copied().unwrap_or(0.0);
        largest.partial_cmp(&0.0).unwrap_or(Ordering::Equal)
    }
}

/// A directed line through two points.
pub type Directed = (Coord<f64>, Coord<f64>);

fn vector((from, to): Directed) -> (Expansion, Expansion) {
    (Expansion::difference(to.x, from.x), Expansion::difference(to.y, from.y))
}

fn cross((ax, ay): &(Expansion, Expansion), (bx, by): &(Expansion, Expansion)) -> Expansion {
    ax.times(by).minus(&ay.times(bx))
}

/// The sign of the cross product of two directions: `Greater` where `b` is to the left of `a`.
pub fn turn(a: Directed, b: Directed) -> Ordering {
    /// Above the rounding of two differences, a product and a difference.
    const ERROR: f64 = 1e-15;
    let left = (a.1.x - a.0.x) * (b.1.y - b.0.y);
    let right = (a.1.y - a.0.y) * (b.1.x - b.0.x);
    let plain = left - right;
    if plain.abs() > ERROR * (left.abs() + right.abs()) {
        return plain.total_cmp(&0.0);
    }
    cross(&vector(a), &vector(b)).sign()
}

/// The side of a directed line that a point is on: `Greater` on the left.
pub fn side((from, to): Directed, point: Coord<f64>) -> Ordering {
    match <f64 as GeoNum>::Ker::orient2d(from, to, point) {
        Orientation::CounterClockwise => Ordering::Greater,
        Orientation::Clockwise => Ordering::Less,
        Orientation::Collinear => Ordering::Equal,
    }
}

/// The point where two lines that are not parallel cross, kept as the two lines: no double need be there.
#[derive(Debug, Clone)]
pub struct Crossing {
    start: Coord<f64>,
    direction: (Expansion, Expansion),
    /// The crossing is `start + direction * place / scale`.
    place: Expansion,
    scale: Expansion,
    /// Near the crossing, for searches.
    pub about: Coord<f64>,
}

impl Crossing {
    pub fn new(a: Directed, b: Directed) -> Crossing {
        let (direction, other) = (vector(a), vector(b));
        let scale = cross(&direction, &other);
        let place = cross(&vector((a.0, b.0)), &other);
        let value = |number: &Expansion| number.0.iter().sum::<f64>();
        let share = value(&place) / value(&scale);
        let about = Coord {
            x: a.0.x + (a.1.x - a.0.x) * share,
            y: a.0.y + (a.1.y - a.0.y) * share,
        };
        Crossing {
            start: a.0,
            direction,
            place,
            scale,
            about,
        }
    }

    fn signed(&self, number: &Expansion) -> Ordering {
        match self.scale.sign() {
            Ordering::Less => number.sign().reverse(),
            _ => number.sign(),
        }
    }

    /// The crossing's x against a value.
    pub fn x_against(&self, x: f64) -> Ordering {
        let offset = Expansion::difference(self.start.x, x).times(&self.scale);
        self.signed(&offset.plus(&self.direction.0.times(&self.place)))
    }

    /// The crossing's y against a value.
    pub fn y_against(&self, y: f64) -> Ordering {
        let offset = Expansion::difference(self.start.y, y).times(&self.scale);
        self.signed(&offset.plus(&self.direction.1.times(&self.place)))
    }

    /// The side of a directed line that the crossing is on: `Greater` on the left.
    pub fn side_of(&self, line: Directed) -> Ordering {
        let along = vector(line);
        let offset = cross(&along, &vector((line.0, self.start))).times(&self.scale);
        self.signed(&offset.plus(&cross(&along, &self.direction).times(&self.place)))
    }

    pub fn is_at(&self, point: Coord<f64>) -> bool {
        self.x_against(point.x) == Ordering::Equal && self.y_against(point.y) == Ordering::Equal
    }

    /// Whether the crossing is on a segment, ends included.
    pub fn is_on(&self, (a, b): Directed) -> bool {
        self.x_against(a.x.min(b.x)) != Ordering::Less
            && self.x_against(a.x.max(b.x)) != Ordering::Greater
            && self.y_against(a.y.min(b.y)) != Ordering::Less
            && self.y_against(a.y.max(b.y)) != Ordering::Greater
            && self.side_of((a, b)) == Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f64, y: f64) -> Coord<f64> {
        Coord { x, y }
    }

    #[test]
    fn signs_are_exact_where_doubles_are_not() {
        // The cross product is 1 of about 1e32: doubles see 0.
        let large = 9_007_199_254_740_991.0;
        let a = (at(0.0, 0.0), at(large, large - 1.0));
        let b = (at(0.0, 0.0), at(large - 1.0, large - 2.0));
        assert_eq!(turn(a, b), Ordering::Less);
        assert_eq!(turn(b, a), Ordering::Greater);
        assert_eq!(turn(a, a), Ordering::Equal);
    }

    #[test]
    fn a_crossing_that_no_double_holds_is_located_exactly() {
        let crossing = Crossing::new((at(0.0, 0.0), at(3.0, 1.0)), (at(0.0, 1.0), at(3.0, 0.0)));
        assert!(crossing.is_at(at(1.5, 0.5)));
        let third = Crossing::new((at(0.0, 0.0), at(3.0, 1.0)), (at(1.0, 0.0), at(1.0, 1.0)));
        assert_eq!(
            third.y_against(1.0 / 3.0),
            Ordering::Greater,
            "the double is below a third"
        );
        assert!(third.is_on((at(-3.0, -1.0), at(6.0, 2.0))) && !third.is_on((at(-3.0, -1.0), at(0.5, 1.0 / 6.0))));
        assert_eq!(
            third.side_of((at(0.0, 1.0 / 3.0), at(1.0, 1.0 / 3.0))),
            Ordering::Greater
        );
    }
}
