//! Which topics a group reads, as far as its members say so.

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};
use log_broker_wire::ErrorCode;

use super::{Expiry, Group, Groups, State};

/// The protocol type of groups whose metadata is a subscription; others have metadata of their own (Connect, for one).
const CONSUMER: &str = "consumer";

impl Groups {
    /// Whether the offsets of a topic may be deleted (KIP-496): not where a member subscribes to it.
    pub fn may_delete_offsets(&self, group: &str, topic: &str) -> ErrorCode {
        let Some(group) = self.groups.get(group).filter(|group| !group.members.is_empty()) else {
            return ErrorCode::NONE;
        };
        if group.protocol_type != CONSUMER {
            return ErrorCode::NON_EMPTY_GROUP;
        }
        match group.subscribed() {
            Some(topics) if !topics.contains(topic) => ErrorCode::NONE,
            _ => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
        }
    }
}

impl Groups {
    /// From when on the offsets of a group count as unused.
    pub fn expiry(&self, group: &str) -> Expiry {
        match self.groups.get(group) {
            Some(group) if !group.protocol_type.is_empty() => group.expiry(),
            _ => Expiry::SinceCommit,
        }
    }
}

impl Group {
    fn expiry(&self) -> Expiry {
        if self.members.is_empty() {
            return self.state_since_ms.map_or(Expiry::SinceCommit, Expiry::Since);
        }
        match self.subscribed() {
            Some(topics) if self.state == State::Stable && self.protocol_type == CONSUMER => {
                Expiry::Unsubscribed(topics)
            }
            _ => Expiry::Never,
        }
    }

    /// The topics of all members; `None` before a protocol was chosen, or where a subscription cannot be read.
    fn subscribed(&self) -> Option<BTreeSet<String>> {
        let protocol = self.protocol.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription(member.metadata(protocol)?)?);
        }
        Some(topics)
    }
}

/// The topics of a consumer's subscription: a version, then an array of strings, then what later versions added.
fn subscription(metadata: &Bytes) -> Option<Vec<String>> {
    let mut left = &metadata[..];
    left.try_get_i16().ok()?;
    let count = usize::try_from(left.try_get_i32().ok()?).ok()?;
    let mut topics = Vec::with_capacity(count.min(left.len() / 2));
    for _ in 0..count {
        let length = usize::try_from(left.try_get_i16().ok()?).ok()?;
        let (topic, rest) = left.split_at_checked(length)?;
        topics.push(std::str::from_utf8(topic).ok()?.to_owned());
        left = rest;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_of_any_version_is_read_and_garbage_is_not() {
        let read = |bytes: &'static [u8]| subscription(&Bytes::from_static(bytes));
        assert_eq!(
            read(b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0"),
            Some(vec!["a".to_owned(), "bc".to_owned()])
        );
        assert_eq!(read(b"\0\x03\0\0\0\0\0\0\0\0"), Some(Vec::new()));
        for garbage in [
            &b""[..],
            b"m",
            b"\0\0\x7f\xff\xff\xff",
            b"\0\0\0\0\0\x01\0\x09a",
            b"\0\0\xff\xff\xff\xff",
        ] {
            assert_eq!(subscription(&Bytes::copy_from_slice(garbage)), None);
        }
    }
}
