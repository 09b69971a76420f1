//! Reference systems that coordinates can be transformed between, by their EPSG codes.
//!
//! The systems that people use are listed with their parameters, in the notation of PROJ; `proj4rs` computes. Longitude
//! comes before latitude, whatever the order of a system's axes in its definition, as in every file. Only the plane is
//! transformed: z and m stay.
//!
//! # Limits
//! Datums are shifted by three or seven parameters, never by grids, so that OSGB 1936 and the like are right to some
//! metres, as PROJ is without its grids; NAD83, ETRS89, GDA94, GDA2020 and their like are taken as WGS 84, which is right
//! to about a metre. What is not listed is refused.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use proj4rs::Proj;
use proj4rs::transform::transform;

use super::geometry::GeometryError;

/// Between two reference systems.
pub struct Transformation {
    from: System,
    to: System,
}

#[derive(Clone)]
struct System(Rc<(Proj, bool)>);

impl System {
    fn of(code: u32) -> Result<System, GeometryError> {
        thread_local! {
            static KNOWN: RefCell<HashMap<u32, System>> = RefCell::default();
        }
        if let Some(known) = KNOWN.with_borrow(|known| known.get(&code).cloned()) {
            return Ok(known);
        }
        let unknown = || {
            GeometryError::Unsupported(format!(
                "EPSG:{code} is not one of the reference systems that can be transformed (README lists them)"
            ))
        };
        let parameters = parameters(code).ok_or_else(unknown)?;
        let system = Proj::from_proj_string(&parameters)
            .map_err(|error| GeometryError::Unsupported(format!("EPSG:{code} ({parameters}): {error}")))?;
        let degrees = system.is_latlong();
        let system = System(Rc::new((system, degrees)));
        KNOWN.with_borrow_mut(|known| known.insert(code, system.clone()));
        Ok(system)
    }
}

impl Transformation {
    pub fn between(from: u32, to: u32) -> Result<Transformation, GeometryError> {
        Ok(Transformation {
            from: System::of(from)?,
            to: System::of(to)?,
        })
    }

    pub fn apply(&self, x: f64, y: f64) -> Result<(f64, f64), GeometryError> {
        let refused = |why: &str| GeometryError::Unsupported(format!("({x}, {y}) cannot be transformed: {why}"));
        let mut at = (x, y, 0.0);
        if self.from.0.1 {
            // Beyond the poles there is nothing; projections would fold it back.
            if !(-90.0..=90.0).contains(&y) {
                return Err(refused("the latitude is not between -90 and 90"));
            }
            at = (x.to_radians(), y.to_radians(), 0.0);
        }
        transform(&self.from.0.0, &self.to.0.0, &mut at).map_err(|error| refused(&error.to_string()))?;
        if self.to.0.1 {
            at = (at.0.to_degrees(), at.1.to_degrees(), 0.0);
        }
        if at.0.is_finite() && at.1.is_finite() {
            Ok((at.0, at.1))
        } else {
            Err(refused("it is outside of what the projection covers"))
        }
    }
}

/// `EPSG:4326`, `OGC:CRS84` or a bare number.
pub fn code_of(name: &str) -> Result<u32, GeometryError> {
    let upper = name.trim().to_ascii_uppercase();
    if upper == "OGC:CRS84" {
        return Ok(4326);
    }
    let digits = upper.strip_prefix("EPSG:").unwrap_or(&upper);
    digits.parse().map_err(|_| {
        GeometryError::Unsupported(format!(
            "'{name}' is no reference system that is known: write one as EPSG:4326"
        ))
    })
}

const GRS80: &str = "+ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +units=m";

/// The parameters of a system, in PROJ's notation.
fn parameters(code: u32) -> Option<String> {
    // Zones first.
    let utm = |zone: u32, datum: &str, south: bool| {
        Some(format!(
            "+proj=utm +zone={zone} {}{datum}",
            if south { "+south " } else { "" }
        ))
    };
    match code {
        32601..=32660 => return utm(code - 32600, "+datum=WGS84 +units=m", false),
        32701..=32760 => return utm(code - 32700, "+datum=WGS84 +units=m", true),
        25828..=25838 => return utm(code - 25800, GRS80, false),
        26901..=26923 => return utm(code - 26900, GRS80, false),
        // SIRGAS 2000, GDA94 and GDA2020.
        31978..=31985 => return utm(code - 31960, GRS80, true),
        28348..=28358 => return utm(code - 28300, GRS80, true),
        7846..=7859 => return utm(code - 7800, GRS80, true),
        // Gauss-Krüger in Germany, and Pulkovo's zones do not follow the same shift.
        31466..=31469 => {
            let zone = code - 31464;
            return Some(format!(
                "+proj=tmerc +lat_0=0 +lon_0={} +k=1 +x_0={}500000 +y_0=0 +ellps=bessel \
                 +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7 +units=m",
                3 * zone,
                zone
            ));
        }
        // France's conical zones, one a degree.
        3942..=3950 => {
            let latitude = code - 3900;
            return Some(format!(
                "+proj=lcc +lat_0={latitude} +lon_0=3 +lat_1={}.25 +lat_2={}.75 +x_0=1700000 +y_0={}200000 {GRS80}",
                latitude - 1,
                latitude,
                latitude - 41
            ));
        }
        _ => {}
    }
    let fixed = match code {
        4326 | 4979 => "+proj=longlat +datum=WGS84",
        4258 | 4269 | 4283 | 7844 | 4674 | 4167 | 4171 | 6318 | 6668 | 4612 => {
            "+proj=longlat +ellps=GRS80 +towgs84=0,0,0,0,0,0,0"
        }
        4277 => "+proj=longlat +ellps=airy +towgs84=446.448,-125.157,542.06,0.15,0.247,0.842,-20.489",
        4289 => {
            "+proj=longlat +ellps=bessel +towgs84=565.4171,50.3319,465.5524,-0.398957388243134,0.343987817378283,-1.87740163998045,4.0725"
        }
        3857 | 3785 | 900_913 => {
            "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m +nadgrids=@null"
        }
        3395 => "+proj=merc +lon_0=0 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        4087 => "+proj=eqc +lat_ts=0 +lat_0=0 +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        6933 => "+proj=cea +lat_ts=30 +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        3035 => "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +units=m",
        3034 => {
            "+proj=lcc +lat_0=52 +lon_0=10 +lat_1=35 +lat_2=65 +x_0=4000000 +y_0=2800000 +ellps=GRS80 \
             +towgs84=0,0,0,0,0,0,0 +units=m"
        }
        // France, Great Britain, the Netherlands, Switzerland, Poland, Sweden, Finland, Ireland.
        2154 => {
            "+proj=lcc +lat_0=46.5 +lon_0=3 +lat_1=49 +lat_2=44 +x_0=700000 +y_0=6600000 +ellps=GRS80 \
             +towgs84=0,0,0,0,0,0,0 +units=m"
        }
        27700 => {
            "+proj=tmerc +lat_0=49 +lon_0=-2 +k=0.9996012717 +x_0=400000 +y_0=-100000 +ellps=airy \
             +towgs84=446.448,-125.157,542.06,0.15,0.247,0.842,-20.489 +units=m"
        }
        28992 => {
            "+proj=sterea +lat_0=52.1561605555556 +lon_0=5.38763888888889 +k=0.9999079 +x_0=155000 +y_0=463000 \
             +ellps=bessel +towgs84=565.4171,50.3319,465.5524,-0.398957388243134,0.343987817378283,-1.87740163998045,4.0725 +units=m"
        }
        2056 => {
            "+proj=somerc +lat_0=46.9524055555556 +lon_0=7.43958333333333 +k_0=1 +x_0=2600000 +y_0=1200000 \
             +ellps=bessel +towgs84=674.374,15.056,405.346,0,0,0,0 +units=m"
        }
        21781 => {
            "+proj=somerc +lat_0=46.9524055555556 +lon_0=7.43958333333333 +k_0=1 +x_0=600000 +y_0=200000 \
             +ellps=bessel +towgs84=674.374,15.056,405.346,0,0,0,0 +units=m"
        }
        2180 => {
            "+proj=tmerc +lat_0=0 +lon_0=19 +k=0.9993 +x_0=500000 +y_0=-5300000 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 \
             +units=m"
        }
        3006 => "+proj=utm +zone=33 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +units=m",
        3067 => "+proj=utm +zone=35 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +units=m",
        2157 => {
            "+proj=tmerc +lat_0=53.5 +lon_0=-8 +k=0.99982 +x_0=600000 +y_0=750000 +ellps=GRS80 \
             +towgs84=0,0,0,0,0,0,0 +units=m"
        }
        // North America: Albers and Lambert conical systems of whole countries.
        5070 => {
            "+proj=aea +lat_0=23 +lon_0=-96 +lat_1=29.5 +lat_2=45.5 +x_0=0 +y_0=0 +ellps=GRS80 \
             +towgs84=0,0,0,0,0,0,0 +units=m"
        }
        3338 => {
            "+proj=aea +lat_0=50 +lon_0=-154 +lat_1=55 +lat_2=65 +x_0=0 +y_0=0 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 \
             +units=m"
        }
        3978 => {
            "+proj=lcc +lat_0=49 +lon_0=-95 +lat_1=49 +lat_2=77 +x_0=0 +y_0=0 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 \
             +units=m"
        }
        3347 => {
            "+proj=lcc +lat_0=63.390675 +lon_0=-91.8666666666667 +lat_1=49 +lat_2=77 +x_0=6200000 +y_0=3000000 \
             +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +units=m"
        }
        3310 => {
            "+proj=aea +lat_0=0 +lon_0=-120 +lat_1=34 +lat_2=40.5 +x_0=0 +y_0=-4000000 +ellps=GRS80 \
             +towgs84=0,0,0,0,0,0,0 +units=m"
        }
        // New Zealand, Australia.
        2193 => {
            "+proj=tmerc +lat_0=0 +lon_0=173 +k=0.9996 +x_0=1600000 +y_0=10000000 +ellps=GRS80 \
             +towgs84=0,0,0,0,0,0,0 +units=m"
        }
        3577 | 9473 => {
            "+proj=aea +lat_0=0 +lon_0=132 +lat_1=-18 +lat_2=-36 +x_0=0 +y_0=0 +ellps=GRS80 \
             +towgs84=0,0,0,0,0,0,0 +units=m"
        }
        // The poles.
        3031 => "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        3413 => "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        3995 => "+proj=stere +lat_0=90 +lat_ts=71 +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        3571 => "+proj=laea +lat_0=90 +lon_0=180 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        6931 => "+proj=laea +lat_0=90 +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        6932 => "+proj=laea +lat_0=-90 +lon_0=0 +x_0=0 +y_0=0 +datum=WGS84 +units=m",
        _ => return None,
    };
    Some(fixed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_those_of_proj() {
        // Computed with PROJ 9 (longitude, latitude to the system), without grids.
        type At = (f64, f64);
        let cases: &[(u32, At, At)] = &[
            (2154, (2.3522, 48.8566), (652469.0227091359, 6862035.259420079)),
            (32633, (12.5, 41.9), (292624.8752543277, 4641695.877909009)),
            (3857, (-58.3816, -34.6037), (-6499009.98369658, -4110155.126083804)),
            (32601, (-176.63, 41.79), (530743.0871035851, 4626526.744281062)),
            (32660, (177.37, 41.79), (530743.0871035872, 4626526.744281062)),
            (32733, (15.37, -40.21), (531486.1629407286, 5548868.777461246)),
            (25832, (9.37, 60.06), (520600.28917013935, 6658150.923309304)),
            (26910, (-122.62, 55.96), (523724.17702289054, 6201692.901992078)),
            (31983, (-44.63, -14.4), (539886.7529455536, 8408002.915568871)),
            (28355, (147.38, -30.27), (536550.6343298883, 6651234.747142542)),
            (7855, (147.38, -30.27), (536550.6343298883, 6651234.747142542)),
            (31467, (9.37, 50.97), (3526063.469514886, 5648373.85460747)),
            (3949, (2.05, 48.79), (1630202.3352838117, 8177085.0507907)),
            (4258, (11.32, 58.79), (11.32, 58.79)),
            (4277, (-3.13, 55.17), (-3.1286010448050536, 55.169963873297135)),
            (4289, (5.58, 52.02), (5.580464161211741, 52.02097266168891)),
            (3395, (12.87, 41.69), (1432681.8465094308, 5086229.162159121)),
            (4087, (12.87, 41.69), (1432681.8465094308, 4640909.571171574)),
            (6933, (12.87, 41.69), (1241778.426829038, 4871112.744320547)),
            (3035, (5.0, 54.46), (3996957.1322276024, 3494961.5200510765)),
            (3034, (5.0, 54.46), (3686491.1346472735, 3075229.089397577)),
            (27700, (-3.13, 55.17), (328119.11281806853, 586770.7601380282)),
            (28992, (5.58, 52.02), (168233.8382042533, 447978.44504832075)),
            (2056, (8.59, 46.6), (2688218.4803104694, 1161617.5309785607)),
            (21781, (8.59, 46.6), (688218.4803104696, 161617.53097856074)),
            (2180, (19.52, 52.26), (535480.3254449735, 488346.4352891119)),
            (3006, (17.47, 61.8), (630196.8428176171, 6854374.092304653)),
            (3067, (25.71, 64.26), (437493.53857138613, 7126621.074338981)),
            (2157, (-7.58, 53.2), (628062.0382712814, 716700.5135665435)),
            (5070, (-95.48, 36.69), (46033.31431346671, 1516149.4812301733)),
            (3338, (175.37, 61.14), (-1586226.5967544876, 1612217.6340431592)),
            (3978, (-90.5, 62.12), (227654.44130803444, 1441719.0680910859)),
            (3347, (-90.5, 62.12), (6269191.883388912, 2863394.0702314824)),
            (3310, (-118.91, 37.06), (96790.0337916521, -105756.72439688072)),
            (2193, (172.87, -40.93), (1589055.2407885662, 5469005.420443744)),
            (3577, (133.64, -26.99), (160797.6771035467, -2926731.2306829714)),
            (3031, (40.37, -75.21), (1046452.9211403236, 1230883.2163291902)),
            (3413, (40.37, 77.79), (1323170.7107181763, -107157.11253507585)),
            (3995, (40.37, 77.79), (862432.1221141631, -1014429.988094172)),
            (3571, (-169.63, 64.79), (502465.6306282188, -2745816.45278356)),
            (6931, (40.37, 77.79), (881547.3731303978, -1036914.1736475589)),
            (6932, (40.37, -75.21), (1066801.5602158725, 1254818.1662989797)),
        ];
        let mut wrong = Vec::new();
        for (code, from, (x, y)) in cases {
            let made = Transformation::between(4326, *code).and_then(|forth| forth.apply(from.0, from.1));
            let back = made
                .clone()
                .and_then(|made| Transformation::between(*code, 4326)?.apply(made.0, made.1));
            let near = |at: &Result<At, GeometryError>, (x, y): At, tolerance: f64| {
                at.as_ref().is_ok_and(|at| (at.0 - x).hypot(at.1 - y) < tolerance)
            };
            // A millimetre, or its like in degrees; seven parameters are inverted to a few of them.
            let tolerance = if x.abs() <= 180.0 { 1e-8 } else { 1e-3 };
            if !near(&made, (*x, *y), tolerance) || !near(&back, *from, 1e-7) {
                wrong.push(format!(
                    "EPSG:{code} {made:?} for ({x}, {y}), back {back:?} for {from:?}"
                ));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn what_cannot_be_transformed_is_refused() {
        let error = |result: Result<Transformation, GeometryError>| result.map(|_| ()).unwrap_err().to_string();
        assert!(error(Transformation::between(4326, 2039)).contains("EPSG:2039 is not one"));
        assert!(code_of("WGS84").is_err());
        assert_eq!((code_of("epsg:3857"), code_of("4326")), (Ok(3857), Ok(4326)));
        let mercator = Transformation::between(4326, 3857).unwrap();
        assert!(mercator.apply(0.0, 90.5).is_err());
        assert!(mercator.apply(0.0, 90.0).is_err());
    }
}
