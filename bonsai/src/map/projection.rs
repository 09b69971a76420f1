//! From degrees to paper: Albers' equal-area conic projection, one for the contiguous states and one each for Alaska,
//! Hawaii and Puerto Rico, which get boxes of their own below. Equal area, because a reader compares coloured areas.
//!
//! Snyder, *Map Projections: A Working Manual* (USGS 1395), equations 14-1 to 14-6, on the sphere.

/// A point on paper, y downwards.
pub type Point = (f64, f64);

/// Albers' projection around a centre.
#[derive(Debug, Clone, Copy)]
struct Albers {
    /// The cone's constant n, C and ρ₀ of Snyder.
    cone: f64,
    constant: f64,
    rho_origin: f64,
    longitude_origin: f64,
}

impl Albers {
    /// In degrees: the centre, and the two parallels that are true to scale.
    fn new(longitude: f64, latitude: f64, parallels: (f64, f64)) -> Self {
        let (first, second) = (parallels.0.to_radians(), parallels.1.to_radians());
        let cone = (first.sin() + second.sin()) / 2.0;
        let constant = first.cos().powi(2) + 2.0 * cone * first.sin();
        let rho_origin = (constant - 2.0 * cone * latitude.to_radians().sin()).sqrt() / cone;
        Self {
            cone,
            constant,
            rho_origin,
            longitude_origin: longitude,
        }
    }

    /// In earth radii from the centre, y upwards.
    fn project(&self, longitude: f64, latitude: f64) -> Point {
        let rho = (self.constant - 2.0 * self.cone * latitude.to_radians().sin())
            .max(0.0)
            .sqrt()
            / self.cone;
        // The short way round, so that the Aleutians beyond 180° stay with Alaska.
        let mut degrees = longitude - self.longitude_origin;
        if degrees > 180.0 {
            degrees -= 360.0;
        } else if degrees < -180.0 {
            degrees += 360.0;
        }
        let theta = self.cone * degrees.to_radians();
        (rho * theta.sin(), self.rho_origin - rho * theta.cos())
    }
}

/// Which part of the picture a place belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Contiguous,
    Alaska,
    Hawaii,
    PuertoRico,
}

impl Part {
    pub const BOXES: [Self; 3] = [Self::Alaska, Self::Hawaii, Self::PuertoRico];

    /// By the state's number, the first two digits of a county's; `None` for the islands that the map leaves out.
    pub fn of_fips(fips: &str) -> Option<Self> {
        match fips.get(..2)? {
            "02" => Some(Self::Alaska),
            "15" => Some(Self::Hawaii),
            "72" => Some(Self::PuertoRico),
            "60" | "66" | "69" | "78" => None,
            _ => Some(Self::Contiguous),
        }
    }

    pub fn of_place(longitude: f64, latitude: f64) -> Option<Self> {
        match (longitude, latitude) {
            (-125.0..=-66.0, 24.0..=50.0) => Some(Self::Contiguous),
            (_, 51.0..=72.0) if !(-129.0..=170.0).contains(&longitude) => Some(Self::Alaska),
            (-161.0..=-154.0, 18.0..=23.0) => Some(Self::Hawaii),
            (-68.0..=-65.0, 17.5..=19.0) => Some(Self::PuertoRico),
            _ => None,
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Contiguous => "Contiguous states",
            Self::Alaska => "Alaska",
            Self::Hawaii => "Hawaii",
            Self::PuertoRico => "Puerto Rico",
        }
    }
}

/// A part's place on paper.
#[derive(Debug, Clone, Copy)]
struct Placed {
    albers: Albers,
    /// Paper units per earth radius.
    scale: f64,
    centre: Point,
}

/// The whole sheet.
#[derive(Debug, Clone)]
pub struct Sheet {
    contiguous: Placed,
    alaska: Placed,
    hawaii: Placed,
    puerto_rico: Placed,
}

impl Sheet {
    pub const WIDTH: f64 = 1600.0;
    pub const HEIGHT: f64 = 1060.0;

    pub fn new() -> Self {
        let placed = |longitude, latitude, parallels, scale, centre| Placed {
            albers: Albers::new(longitude, latitude, parallels),
            scale,
            centre,
        };
        Self {
            contiguous: placed(-96.0, 38.2, (29.5, 45.5), 1760.0, (800.0, 530.0)),
            alaska: placed(-154.0, 62.0, (55.0, 65.0), 460.0, (204.0, 888.0)),
            hawaii: placed(-157.4, 20.5, (8.0, 18.0), 1500.0, (420.0, 930.0)),
            puerto_rico: placed(-66.4, 18.2, (17.0, 19.0), 3600.0, (1472.0, 952.0)),
        }
    }

    pub fn place(&self, part: Part, longitude: f64, latitude: f64) -> Point {
        let placed = match part {
            Part::Contiguous => &self.contiguous,
            Part::Alaska => &self.alaska,
            Part::Hawaii => &self.hawaii,
            Part::PuertoRico => &self.puerto_rico,
        };
        let (x, y) = placed.albers.project(longitude, latitude);
        (placed.centre.0 + placed.scale * x, placed.centre.1 - placed.scale * y)
    }

    /// x, y, width and height of a part's box.
    pub fn frame(part: Part) -> (f64, f64, f64, f64) {
        match part {
            Part::Contiguous => (40.0, 110.0, 1520.0, 830.0),
            Part::Alaska => (40.0, 772.0, 280.0, 220.0),
            Part::Hawaii => (332.0, 862.0, 176.0, 130.0),
            Part::PuertoRico => (1380.0, 896.0, 180.0, 96.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Snyder's numerical example for the sphere (p. 291): φ₁ = 29.5°, φ₂ = 45.5°, φ₀ = 23°, λ₀ = -96°; 35° N, 75° W.
    #[test]
    fn agrees_with_snyders_example() {
        let (x, y) = Albers::new(-96.0, 23.0, (29.5, 45.5)).project(-75.0, 35.0);
        assert!((x - 0.295_272_0).abs() < 1e-7, "{x}");
        assert!((y - 0.241_677_4).abs() < 1e-7, "{y}");
    }

    #[test]
    fn places_of_each_part_lie_in_its_frame() {
        let sheet = Sheet::new();
        let places = [
            (-124.7, 48.3),
            (-67.0, 44.8),
            (-81.0, 25.2),
            (-97.2, 25.9),
            (-149.9, 61.2),
            (-156.8, 71.3),
            (-130.0, 55.0),
            (172.9, 52.9),
            (-159.4, 22.0),
            (-155.1, 19.0),
            (-66.1, 18.4),
            (-67.2, 18.0),
        ];
        for (longitude, latitude) in places {
            let part = Part::of_place(longitude, latitude).unwrap();
            let (x, y) = sheet.place(part, longitude, latitude);
            let frame = Sheet::frame(part);
            let inside = x > frame.0 && x < frame.0 + frame.2 && y > frame.1 && y < frame.1 + frame.3;
            assert!(inside, "{longitude} {latitude} → {x} {y}, outside {part:?}");
        }
    }
}
