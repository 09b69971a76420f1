//! What a member looks up without changing anything: who asks, what a password is, what a range holds.

use bytes::Bytes;
use coordinator::Error;
use coordinator::auth::{Access, Caller, SimpleTokens};
use coordinator::store::Bounds;
use coordinator_wire::etcdserverpb as pb;
use raft::consensus::MemberId;

use super::order::{Asked, Order, Response, Session, Token};
use crate::coordination::Group;
use crate::coordination::accounts::Right;
use crate::coordination::machine::{NOW_MS, Replicated};
use crate::coordination::oracle::{Oracle, Pairs};
use crate::coordination::permissions_in_force::permissions_in_force;
use crate::coordination::tokens_in_force::token_in_force;
use crate::invariant::require;

/// Who asks, as the member knows it; nothing where it has not applied the token's entry yet.
pub(super) fn establish(member: &mut Replicated, session: Option<&Session>) -> Option<Result<Caller, Error>> {
    let auth = member.machine.auth();
    let Some(session) = session.filter(|_| auth.is_enabled()) else {
        return Some(Ok(Caller::default()));
    };
    match &session.token {
        Token::Signed { revision } => Some(Ok(Caller {
            user: session.user.clone(),
            auth_revision: *revision,
        })),
        Token::Simple(token) => {
            if SimpleTokens::index(token).is_some_and(|index| index > member.machine.applied()) {
                return None;
            }
            let user = member.tokens.user(token, NOW_MS);
            Some(user.map(|user| auth.caller(user)).ok_or(Error::InvalidAuthToken))
        }
    }
}

/// Reads the pairs of a range on a member, and compares them with what they must be at that revision.
pub(super) fn read(
    cluster: &mut Group,
    oracle: &Oracle,
    member: MemberId,
    order: &Order,
    caller: &Caller,
) -> Option<Response> {
    let Asked::Read { key, range_end, ago } = &order.asked else {
        return None;
    };
    let machine = &cluster.host(member).running.as_ref()?.machine.machine;
    let (store, applied) = (machine.store(), machine.applied());
    let now = store.revision();
    let is_kept = *ago > 0 && now - ago >= store.compacted().max(1);
    let revision = if is_kept { now - ago } else { now };
    let request = pb::RangeRequest {
        key: key.clone(),
        range_end: range_end.clone(),
        ..Default::default()
    };
    let permitted = machine.check(caller, Access::Range(&request));
    let bounds = Bounds::new(key, range_end);
    let found = store.select(&bounds, revision, 0).load();
    let accounts = oracle.accounts(applied);
    let lawful = accounts.may(caller, Right::Read, key, range_end);
    let check = permissions_in_force(member, applied, lawful.as_ref().err(), permitted.as_ref().err());
    cluster.note(check);
    if let Err(error) = permitted {
        return Some(Response::Denied(error));
    }
    if let Some(session) = order.session.as_ref().filter(|_| accounts.enabled) {
        cluster.note(token_in_force(member, applied, accounts, &session.user, session.given));
    }
    let wanted: Option<Pairs> = oracle.pairs(revision).map(|pairs| {
        let within = pairs.iter().filter(|(key, _)| bounds.contains(key));
        within.map(|(key, kv)| (key.clone(), kv.clone())).collect()
    });
    let found: Result<Pairs, _> = found.map(|versions| {
        let pairs = versions.iter();
        pairs
            .map(|version| (version.kv.key.clone(), version.kv.clone()))
            .collect()
    });
    cluster.note(require(
        found.as_ref().ok() == wanted.as_ref(),
        "revision_replay",
        || format!("member {member} reads revision {revision} as {found:?}, and it was {wanted:?}"),
    ));
    Some(Response::Done {
        revision: now,
        lease: None,
        refusal: None,
    })
}

/// Passwords here are four capital letters; this is what they are as base64.
pub(super) fn hash_of(password: &str) -> Bytes {
    let bits = password
        .bytes()
        .fold(0_u32, |bits, letter| bits << 6 | u32::from(letter.wrapping_sub(b'A')));
    Bytes::copy_from_slice(&bits.to_be_bytes()[1..])
}
