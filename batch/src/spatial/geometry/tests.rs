use super::*;

const TEXTS: [&str; 20] = [
    "POINT(1 2)",
    "POINT EMPTY",
    "POINT Z (1 2 3)",
    "LINESTRING(0 0,3 4.5)",
    "LINESTRING EMPTY",
    "LINESTRING ZM (0 0 1 2,1 1 3 4)",
    "POLYGON((0 0,4 0,4 4,0 4,0 0),(1 1,3 1,3 3,1 3,1 1))",
    "POLYGON EMPTY",
    "MULTIPOINT((1 1),(9 9))",
    "MULTIPOINT EMPTY",
    "MULTIPOINT(EMPTY,(1 1))",
    "MULTILINESTRING((0 0,1 0),(5 5,5 9))",
    "MULTILINESTRING EMPTY",
    "MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,7 5,7 7,5 5)))",
    "MULTIPOLYGON EMPTY",
    "GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,4 4))",
    "GEOMETRYCOLLECTION(GEOMETRYCOLLECTION(POINT EMPTY),POLYGON EMPTY)",
    "GEOMETRYCOLLECTION EMPTY",
    "POINT(0.1 -1500000000000000)",
    "POINT M (1 2 3)",
];

#[test]
fn text_reads_back() {
    for text in TEXTS {
        let bytes = from_wkt(text).unwrap();
        assert_eq!(to_wkt(&bytes).unwrap(), text);
    }
    let bytes = from_wkt("srid=4326; multipoint ( 1e0 1 , (+2 .2e1) )").unwrap();
    assert_eq!(to_wkt(&bytes).unwrap(), "MULTIPOINT((1 1),(2 2))");
    assert_eq!(Shape::decode(&bytes).unwrap().srid, 4326);
    assert_eq!(to_wkt(&from_wkt("POINTZ(1 2 3)").unwrap()).unwrap(), "POINT Z (1 2 3)");
}

#[test]
fn every_encoding_decodes_to_the_same_shape() {
    for text in TEXTS.iter().filter(|text| !text.contains(" Z") && !text.contains(" M")) {
        let bytes = from_wkt(text).unwrap();
        let shape = Shape::decode(&bytes).unwrap();
        let again = Shape::decode(&wkb::encode(&shape.geometry, 7)).unwrap();
        assert_eq!(again.geometry, shape.geometry, "{text}");
        assert_eq!(again.srid, 7);
        assert_eq!(bounds(&bytes).unwrap(), shape.bounds);
        let flipped = Shape::decode(&big_endian_point(1.0, 2.0)).unwrap();
        assert_eq!(flipped.bounds, Some(Bounds::of_point(1.0, 2.0)));
    }
}

fn big_endian_point(x: f64, y: f64) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, 1];
    out.extend_from_slice(&x.to_be_bytes());
    out.extend_from_slice(&y.to_be_bytes());
    out
}

#[test]
fn geojson_reads_back() {
    for text in TEXTS
        .iter()
        .filter(|text| !text.contains('M') || text.starts_with("MULTI"))
    {
        let bytes = from_wkt(text).unwrap();
        let json = to_geojson(&bytes).unwrap();
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
        // An empty point has no dimensions in GeoJSON, all others come back byte for byte.
        assert_eq!(from_geojson(&json).unwrap().len(), bytes.len(), "{text} {json}");
    }
    assert!(from_geojson(r#"{"type":"Point","coordinates":[1]}"#).is_err());
    assert!(from_geojson(r#"{"type":"Circle"}"#).is_err());
    assert!(from_geojson("[").is_err());
}

#[test]
fn bad_text_is_refused() {
    let nested = format!("{}POINT(1 1){}", "GEOMETRYCOLLECTION(".repeat(100), ")".repeat(100));
    let bad = [
        "",
        "SPHERE(1 2)",
        "POINT(1)",
        "POINT(1 2",
        "POINT(1 2))",
        "POINT(a b)",
        "LINESTRING(0 0, 1)",
        "POINT(nan nan)",
    ];
    for text in bad.into_iter().chain([
        nested.as_str(),
        "POLYGON(0 0, 1 1)",
        "SRID=x;POINT(1 1)",
        "POINT Q (1 2)",
    ]) {
        assert!(matches!(from_wkt(text), Err(GeometryError::Wkt { .. })), "{text}");
    }
}

#[test]
fn bad_bytes_are_refused() {
    // A line string that counts four billion points, and the same for each kind that counts.
    for kind in 2u8..=7 {
        let bytes = [1, kind, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(matches!(Shape::decode(&bytes), Err(GeometryError::Wkb { .. })));
    }
    // Collections in collections, each honest about its count.
    let mut nested = Vec::new();
    for _ in 0..100_000 {
        nested.extend_from_slice(&[1, 7, 0, 0, 0, 1, 0, 0, 0]);
    }
    assert!(Shape::decode(&nested).is_err());
    for text in TEXTS {
        let bytes = from_wkt(text).unwrap();
        for cut in 0..bytes.len() {
            assert!(Shape::decode(&bytes[..cut]).is_err(), "{text} cut at {cut}");
            assert!(bounds(&bytes[..cut]).is_err());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Shape::decode(&longer).is_err());
    }
}

#[test]
fn not_finite_matches_nothing() {
    let shape = Shape::decode(&wkb::point(f64::INFINITY, 1.0)).unwrap();
    assert!(!shape.finite && !shape.matchable() && !shape.is_empty());
    assert_eq!(bounds(&wkb::point(f64::INFINITY, 1.0)).unwrap(), None);
    assert!(Shape::decode(&wkb::point(f64::NAN, f64::NAN)).unwrap().is_empty());
}

#[test]
fn srid_is_set_and_taken_away() {
    let bytes = from_wkt("LINESTRING(0 0,1 1)").unwrap();
    let with = wkb::with_srid(&bytes, 4326).unwrap();
    assert_eq!(Shape::decode(&with).unwrap().srid, 4326);
    assert_eq!(wkb::with_srid(&with, 0).unwrap(), bytes);
}

proptest::proptest! {
    #[test]
    fn no_bytes_crash_the_reader(mut bytes in proptest::collection::vec(0u8..8, 0..200), order in 0u8..2) {
        if let Some(first) = bytes.first_mut() {
            *first = order;
        }
        let _ = Shape::decode(&bytes);
        let _ = to_wkt(&bytes);
        let _ = to_geojson(&bytes);
    }
}
