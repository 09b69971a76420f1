//! What a request needs, in terms of keys.

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use pb::request_op::Request;

use super::permission::Right;
use super::{Auth, Caller};
use crate::Error;
use crate::lease::Leases;

/// What someone is about to do.
#[derive(Debug, Clone, Copy)]
pub enum Access<'a> {
    Range(&'a pb::RangeRequest),
    Put(&'a pb::PutRequest),
    DeleteRange(&'a pb::DeleteRangeRequest),
    Txn(&'a pb::TxnRequest),
    /// To be told of what happens to keys.
    Watch {
        key: &'a Bytes,
        range_end: &'a Bytes,
    },
    /// To end or to renew a lease, and so the life of its keys.
    LeaseWrite(i64),
    /// To see which keys hang on a lease.
    LeaseRead(i64),
    /// To see all leases.
    Leases,
    /// What no one in particular may do, but not no one: to grant a lease, to ask for the status.
    Somebody,
    /// To manage users, members or the server.
    Root,
}

impl Auth {
    /// Whether `caller` may.
    ///
    /// # Errors
    /// As [`Auth::is_enabled`] and etcd have it: [`Error::UserEmpty`] for no one, [`Error::AuthOldRevision`] for someone
    /// established before the last change, [`Error::PermissionDenied`], and [`Error::UserNotFound`] where root is needed.
    pub fn check(&self, leases: &Leases, caller: &Caller, access: Access<'_>) -> Result<(), Error> {
        if !self.is_enabled() {
            return Ok(());
        }
        match access {
            Access::Range(request) => self.permit(caller, Right::Read, &request.key, &request.range_end),
            Access::Put(request) => self.check_put(leases, caller, request),
            Access::DeleteRange(request) => self.check_delete(caller, request),
            Access::Txn(request) => self.check_txn(leases, caller, request),
            Access::Watch { key, range_end } => {
                // No key is the first key.
                let first = Bytes::from_static(b"\0");
                let key = if key.is_empty() { &first } else { key };
                self.permit(caller, Right::Read, key, range_end)
            }
            Access::LeaseWrite(id) => {
                somebody(caller)?;
                self.check_lease(leases, caller, Right::Write, id)
            }
            Access::LeaseRead(id) => {
                somebody(caller)?;
                self.check_lease(leases, caller, Right::Read, id)
            }
            Access::Leases => {
                somebody(caller)?;
                leases
                    .iter()
                    .try_for_each(|(id, _)| self.check_lease(leases, caller, Right::Read, id))
            }
            Access::Somebody => somebody(caller),
            Access::Root => self.permit_root(caller),
        }
    }

    fn check_put(&self, leases: &Leases, caller: &Caller, request: &pb::PutRequest) -> Result<(), Error> {
        let one = Bytes::new();
        self.permit(caller, Right::Write, &request.key, &one)?;
        // Anyone who hangs a key on a lease could not take it off again if the lease has keys that he may not write.
        self.check_lease(leases, caller, Right::Write, request.lease)?;
        if request.prev_kv {
            self.permit(caller, Right::Read, &request.key, &one)?;
        }
        Ok(())
    }

    fn check_delete(&self, caller: &Caller, request: &pb::DeleteRangeRequest) -> Result<(), Error> {
        self.permit(caller, Right::Write, &request.key, &request.range_end)?;
        if request.prev_kv {
            self.permit(caller, Right::Read, &request.key, &request.range_end)?;
        }
        Ok(())
    }

    /// All ways through a transaction, whichever is gone: otherwise conditions could be tried out on hidden keys.
    fn check_txn(&self, leases: &Leases, caller: &Caller, request: &pb::TxnRequest) -> Result<(), Error> {
        for compare in &request.compare {
            self.permit(caller, Right::Read, &compare.key, &compare.range_end)?;
        }
        for step in request.success.iter().chain(&request.failure) {
            match &step.request {
                Some(Request::RequestRange(range)) => {
                    self.permit(caller, Right::Read, &range.key, &range.range_end)?;
                }
                Some(Request::RequestPut(put)) => self.check_put(leases, caller, put)?,
                Some(Request::RequestDeleteRange(delete)) => self.check_delete(caller, delete)?,
                Some(Request::RequestTxn(nested)) => self.check_txn(leases, caller, nested)?,
                None => {}
            }
        }
        Ok(())
    }

    fn check_lease(&self, leases: &Leases, caller: &Caller, right: Right, id: i64) -> Result<(), Error> {
        let Some(lease) = leases.get(id) else { return Ok(()) };
        if self.permit_root(caller).is_ok() {
            return Ok(());
        }
        let one = Bytes::new();
        lease
            .keys
            .iter()
            .try_for_each(|key| self.permit(caller, right, key, &one))
    }
}

fn somebody(caller: &Caller) -> Result<(), Error> {
    if caller.user.is_empty() && caller.auth_revision == 0 {
        Err(Error::UserEmpty)
    } else {
        Ok(())
    }
}
