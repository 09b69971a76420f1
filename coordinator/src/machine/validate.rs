//! What can be refused without looking at any state, before it costs a place in the log.

use std::collections::BTreeSet;

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request;

use crate::Error;
use crate::store::Bounds;

/// Checks a range request.
pub fn range(request: &pb::RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let known = SortOrder::try_from(request.sort_order).is_ok() && SortTarget::try_from(request.sort_target).is_ok();
    if known { Ok(()) } else { Err(Error::InvalidSortOption) }
}

/// Checks a put request.
pub fn put(request: &pb::PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete request.
pub fn delete_range(request: &pb::DeleteRangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        Err(Error::EmptyKey)
    } else {
        Ok(())
    }
}

/// Checks a transaction: its size, its steps, and that it changes no key twice.
pub fn txn(request: &pb::TxnRequest, operations_max: usize) -> Result<(), Error> {
    steps(request, operations_max)?;
    Changes::of(&request.success)?;
    Changes::of(&request.failure)?;
    Ok(())
}

fn steps(request: &pb::TxnRequest, operations_max: usize) -> Result<(), Error> {
    let operations = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    let Some(left) = operations_max.checked_sub(operations) else {
        return Err(Error::TooManyOperations);
    };
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for step in request.success.iter().chain(&request.failure) {
        match &step.request {
            Some(Request::RequestRange(request)) => range(request)?,
            Some(Request::RequestPut(request)) => put(request)?,
            Some(Request::RequestDeleteRange(request)) => delete_range(request)?,
            Some(Request::RequestTxn(nested)) => steps(nested, left)?,
            // A step that says nothing, which etcd once fell over.
            None => return Err(Error::KeyNotFound),
        }
    }
    Ok(())
}

/// Whether no way through a transaction changes anything.
pub fn is_read_only(request: &pb::TxnRequest) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .all(|step| match &step.request {
            Some(Request::RequestRange(_)) | None => true,
            Some(Request::RequestTxn(nested)) => is_read_only(nested),
            Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) => false,
        })
}

/// Whether every range on every way through a transaction is content with what this member knows.
pub fn is_serializable(request: &pb::TxnRequest) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .all(|step| match &step.request {
            Some(Request::RequestRange(range)) => range.serializable,
            Some(Request::RequestTxn(nested)) => is_serializable(nested),
            _ => true,
        })
}

/// The keys that a list of steps may change.
#[derive(Debug, Default)]
struct Changes {
    puts: BTreeSet<Bytes>,
    deletes: Deletes,
}

impl Changes {
    /// Fails if a key may be put twice, or put and deleted, on one way.
    fn of(steps: &[pb::RequestOp]) -> Result<Self, Error> {
        let mut all = Self::default();
        for step in steps {
            if let Some(Request::RequestDeleteRange(request)) = &step.request {
                all.deletes.add(Bounds::new(&request.key, &request.range_end));
            }
        }
        for step in steps {
            if let Some(Request::RequestTxn(nested)) = &step.request {
                all.add_nested(nested)?;
            }
        }
        for step in steps {
            if let Some(Request::RequestPut(request)) = &step.request {
                all.add_put(&request.key)?;
            }
        }
        Ok(all)
    }

    fn add_nested(&mut self, nested: &pb::TxnRequest) -> Result<(), Error> {
        let (then, otherwise) = (Self::of(&nested.success)?, Self::of(&nested.failure)?);
        for key in &then.puts {
            self.add_put(key)?;
        }
        for key in &otherwise.puts {
            // Only one of the two ways is gone, so a key may stand in both.
            if !then.puts.contains(key) {
                self.add_put(key)?;
            }
        }
        for bounds in then.deletes.into_bounds().chain(otherwise.deletes.into_bounds()) {
            self.deletes.add(bounds);
        }
        Ok(())
    }

    fn add_put(&mut self, key: &Bytes) -> Result<(), Error> {
        if self.deletes.contains(key) || !self.puts.insert(key.clone()) {
            Err(Error::DuplicateKey)
        } else {
            Ok(())
        }
    }
}

/// Deleted keys and ranges. Single keys, the usual case, are looked up; ranges are few.
#[derive(Debug, Default)]
struct Deletes {
    keys: BTreeSet<Bytes>,
    ranges: Vec<Bounds>,
}

impl Deletes {
    fn add(&mut self, bounds: Bounds) {
        match bounds {
            Bounds::One(key) => {
                self.keys.insert(key);
            }
            range => self.ranges.push(range),
        }
    }

    fn contains(&self, key: &Bytes) -> bool {
        self.keys.contains(key) || self.ranges.iter().any(|range| range.contains(key))
    }

    fn into_bounds(self) -> impl Iterator<Item = Bounds> {
        self.keys.into_iter().map(Bounds::One).chain(self.ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_says_nothing_is_refused_on_every_way() {
        let nothing = || vec![pb::RequestOp::default()];
        let (success, failure) = (
            pb::TxnRequest {
                success: nothing(),
                ..Default::default()
            },
            pb::TxnRequest {
                failure: nothing(),
                ..Default::default()
            },
        );
        let nested = pb::TxnRequest {
            success: vec![pb::RequestOp {
                request: Some(Request::RequestTxn(success.clone())),
            }],
            ..Default::default()
        };
        for request in [success, failure, nested] {
            assert_eq!(txn(&request, 128), Err(Error::KeyNotFound));
        }
        assert_eq!(txn(&pb::TxnRequest::default(), 128), Ok(()));
    }
}
