//! How the values of flags are written: lists, URLs, times.

use std::time::Duration;

use crate::server::settings::url::Url;

/// The parts of a list, which commas separate.
pub(in crate::server) fn split(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

pub(in crate::server) fn urls(flag: &str, text: &str) -> Result<Vec<Url>, String> {
    let urls: Vec<Url> = split(text)
        .iter()
        .map(|url| Url::parse(flag, url))
        .collect::<Result<_, _>>()?;
    if urls.is_empty() {
        Err(format!("{flag} is empty: write http://HOST:PORT"))
    } else {
        Ok(urls)
    }
}

/// A time in Go's notation that is not nothing.
pub(in crate::server) fn duration(text: &str) -> Result<Duration, String> {
    match crate::duration::parse(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}
