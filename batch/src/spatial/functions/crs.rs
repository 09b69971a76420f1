//! The coordinate reference system of a column, in its field's metadata.
//!
//! GeoArrow keeps it there as `{"crs": …}` under `ARROW:extension:metadata`: PROJJSON as files have it, or an
//! authority's code as text. A geometry can also carry an SRID in its bytes (EWKB), which then counts. SRIDs are EPSG
//! codes; OGC:CRS84 differs from EPSG:4326 only in the order of axes, which is x, y in every file, so both are 4326.

use std::collections::HashMap;

use arrow::datatypes::Field;
use serde_json::{Value, json};

use super::scalar::GEOMETRY_EXTENSION;

const METADATA: &str = "ARROW:extension:metadata";
/// The SRID of longitude and latitude on WGS 84.
const WGS_84: u32 = 4326;

/// A reference system.
#[derive(Debug, Clone, PartialEq)]
pub struct Crs {
    name: String,
    /// 0: it has no EPSG code.
    srid: u32,
    /// As GeoArrow and GeoParquet write it.
    value: Value,
}

impl Crs {
    /// `None` for 0, which stands for none.
    pub fn of_srid(srid: u32) -> Option<Crs> {
        (srid != 0).then(|| Crs {
            name: format!("EPSG:{srid}"),
            srid,
            value: Value::String(format!("EPSG:{srid}")),
        })
    }

    /// Longitude and latitude, the default of GeoParquet.
    pub fn longitude_latitude() -> Crs {
        Crs {
            name: "OGC:CRS84".into(),
            srid: WGS_84,
            value: Value::String("OGC:CRS84".into()),
        }
    }

    /// Of PROJJSON or of an authority's code; `None` for null.
    pub fn of_value(value: Value) -> Option<Crs> {
        match &value {
            Value::Null => None,
            Value::String(text) => match serde_json::from_str::<Value>(text) {
                Ok(inner @ Value::Object(_)) => Crs::of_value(inner),
                _ => {
                    let name = text.to_ascii_uppercase();
                    Some(Crs {
                        srid: srid_of(&name),
                        name,
                        value,
                    })
                }
            },
            other => {
                let id = &other["id"];
                let code = match &id["code"] {
                    Value::Number(number) => number.to_string(),
                    Value::String(text) => text.clone(),
                    _ => String::new(),
                };
                let name = match (id["authority"].as_str(), code.as_str()) {
                    (Some(authority), code) if !code.is_empty() => format!("{authority}:{code}").to_ascii_uppercase(),
                    _ => other["name"]
                        .as_str()
                        .unwrap_or("an unnamed reference system")
                        .to_owned(),
                };
                Some(Crs {
                    srid: srid_of(&name),
                    name,
                    value,
                })
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn srid(&self) -> u32 {
        self.srid
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether geometries of both may be compared: one that is not known goes with any.
    pub fn compatible(a: Option<&Crs>, b: Option<&Crs>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a.srid != 0 && a.srid == b.srid) || a.name == b.name,
            _ => true,
        }
    }
}

fn srid_of(name: &str) -> u32 {
    match name {
        "OGC:CRS84" => WGS_84,
        name => name
            .strip_prefix("EPSG:")
            .and_then(|code| code.parse().ok())
            .unwrap_or(0),
    }
}

/// The reference system of a geometry column, `Some(None)` where it has none; `None`: the column is no geometry.
pub fn geometry_crs(field: &Field) -> Option<Option<Crs>> {
    let (key, name) = GEOMETRY_EXTENSION;
    if field.metadata().get(key).is_none_or(|value| value != name) {
        return None;
    }
    let metadata = field.metadata().get(METADATA);
    let value = metadata.and_then(|text| serde_json::from_str::<Value>(text).ok());
    Some(value.and_then(|mut value| Crs::of_value(value["crs"].take())))
}

/// Marks a field as geometry in a reference system.
pub fn with_geometry(field: Field, crs: Option<&Crs>) -> Field {
    let (key, name) = GEOMETRY_EXTENSION;
    let mut metadata: HashMap<String, String> = field.metadata().clone();
    metadata.insert(key.to_owned(), name.to_owned());
    metadata.remove(METADATA);
    if let Some(crs) = crs {
        metadata.insert(METADATA.to_owned(), json!({ "crs": crs.value }).to_string());
    }
    field.with_metadata(metadata)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn a_reference_system_survives_its_field() {
        let file = json!({"type": "GeographicCRS", "name": "WGS 84", "id": {"authority": "EPSG", "code": 4326}});
        let crs = Crs::of_value(file.clone()).unwrap();
        assert_eq!((crs.name(), crs.srid()), ("EPSG:4326", 4326));
        let field = with_geometry(Field::new("g", DataType::Binary, true), Some(&crs));
        assert_eq!(geometry_crs(&field).unwrap().unwrap().value(), &file);
        assert_eq!(geometry_crs(&with_geometry(field, None)), Some(None));
        assert_eq!(geometry_crs(&Field::new("g", DataType::Binary, true)), None);
    }

    #[test]
    fn what_is_the_same_and_what_is_not() {
        let of = |text: &str| Crs::of_value(Value::String(text.into()));
        assert!(Crs::compatible(of("OGC:CRS84").as_ref(), of("epsg:4326").as_ref()));
        assert!(!Crs::compatible(of("EPSG:3857").as_ref(), of("EPSG:4326").as_ref()));
        assert!(Crs::compatible(None, of("EPSG:4326").as_ref()));
        let unnamed = Crs::of_value(json!({"name": "local grid"}));
        assert!(!Crs::compatible(unnamed.as_ref(), of("EPSG:4326").as_ref()));
        assert!(Crs::compatible(unnamed.as_ref(), unnamed.as_ref()));
    }
}
