//! What the server does with a request before it is an entry, and with its outcome: as the coordinator's own server does it.
//!
//! It establishes who asks (by a token, at the revision of users and roles that the member has), compares passwords, refuses
//! what passes the member's quota and raises NOSPACE for it, asks a quorum before it reads or renews, and then asks the
//! machine whether the caller may. All of that can be stale by the time the entry is applied; what must hold then is checked
//! by the oracle, and here for reads, renewals and tokens.

mod look;
mod order;

use std::collections::HashMap;

use coordinator::Error;
use coordinator::auth::{self, Access, AuthOutcome, AuthRequest, Caller, Change};
use coordinator::machine::{Outcome, Request, quota};
use coordinator_wire::coordinatorpb::Authenticated;
use coordinator_wire::etcdserverpb as pb;
use pb::AlarmType;
use pb::alarm_request::AlarmAction;
use raft::consensus::{Event, Index, MemberId, Proposal, Refusal, Ticket};

use super::accounts::Accounts;
use super::expiry::Expiry;
use super::machine::{Answered, command};
use super::oracle::Oracle;
use super::permissions_in_force::permissions_in_force;
use super::tokens_in_force::{password_in_force, token_in_force};
use super::{Group, Own};
use crate::cluster::{Happening, Told};
use crate::world::{Address, Fault, MILLISECOND, Random};
use look::{establish, hash_of, read};
use order::Token;
pub use order::{Asked, Order, Response, Session};

/// How often a password is compared again because users or roles changed meanwhile, as in the server.
const AUTHENTICATE_TRIES_MAX: u32 = 10;
/// How long a request waits before it looks again whether the entry that made its token is applied.
const TOKEN_WAIT: u64 = 5 * MILLISECOND;

/// What an entry or a read is for.
#[derive(Debug)]
enum Purpose {
    Asked,
    /// To give a token, if users and roles are still of this revision.
    Authenticated {
        revision: u64,
        tries: u32,
    },
    /// To raise an alarm; who asked is then refused.
    Alarm,
}

#[derive(Debug)]
struct Waiting {
    order: Order,
    caller: Caller,
    purpose: Purpose,
}

/// All members' edges.
#[derive(Debug)]
pub struct Edge {
    waiting: HashMap<Ticket, Waiting>,
    members: usize,
    /// So much may a member's store take.
    pub quota_bytes: u64,
    /// Whether tokens are signed.
    pub signs: bool,
    /// A fault to be found: renewals are answered without asking whether the member still leads.
    pub hasty_renewals: bool,
}

impl Edge {
    /// Draws what members are configured to do.
    pub fn new(random: &mut Random, members: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            members,
            quota_bytes: if random.percent(40) {
                random.between(4_000, 20_000)
            } else {
                u64::MAX
            },
            signs: random.percent(30),
            hasty_renewals: false,
        }
    }

    /// A request reaches a member.
    pub fn request(
        &mut self,
        cluster: &mut Group,
        expiry: &mut Expiry,
        oracle: &Oracle,
        member: MemberId,
        order: Order,
    ) {
        let now = cluster.now();
        let host = cluster.host_mut(member);
        let (until, client, turn) = (host.paused_until, order.client, order.turn);
        let Some(running) = &mut host.running else { return };
        let later = Own::Request { client, turn, member };
        if until > now {
            cluster.events.at(until, Happening::Own(later));
            return;
        }
        let caller = match establish(&mut running.machine, order.session.as_ref()) {
            Some(caller) => caller,
            None => {
                cluster.events.after(TOKEN_WAIT, Happening::Own(later));
                return;
            }
        };
        let caller = match caller {
            Ok(caller) => caller,
            Err(error) => return self.respond(cluster, member, &order, Response::Denied(error)),
        };
        let (leader, used) = (running.soft_state.leader, running.machine.bytes());
        match &order.asked {
            Asked::Write(request) => {
                let cost = quota::cost(request);
                if cost > 0 && used + cost >= self.quota_bytes {
                    return self.refuse_for_space(cluster, member, order);
                }
                let request = request.clone();
                self.propose(cluster, member, order, caller, Purpose::Asked, request);
            }
            Asked::KeepAlive(_) if !expiry.is_leading(member) => {
                self.respond(cluster, member, &order, Response::Failed(leader));
            }
            Asked::KeepAlive(_) if self.hasty_renewals => {
                self.renew(cluster, expiry, oracle, member, &order, &caller);
            }
            Asked::KeepAlive(_) | Asked::Read { .. } | Asked::Authenticate { .. } => {
                let ticket = cluster.ticket();
                cluster.observer.read_asked(ticket);
                let waiting = Waiting {
                    order,
                    caller,
                    purpose: Purpose::Asked,
                };
                self.waiting.insert(ticket, waiting);
                cluster.step(member, Event::ReadIndex(vec![ticket]));
            }
        }
    }

    fn propose(
        &mut self,
        cluster: &mut Group,
        member: MemberId,
        order: Order,
        caller: Caller,
        purpose: Purpose,
        request: Request,
    ) {
        let ticket = cluster.ticket();
        let on_behalf = match purpose {
            Purpose::Asked => caller.clone(),
            // Who it is was just shown.
            Purpose::Authenticated { .. } => Caller::default(),
            Purpose::Alarm => auth::root(),
        };
        let command = command(on_behalf, request);
        let waiting = Waiting { order, caller, purpose };
        self.waiting.insert(ticket, waiting);
        cluster.step(member, Event::Propose(vec![Proposal { ticket, command }]));
    }

    /// The store is as large as the member's quota allows: the first to see that tells all.
    fn refuse_for_space(&mut self, cluster: &mut Group, member: MemberId, order: Order) {
        let running = cluster.host(member).running.as_ref();
        if running.is_none_or(|running| running.machine.machine.alarms().stands(AlarmType::Nospace)) {
            return self.respond(cluster, member, &order, Response::Denied(Error::NoSpace));
        }
        cluster.tally.count(Fault::Alarm);
        let alarm = Request::Alarm(pb::AlarmRequest {
            action: AlarmAction::Activate.into(),
            member_id: member,
            alarm: AlarmType::Nospace.into(),
        });
        self.propose(cluster, member, order, auth::root(), Purpose::Alarm, alarm);
    }

    /// Compares a password with what the member knows of it, and has a token made.
    fn authenticate(&mut self, cluster: &mut Group, member: MemberId, order: Order, tries: u32) {
        let Some(running) = &cluster.host(member).running else {
            return;
        };
        let Asked::Authenticate { user, password } = &order.asked else {
            return;
        };
        let credential = running.machine.machine.auth().credential(user);
        let credential = credential.and_then(|credential| match credential.hash == hash_of(password) {
            _ if tries >= AUTHENTICATE_TRIES_MAX => Err(Error::AuthOldRevision),
            true => Ok(credential),
            false => Err(Error::AuthFailed),
        });
        let revision = match credential {
            Ok(credential) => credential.auth_revision,
            Err(error) => return self.respond(cluster, member, &order, Response::Denied(error)),
        };
        let change = Change::Authenticated(Authenticated {
            name: user.clone(),
            token_prefix: if self.signs { String::new() } else { "word".to_owned() },
        });
        let request = Request::Auth(AuthRequest { request: Some(change) });
        let purpose = Purpose::Authenticated { revision, tries };
        self.propose(cluster, member, order, Caller::default(), purpose, request);
    }

    fn renew(
        &mut self,
        cluster: &mut Group,
        expiry: &mut Expiry,
        oracle: &Oracle,
        member: MemberId,
        order: &Order,
        caller: &Caller,
    ) {
        let Asked::KeepAlive(id) = order.asked else { return };
        let Some(running) = &cluster.host(member).running else {
            return;
        };
        let machine = &running.machine.machine;
        let (applied, revision) = (machine.applied(), machine.store().revision());
        let found = machine.check(caller, Access::LeaseWrite(id));
        let accounts = oracle.accounts(applied);
        let lawful = accounts
            .is_somebody(caller)
            .and_then(|()| accounts.may_write_lease(caller, &oracle.keys_at(revision, id)));
        cluster.note(permissions_in_force(
            member,
            applied,
            lawful.as_ref().err(),
            found.as_ref().err(),
        ));
        if let Err(error) = found {
            return self.respond(cluster, member, order, Response::Denied(error));
        }
        let renewed = expiry.renew(cluster, member, id);
        let lease = renewed.map(|ttl| (id, ttl));
        let response = match expiry.is_leading(member) {
            true => Response::Done {
                revision,
                lease,
                refusal: None,
            },
            false => Response::Failed(None),
        };
        self.respond(cluster, member, order, response);
    }

    /// Takes in what members say of proposals and reads.
    pub fn hear(&mut self, cluster: &mut Group, oracle: &Oracle, expiry: &mut Expiry, told: Told<Answered>) {
        match told {
            Told::Answer {
                member,
                ticket,
                index,
                answer,
            } => {
                if let Some(waiting) = self.waiting.remove(&ticket) {
                    self.answer(cluster, oracle, member, index, answer, waiting);
                }
            }
            Told::Read { member, ticket } => {
                let Some(Waiting { order, caller, .. }) = self.waiting.remove(&ticket) else {
                    return;
                };
                match &order.asked {
                    Asked::KeepAlive(_) => self.renew(cluster, expiry, oracle, member, &order, &caller),
                    Asked::Read { .. } => {
                        if let Some(response) = read(cluster, oracle, member, &order, &caller) {
                            self.respond(cluster, member, &order, response);
                        }
                    }
                    Asked::Authenticate { .. } => self.authenticate(cluster, member, order, 0),
                    Asked::Write(_) => {}
                }
            }
            Told::Refused {
                why: Refusal::OutcomeUnknown,
                ticket,
                ..
            } => {
                self.waiting.remove(&ticket);
            }
            Told::Refused { member, ticket, why } => {
                let leader = match why {
                    Refusal::NotLeader { leader } => Some(leader),
                    _ => None,
                };
                self.fail(cluster, member, ticket, leader);
            }
            Told::Lost { member, ticket } => self.fail(cluster, member, ticket, None),
            _ => {}
        }
    }

    /// An entry that was proposed here is applied.
    fn answer(
        &mut self,
        cluster: &mut Group,
        oracle: &Oracle,
        member: MemberId,
        index: Index,
        answer: Answered,
        Waiting { order, purpose, .. }: Waiting,
    ) {
        let Answered { outcome, revision } = answer;
        let accounts = oracle.accounts(index);
        let response = match (purpose, outcome) {
            (Purpose::Alarm, _) => Response::Denied(Error::NoSpace),
            (Purpose::Authenticated { revision, tries }, Ok(Outcome::Auth(outcome))) => {
                let AuthOutcome::Authenticated {
                    user,
                    revision: found,
                    token,
                } = outcome
                else {
                    return;
                };
                if found != revision {
                    return self.authenticate(cluster, member, order, tries + 1);
                }
                if let Asked::Authenticate { password, .. } = &order.asked {
                    cluster.note(password_in_force(member, index, accounts, &user, password));
                }
                let token = match token.is_empty() {
                    true => Token::Signed { revision },
                    false => Token::Simple(token),
                };
                Response::Session(Session {
                    user,
                    token,
                    given: index,
                })
            }
            (Purpose::Authenticated { .. }, Err(error)) => Response::Denied(error),
            (_, outcome) => {
                if let (Ok(_), Asked::Write(request)) = (&outcome, &order.asked) {
                    self.check_token(cluster, accounts, member, index, order.session.as_ref(), request);
                }
                Response::Done {
                    revision,
                    lease: match &outcome {
                        Ok(Outcome::LeaseGrant(granted)) => Some((granted.id, granted.ttl)),
                        _ => None,
                    },
                    refusal: outcome.err(),
                }
            }
        };
        self.respond(cluster, member, &order, response);
    }

    /// Only what touches keys looks at the revision; as in etcd, anyone who was root when he asked, and is still, may manage.
    fn check_token(
        &self,
        cluster: &mut Group,
        accounts: &Accounts,
        member: MemberId,
        index: Index,
        session: Option<&Session>,
        request: &Request,
    ) {
        let touches_keys = matches!(request, Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_));
        if let Some(session) = session.filter(|_| touches_keys && accounts.enabled) {
            cluster.note(token_in_force(member, index, accounts, &session.user, session.given));
        }
    }

    fn fail(&mut self, cluster: &mut Group, member: MemberId, ticket: Ticket, leader: Option<MemberId>) {
        if let Some(Waiting { order, .. }) = self.waiting.remove(&ticket) {
            self.respond(cluster, member, &order, Response::Failed(leader));
        }
    }

    fn respond(&self, cluster: &mut Group, member: MemberId, order: &Order, response: Response) {
        let (client, turn) = (order.client, order.turn);
        cluster.send(member as Address - 1, self.members + client, || Own::Response {
            client,
            turn,
            response: response.clone(),
        });
    }
}
