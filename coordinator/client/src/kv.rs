//! Reading and writing keys.

use bytes::Bytes;
use coordinator_wire::etcdserverpb as pb;
use coordinator_wire::mvccpb::KeyValue;
use pb::kv_client::KvClient;

use crate::connection::{Kind, Transport};
use crate::{Client, Error};

/// Answers are not bounded by the protocol: a range without a limit returns all keys.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// A set of keys: one, those with a prefix, or a half-open range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub(crate) key: Bytes,
    pub(crate) range_end: Bytes,
}

impl Keys {
    pub fn one(key: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            range_end: Bytes::new(),
        }
    }

    /// All keys that start with `prefix`; an empty prefix is every key.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let prefix = prefix.into();
        if prefix.is_empty() {
            return Self {
                key: Bytes::from_static(b"\0"),
                range_end: Bytes::from_static(b"\0"),
            };
        }
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                return Self {
                    key: prefix,
                    range_end: end.into(),
                };
            }
        }
        // Only 0xff bytes: no key is behind them, so the range is open.
        Self {
            key: prefix,
            range_end: Bytes::from_static(b"\0"),
        }
    }

    /// `from <= key < to`.
    pub fn range(from: impl Into<Bytes>, to: impl Into<Bytes>) -> Self {
        Self {
            key: from.into(),
            range_end: to.into(),
        }
    }
}

/// How a range is read. The default is a linearizable read of everything at the current revision.
#[derive(Debug, Clone, Copy, Default)]
pub struct RangeOptions {
    /// At most this many keys; 0 for all.
    pub limit: i64,
    /// As of this revision; 0 for now.
    pub revision: i64,
    pub keys_only: bool,
    pub count_only: bool,
    /// Answer from the server asked, which may lag behind the cluster.
    pub serializable: bool,
}

/// What a range read found, in the order of the keys.
#[derive(Debug, Clone)]
pub struct Ranged {
    pub kvs: Vec<KeyValue>,
    /// How many keys there are, whatever the limit.
    pub count: i64,
    pub more: bool,
    /// The store's revision; a watch from the next one misses nothing.
    pub revision: i64,
}

/// How a put is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct PutOptions {
    /// The lease that the key is to die with; 0 for none.
    pub lease: i64,
    pub prev_kv: bool,
}

/// A condition of a transaction on one key. An absent key has revisions and version 0.
#[derive(Debug, Clone)]
pub struct Compare(pb::Compare);

impl Compare {
    fn equal(key: impl Into<Bytes>, target: pb::compare::CompareTarget, value: pb::compare::TargetUnion) -> Self {
        Self(pb::Compare {
            result: pb::compare::CompareResult::Equal.into(),
            target: target.into(),
            key: key.into(),
            range_end: Bytes::new(),
            target_union: Some(value),
        })
    }

    /// The key does not exist.
    pub fn absent(key: impl Into<Bytes>) -> Self {
        Self::create_revision(key, 0)
    }

    /// The key has this value.
    pub fn value(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::equal(
            key,
            pb::compare::CompareTarget::Value,
            pb::compare::TargetUnion::Value(value.into()),
        )
    }

    /// The key was last changed at this revision.
    pub fn mod_revision(key: impl Into<Bytes>, revision: i64) -> Self {
        Self::equal(
            key,
            pb::compare::CompareTarget::Mod,
            pb::compare::TargetUnion::ModRevision(revision),
        )
    }

    /// The key was created at this revision: the fencing check of a lock.
    pub fn create_revision(key: impl Into<Bytes>, revision: i64) -> Self {
        Self::equal(
            key,
            pb::compare::CompareTarget::Create,
            pb::compare::TargetUnion::CreateRevision(revision),
        )
    }

    /// The key was put this many times since its creation.
    pub fn version(key: impl Into<Bytes>, version: i64) -> Self {
        Self::equal(
            key,
            pb::compare::CompareTarget::Version,
            pb::compare::TargetUnion::Version(version),
        )
    }

    /// Any condition that the protocol has.
    pub fn raw(compare: pb::Compare) -> Self {
        Self(compare)
    }
}

/// One step of a transaction.
#[derive(Debug, Clone)]
pub enum Op {
    Get(Keys, RangeOptions),
    Put(Bytes, Bytes, PutOptions),
    Delete(Keys),
    Txn(Vec<Compare>, Vec<Op>, Vec<Op>),
}

impl Op {
    pub fn get(key: impl Into<Bytes>) -> Self {
        Self::Get(Keys::one(key), RangeOptions::default())
    }

    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put(key.into(), value.into(), PutOptions::default())
    }

    pub fn put_with_lease(key: impl Into<Bytes>, value: impl Into<Bytes>, lease: i64) -> Self {
        Self::Put(
            key.into(),
            value.into(),
            PutOptions {
                lease,
                ..Default::default()
            },
        )
    }

    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::Delete(Keys::one(key))
    }

    fn into_request(self) -> pb::RequestOp {
        use pb::request_op::Request;
        let request = match self {
            Self::Get(keys, options) => Request::RequestRange(range_request(keys, options)),
            Self::Put(key, value, options) => Request::RequestPut(put_request(key, value, options)),
            Self::Delete(keys) => Request::RequestDeleteRange(delete_request(keys)),
            Self::Txn(compare, then, otherwise) => Request::RequestTxn(txn_request(compare, then, otherwise)),
        };
        pb::RequestOp { request: Some(request) }
    }
}

/// What a transaction did.
#[derive(Debug, Clone)]
pub struct TxnResult {
    /// Whether the conditions held, so that `then` was carried out.
    pub succeeded: bool,
    pub revision: i64,
    /// One answer a step, in order.
    pub responses: Vec<pb::ResponseOp>,
}

fn range_request(keys: Keys, options: RangeOptions) -> pb::RangeRequest {
    pb::RangeRequest {
        key: keys.key,
        range_end: keys.range_end,
        limit: options.limit,
        revision: options.revision,
        keys_only: options.keys_only,
        count_only: options.count_only,
        serializable: options.serializable,
        ..Default::default()
    }
}

fn put_request(key: Bytes, value: Bytes, options: PutOptions) -> pb::PutRequest {
    pb::PutRequest {
        key,
        value,
        lease: options.lease,
        prev_kv: options.prev_kv,
        ..Default::default()
    }
}

fn delete_request(keys: Keys) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: keys.key,
        range_end: keys.range_end,
        prev_kv: false,
    }
}

fn txn_request(compare: Vec<Compare>, then: Vec<Op>, otherwise: Vec<Op>) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: compare.into_iter().map(|compare| compare.0).collect(),
        success: then.into_iter().map(Op::into_request).collect(),
        failure: otherwise.into_iter().map(Op::into_request).collect(),
    }
}

fn revision_of(header: Option<&pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

fn kv_client(channel: Transport) -> KvClient<Transport> {
    KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

impl Client {
    /// The pair of one key, or none.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<KeyValue>, Error> {
        Ok(self
            .range(Keys::one(key), RangeOptions::default())
            .await?
            .kvs
            .into_iter()
            .next())
    }

    /// All pairs of some keys.
    pub async fn range(&self, keys: Keys, options: RangeOptions) -> Result<Ranged, Error> {
        let request = range_request(keys, options);
        let answer = self
            .connection
            .call(Kind::Read, |channel| {
                let request = request.clone();
                async move { kv_client(channel).range(request).await }
            })
            .await?;
        let revision = revision_of(answer.header.as_ref());
        Ok(Ranged {
            kvs: answer.kvs,
            count: answer.count,
            more: answer.more,
            revision,
        })
    }

    /// Sets a key and returns the revision at which that happened.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<i64, Error> {
        Ok(self.put_with(key, value, PutOptions::default()).await?.0)
    }

    /// Sets a key; returns the revision and, where asked for, the pair before.
    pub async fn put_with(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<(i64, Option<KeyValue>), Error> {
        let request = put_request(key.into(), value.into(), options);
        let answer = self
            .connection
            .call(Kind::Write, |channel| {
                let request = request.clone();
                async move { kv_client(channel).put(request).await }
            })
            .await?;
        Ok((revision_of(answer.header.as_ref()), answer.prev_kv))
    }

    /// Deletes keys and returns how many there were.
    pub async fn delete(&self, keys: Keys) -> Result<i64, Error> {
        let request = delete_request(keys);
        let answer = self
            .connection
            .call(Kind::Write, |channel| {
                let request = request.clone();
                async move { kv_client(channel).delete_range(request).await }
            })
            .await?;
        Ok(answer.deleted)
    }

    /// Carries out `then` if all of `compare` hold, else `otherwise`, at one revision.
    pub async fn txn(&self, compare: Vec<Compare>, then: Vec<Op>, otherwise: Vec<Op>) -> Result<TxnResult, Error> {
        let request = txn_request(compare, then, otherwise);
        let answer = self
            .connection
            .call(Kind::Write, |channel| {
                let request = request.clone();
                async move { kv_client(channel).txn(request).await }
            })
            .await?;
        let revision = revision_of(answer.header.as_ref());
        Ok(TxnResult {
            succeeded: answer.succeeded,
            revision,
            responses: answer.responses,
        })
    }

    /// Forgets all history before `revision`.
    pub async fn compact(&self, revision: i64) -> Result<(), Error> {
        let request = pb::CompactionRequest {
            revision,
            physical: false,
        };
        self.connection
            .call(Kind::Write, |channel| async move {
                kv_client(channel).compact(request).await
            })
            .await
            .map(|_answer| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(Keys::prefix("ab"), Keys::range("ab", "ac"));
        assert_eq!(Keys::prefix(&b"a\xff"[..]), Keys::range(&b"a\xff"[..], "b"));
        assert_eq!(Keys::prefix(&b"\xff\xff"[..]), Keys::range(&b"\xff\xff"[..], "\0"));
        assert_eq!(Keys::prefix(""), Keys::range("\0", "\0"));
    }
}
