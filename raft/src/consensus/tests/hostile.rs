//! Peers that say anything at all: no step panics, and what is committed stays.

use proptest::prelude::*;

use super::wire::body;
use crate::consensus::{
    Body, Config, Consensus, Entry, Event, Index, Membership, Message, Payload, Position, Proposal, Restored, Term,
};

/// A message that could almost be true: small numbers, plausible entries.
fn plausible() -> impl Strategy<Value = Body> {
    let entries = prop::collection::vec((1..6_u64, any::<bool>()), 0..4);
    (0..6_u64, 0..8_u64, 0..9_u64, 1..3_u64, entries, 0..9_u8).prop_map(
        |(term, index, commit, session, entries, kind)| {
            let previous = Position { term, index };
            let granted = index % 2 == 0;
            let entries = entries
                .into_iter()
                .zip(index + 1..)
                .map(|((term, is_change), index)| Entry {
                    index,
                    term,
                    payload: match is_change {
                        false => Payload::Blank,
                        true => Payload::Membership(Box::new(crate::consensus::MembershipEntry {
                            membership: Membership::new([1, 2, index], [term + 10]),
                            context: bytes::Bytes::new(),
                        })),
                    },
                });
            match kind {
                0 => Body::Vote {
                    last: previous,
                    transfer: granted,
                },
                1 => Body::VoteReply { granted },
                2 => Body::AppendAck {
                    session,
                    match_index: index,
                },
                3 => Body::AppendReject {
                    session,
                    previous: commit,
                    hint: previous,
                },
                4 => Body::TimeoutNow,
                5 => Body::Snapshot {
                    session,
                    snapshot: Box::new(crate::consensus::Snapshot {
                        last: previous,
                        membership: Membership::new([1, 2, 3], []),
                    }),
                },
                _ => Body::Append {
                    session,
                    previous,
                    commit,
                    entries: entries.collect(),
                },
            }
        },
    )
}

fn events() -> impl Strategy<Value = Event> {
    let terms = prop_oneof![8 => 0..6_u64, 1 => any::<u64>()];
    let bodies = prop_oneof![3 => plausible(), 1 => body()];
    let message = (2..5_u64, terms, bodies).prop_map(|(from, term, body)| {
        Event::Message(Message {
            from,
            to: 1,
            term,
            body,
        })
    });
    let numbers = || (0..9_u64, 0..9_u64);
    prop_oneof![
        12 => message,
        2 => Just(Event::Tick),
        1 => Just(Event::Campaign),
        1 => Just(Event::StepDown),
        3 => numbers().prop_map(|(first, last)| Event::Persisted { first, last }),
        1 => numbers().prop_map(|(index, _)| Event::Applied { index }),
        1 => numbers().prop_map(|(snapshot, purged)| Event::Compacted { snapshot, purged }),
        1 => numbers().prop_map(|(ticket, to)| Event::TransferLeadership { ticket, to }),
        1 => numbers().prop_map(|(ticket, _)| Event::ReadIndex(vec![ticket])),
        1 => numbers().prop_map(|(to, session)| Event::SnapshotSent { to, session, delivered: to % 2 == 0 }),
        2 => numbers().prop_map(|(ticket, _)| Event::Propose(vec![Proposal { ticket, command: bytes::Bytes::new() }])),
    ]
}

/// What is committed, as far as the log still tells.
fn committed(core: &Consensus) -> Vec<(Index, Option<Term>)> {
    (0..=core.commit())
        .take(40)
        .map(|index| (index, core.term_at(index)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn nothing_that_a_peer_says_panics_or_undoes_what_is_committed(
        events in prop::collection::vec(events(), 1..120),
        pre_vote in any::<bool>(),
        check_quorum in any::<bool>(),
    ) {
        let config = Config { pre_vote, check_quorum, ..Config::new(1) };
        let mut core = Consensus::new(config, Restored::first_start(Membership::new(1..=3, [])), 0);
        let mut now = 0;
        for event in events {
            now += 150;
            let (term, before) = (core.term(), committed(&core));
            let effects = core.step(event, now);
            prop_assert!(core.term() >= term);
            for (index, known) in before {
                let after = core.term_at(index);
                prop_assert!(after == known || after.is_none() || known.is_none(), "{index} changed: {effects:?}");
            }
        }
    }
}
