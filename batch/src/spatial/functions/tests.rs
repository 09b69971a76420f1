use std::collections::BTreeSet;

use datafusion::logical_expr::ScalarUDF;

use super::*;

#[test]
fn names_are_unique_and_lower_case() {
    let mut names = BTreeSet::new();
    for function in scalars() {
        for name in std::iter::once(function.name().to_string()).chain(function.aliases().to_vec()) {
            assert!(name.starts_with("st_") && name == name.to_lowercase(), "{name}");
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    }
    assert!(names.len() >= 80, "{}", names.len());
}

#[test]
fn arguments_are_checked() {
    use arrow::datatypes::DataType::{Binary, BinaryView, Float64, Int32, Null, Utf8};
    let find = |name: &str| -> ScalarUDF { scalars().into_iter().find(|function| function.name() == name).unwrap() };
    let within = find("st_dwithin");
    assert_eq!(
        within.coerce_types(&[Binary, BinaryView, Int32]).unwrap(),
        [Binary, BinaryView, Float64]
    );
    assert_eq!(
        within.coerce_types(&[Null, Binary, Null]).unwrap(),
        [Binary, Binary, Float64]
    );
    let message = |types: &[_]| within.coerce_types(types).unwrap_err().to_string();
    assert!(message(&[Binary, Binary]).contains("st_dwithin takes 3 arguments, not 2"));
    assert!(message(&[Utf8, Binary, Float64]).contains("make one with ST_GeomFromWKT"));
    assert!(message(&[Binary, Binary, Utf8]).contains("argument 3 of st_dwithin must be a number"));
    assert_eq!(
        find("st_point").coerce_types(&[Int32, Int32]).unwrap(),
        [Float64, Float64]
    );
}
