//! `bonsai demo flights`: real flights through all five services, to a table and a map.
//!
//! The departures of New York's three airports in 2013 are replayed in the order of landing ([`landing`], [`replay`])
//! into the log. A stream job counts and averages them by hour of departure, which is hours before the landing, so some
//! come too late; its windows end as parquet files in the file system. A batch job finds for every zip code in the
//! country the nearest airport that is served, and the county around it. The result is a table ([`county`]) and a map
//! ([`crate::map`]). The coordinator sees to it that there is one such demo at a time ([`registry`]).
//!
//! The jobs are child processes ([`job`]), the services are whatever stack runs in the directory, or one that is started
//! for the demo. Any of them may be killed on the way: what was acknowledged is not lost, so the result is the same.

mod county;
mod data;
mod error;
mod files;
mod flights;
mod job;
mod landing;
mod patience;
mod registry;
mod replay;
mod story;

pub use flights::{FlightsArgs, flights};
