//! Messages survive the wire, and nothing else does.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::consensus::{
    Batch, Body, ChangeError, Entry, Membership, MembershipEntry, Message, Payload, Position, ReadContext, Refusal,
    Snapshot,
};

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| Position { term, index })
}

fn membership() -> impl Strategy<Value = Membership> {
    let ids = || prop::collection::vec(1..u64::MAX, 0..6);
    (ids(), ids()).prop_map(|(voters, learners)| Membership::new(voters, learners))
}

fn payload() -> impl Strategy<Value = Payload> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    prop_oneof![
        Just(Payload::Blank),
        bytes().prop_map(Payload::Command),
        (membership(), bytes()).prop_map(|(membership, context)| {
            Payload::Membership(Box::new(MembershipEntry { membership, context }))
        }),
    ]
}

fn append() -> impl Strategy<Value = Body> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), 0..u64::MAX / 2);
    let payloads = prop::collection::vec((any::<u64>(), payload()), 0..5);
    (numbers, payloads).prop_map(|((session, term, commit, index), payloads)| Body::Append {
        session,
        previous: Position { term, index },
        commit,
        entries: payloads
            .into_iter()
            .zip(index + 1..)
            .map(|((term, payload), index)| Entry { index, term, payload })
            .collect(),
    })
}

fn outcome() -> impl Strategy<Value = Result<u64, Refusal>> {
    prop_oneof![
        any::<u64>().prop_map(Ok),
        any::<u64>().prop_map(|leader| Err(Refusal::NotLeader { leader })),
        Just(Err(Refusal::NoLeader)),
        Just(Err(Refusal::Transferring)),
        Just(Err(Refusal::BadChange(ChangeError::LastVoter))),
        Just(Err(Refusal::BadChange(ChangeError::TooMany))),
        Just(Err(Refusal::OutcomeUnknown)),
    ]
}

pub fn body() -> impl Strategy<Value = Body> {
    let context =
        || (any::<u64>(), any::<u64>()).prop_map(|(incarnation, attempt)| ReadContext { incarnation, attempt });
    let batch = || (any::<u64>(), any::<u64>()).prop_map(|(incarnation, number)| Batch { incarnation, number });
    let commands = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from), 0..4);
    prop_oneof![
        position().prop_map(|last| Body::PreVote { last }),
        any::<bool>().prop_map(|granted| Body::PreVoteReply { granted }),
        (position(), any::<bool>()).prop_map(|(last, transfer)| Body::Vote { last, transfer }),
        any::<bool>().prop_map(|granted| Body::VoteReply { granted }),
        append(),
        (any::<u64>(), any::<u64>()).prop_map(|(session, match_index)| Body::AppendAck { session, match_index }),
        (any::<u64>(), any::<u64>(), position()).prop_map(|(session, previous, hint)| Body::AppendReject {
            session,
            previous,
            hint
        }),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(session, commit, round)| Body::Heartbeat {
            session,
            commit,
            round
        }),
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(session, round, match_index)| Body::HeartbeatAck {
            session,
            round,
            match_index,
            received: !match_index
        }),
        (any::<u64>(), position(), membership()).prop_map(|(session, last, membership)| Body::Snapshot {
            session,
            snapshot: Box::new(Snapshot { last, membership })
        }),
        (any::<u64>(), any::<u64>()).prop_map(|(session, commit)| Body::Commit { session, commit }),
        Just(Body::TimeoutNow),
        Just(Body::StaleTerm),
        context().prop_map(|context| Body::ReadIndex { context }),
        (context(), outcome()).prop_map(|(context, outcome)| Body::ReadIndexReply { context, outcome }),
        (batch(), commands).prop_map(|(batch, commands)| Body::Forward { batch, commands }),
        (batch(), outcome()).prop_map(|(batch, outcome)| Body::ForwardReply { batch, outcome }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    (any::<u64>(), any::<u64>(), any::<u64>(), body()).prop_map(|(from, to, term, body)| Message {
        from,
        to,
        term,
        body,
    })
}

fn encoded(message: &Message) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes);
    bytes.freeze()
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(message in message()) {
        prop_assert_eq!(Message::decode(encoded(&message)), Ok(message));
    }

    #[test]
    fn a_message_that_is_cut_or_too_long_is_refused(message in message()) {
        let bytes = encoded(&message);
        for end in 0..bytes.len() {
            // A membership entry's context has no length of its own, but the entry has.
            prop_assert!(Message::decode(bytes.slice(..end)).is_err());
        }
        let mut longer = BytesMut::from(&bytes[..]);
        longer.extend_from_slice(&[0]);
        prop_assert!(Message::decode(longer.freeze()).is_err());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0..20_u8) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        let _ = Message::decode(bytes.into());
    }
}

#[test]
fn a_count_beyond_the_bytes_allocates_nothing() {
    let mut bytes = BytesMut::new();
    let message = Message {
        from: 1,
        to: 2,
        term: 3,
        body: Body::Append {
            session: 1,
            previous: Position::default(),
            commit: 0,
            entries: Vec::new(),
        },
    };
    message.encode(&mut bytes);
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(Message::decode(bytes.freeze()).is_err());
}
