//! Range: what is selected, in which order, and how much of it is shown.

use std::cmp::Ordering;
use std::sync::Arc;

use coordinator_wire::etcdserverpb::range_request::{SortOrder, SortTarget};
use coordinator_wire::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use coordinator_wire::mvccpb::KeyValue;

use super::archive::ArchiveError;
use super::bounds::Bounds;
use super::kv::{Selection, Store};
use super::version::Version;
use crate::Error;

/// A range request after the store was asked and before the values are loaded.
#[derive(Debug)]
pub struct RangePlan {
    /// `None` where only the count was asked for.
    selection: Option<Selection>,
    total: usize,
    /// The revision that the answer's header names.
    revision: i64,
}

impl RangePlan {
    /// Selects under the store's lock. `revision` is what the header of the answer is to say.
    ///
    /// # Errors
    /// [`Error::FutureRevision`] and [`Error::Compacted`] for a revision that cannot be read.
    pub fn new(store: &Store, request: &RangeRequest, revision: i64) -> Result<Self, Error> {
        store.check_revision(request.revision)?;
        let bounds = Bounds::new(&request.key, &request.range_end);
        if request.count_only {
            return Ok(Self {
                selection: None,
                total: store.count(&bounds, request.revision),
                revision,
            });
        }
        // One more than asked for shows whether there is more. What is sorted or filtered is needed whole.
        let limit = match usize::try_from(request.limit) {
            Ok(limit) if limit > 0 && !needs_all(request) => limit + 1,
            _ => 0,
        };
        let selection = store.select(&bounds, request.revision, limit);
        Ok(Self {
            total: selection.total,
            selection: Some(selection),
            revision,
        })
    }

    /// How many versions are to be loaded from the archive.
    pub fn archived(&self) -> usize {
        self.selection.as_ref().map_or(0, Selection::archived)
    }

    /// Loads, filters, sorts and cuts; the store is not needed any more.
    pub fn answer(self, request: &RangeRequest) -> Result<RangeResponse, ArchiveError> {
        let mut versions = match self.selection {
            Some(selection) => selection.load()?,
            None => Vec::new(),
        };
        if has_filter(request) {
            versions.retain(|version| passes(request, &version.kv));
        }
        sort(request, &mut versions);
        let mut more = false;
        if let Ok(limit @ 1..) = usize::try_from(request.limit)
            && versions.len() > limit
        {
            versions.truncate(limit);
            more = true;
        }
        let kvs = versions
            .iter()
            .map(|version| shown(request.keys_only, version))
            .collect();
        Ok(RangeResponse {
            header: Some(ResponseHeader {
                revision: self.revision,
                ..Default::default()
            }),
            kvs,
            more,
            count: i64::try_from(self.total).unwrap_or(i64::MAX),
        })
    }
}

/// The answer to a range, piece by piece.
#[derive(Debug)]
pub struct RangeChunks {
    rest: Option<Selection>,
    keys_only: bool,
    /// Pairs that may still be shown.
    left: usize,
    total: usize,
    revision: i64,
}

impl RangePlan {
    /// The answer piece by piece, of a request without an order or a filter; those need all pairs at once.
    ///
    /// # Errors
    /// Which of them the request has.
    pub fn chunks(self, request: &RangeRequest) -> Result<RangeChunks, &'static str> {
        if sort_order(request).is_some() {
            return Err("custom sort orders");
        }
        if has_filter(request) {
            return Err("revision filters");
        }
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        Ok(RangeChunks {
            rest: self.selection,
            keys_only: request.keys_only,
            left: limit.unwrap_or(usize::MAX),
            total: self.total,
            revision: self.revision,
        })
    }
}

impl RangeChunks {
    /// The next pairs, of `bytes` together or somewhat more, and whether they are the last. Only the last piece says how
    /// many there are, at which revision.
    ///
    /// # Errors
    /// Where the archive cannot be read.
    pub fn next(&mut self, bytes: usize) -> Result<(RangeResponse, bool), ArchiveError> {
        let (mut kvs, mut shown_bytes) = (Vec::new(), 0);
        while self.left > 0 && shown_bytes < bytes {
            let Some(version) = self.rest.as_mut().and_then(Selection::load_next).transpose()? else {
                break;
            };
            let kv = shown(self.keys_only, &version);
            shown_bytes += kv.key.len() + kv.value.len();
            kvs.push(kv);
            self.left -= 1;
        }
        let remaining = self.rest.as_ref().map_or(0, Selection::len);
        let is_last = self.left == 0 || remaining == 0;
        let mut piece = RangeResponse {
            kvs,
            ..Default::default()
        };
        if is_last {
            piece.header = Some(ResponseHeader {
                revision: self.revision,
                ..Default::default()
            });
            piece.more = remaining > 0;
            piece.count = i64::try_from(self.total).unwrap_or(i64::MAX);
        }
        Ok((piece, is_last))
    }
}

fn shown(keys_only: bool, version: &Arc<Version>) -> KeyValue {
    let mut kv = version.kv.clone();
    if keys_only {
        kv.value.clear();
    }
    kv
}

/// The order asked for; a target without an order means ascending, the keys' own order means no sorting.
fn sort_order(request: &RangeRequest) -> Option<SortOrder> {
    match (request.sort_order(), request.sort_target()) {
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => None,
        (SortOrder::None, _) => Some(SortOrder::Ascend),
        (order, _) => Some(order),
    }
}

fn needs_all(request: &RangeRequest) -> bool {
    sort_order(request).is_some() || has_filter(request)
}

fn has_filter(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    let within = |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(
            kv.create_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
}

fn sort(request: &RangeRequest, versions: &mut [Arc<Version>]) {
    let Some(order) = sort_order(request) else { return };
    let target = request.sort_target();
    let ascending = |a: &KeyValue, b: &KeyValue| -> Ordering {
        match target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        }
    };
    // Stable, so that equal ones stay in the order of their keys.
    match order {
        SortOrder::Descend => versions.sort_by(|a, b| ascending(&b.kv, &a.kv)),
        _ => versions.sort_by(|a, b| ascending(&a.kv, &b.kv)),
    }
}
