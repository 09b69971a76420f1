//! The real data, inside the program, so that the demo works wherever the one file is.
//!
//! Where it comes from and under which licences: `examples/data/README.md`.

use bytes::Bytes;

/// A file of `examples/data`.
#[derive(Debug, Clone)]
pub struct DataFile {
    pub name: &'static str,
    pub contents: Bytes,
}

macro_rules! data_file {
    ($name:literal) => {
        DataFile {
            name: $name,
            contents: Bytes::from_static(include_bytes!(concat!("../../../examples/data/", $name))),
        }
    };
}

pub fn flights(year: bool) -> DataFile {
    if year {
        data_file!("flights_2013.parquet")
    } else {
        data_file!("flights_2013_01.parquet")
    }
}

pub fn airports() -> DataFile {
    data_file!("airports.parquet")
}

pub fn zipcodes() -> DataFile {
    data_file!("zipcodes.parquet")
}

pub fn counties() -> DataFile {
    data_file!("counties.parquet")
}
