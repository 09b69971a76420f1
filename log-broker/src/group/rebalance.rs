//! One group, from one generation to the next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;
use log_broker_wire::ErrorCode;

use super::{Effect, Group, Join, Joined, Member, Settings, State, Sync, Synced, Ticket};

/// Void entries of the heap of session timeouts that are not worth cleaning up.
const SESSIONS_SPARE: usize = 64;

impl Group {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            state_since_ms: None,
            sessions: BinaryHeap::new(),
            timer_ms: None,
        }
    }

    /// Whether a joining member has a protocol in common with all others.
    pub(super) fn speaks(&self, join: &Join) -> bool {
        if join.protocols.is_empty() || join.protocol_type.is_empty() {
            return false;
        }
        let others: Vec<&Member> = self
            .members
            .iter()
            .filter(|(id, _)| **id != join.member_id)
            .map(|(_, member)| member)
            .collect();
        if others.is_empty() {
            return true;
        }
        self.protocol_type == join.protocol_type
            && join
                .protocols
                .iter()
                .any(|(name, _)| others.iter().all(|other| other.metadata(name).is_some()))
    }

    /// Whether a syncing member means the protocol that was chosen (told from version 5 on).
    pub(super) fn agrees(&self, sync: &Sync) -> bool {
        sync.protocol_type
            .as_ref()
            .is_none_or(|told| *told == self.protocol_type)
            && (sync.protocol.is_none() || sync.protocol == self.protocol)
    }

    pub(super) fn member_of_instance(&self, instance: &str) -> Option<String> {
        self.members
            .iter()
            .find(|(_, m)| m.instance_id.as_deref() == Some(instance))
            .map(|(id, _)| id.clone())
    }

    pub(super) fn touch(&mut self, member_id: &str, now_ms: i64) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires_ms = now_ms + i64::from(member.session_timeout_ms);
        }
    }

    pub(super) fn add(
        &mut self,
        member_id: String,
        ticket: Ticket,
        join: Join,
        settings: &Settings,
        now_ms: i64,
        effects: &mut Vec<Effect>,
    ) {
        if self.members.is_empty() {
            self.protocol_type = join.protocol_type.clone();
        }
        self.leader.get_or_insert_with(|| member_id.clone());
        self.members
            .insert(member_id.clone(), Member::new(ticket, join, now_ms));
        self.watch(&member_id);
        match &mut self.state {
            State::Preparing {
                deadline_ms,
                begun_ms,
                initial: true,
            } => {
                // Company may still come: wait again, but not longer than a rebalance may take.
                let longest = self
                    .members
                    .values()
                    .map(|m| i64::from(m.rebalance_timeout_ms))
                    .max()
                    .unwrap_or(0);
                *deadline_ms = (now_ms + settings.initial_rebalance_delay_ms).min(*begun_ms + longest);
            }
            State::Preparing { .. } => {}
            State::Empty => {
                let deadline_ms = now_ms + settings.initial_rebalance_delay_ms;
                self.state = State::Preparing {
                    deadline_ms,
                    begun_ms: now_ms,
                    initial: true,
                };
                if settings.initial_rebalance_delay_ms == 0 {
                    return self.complete_join(now_ms, effects);
                }
            }
            State::Completing { .. } | State::Stable => self.prepare(now_ms, effects),
        }
        self.try_complete(now_ms, effects);
    }

    /// A static member is back under its old name: it gets a new id, and its assignment without a rebalance if the group
    /// would still choose the same protocol (KIP-345). What it says of the protocol may differ: a consumer that has just
    /// started owns no partitions.
    pub(super) fn replace_static(
        &mut self,
        known: &str,
        ticket: Ticket,
        join: Join,
        fresh_id: String,
        now_ms: i64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(old) = self.members.remove(known) else { return };
        if let Some(ticket) = old.joining {
            effects.push(Effect::Joined(
                ticket,
                Joined::refused(ErrorCode::FENCED_INSTANCE_ID, known.to_owned()),
            ));
        }
        if let Some(ticket) = old.syncing {
            effects.push(Effect::Synced(ticket, Synced::refused(ErrorCode::FENCED_INSTANCE_ID)));
        }
        let was_leader = self.leader.as_deref() == Some(known);
        if was_leader {
            self.leader = Some(fresh_id.clone());
        }
        let can_skip = join.can_skip_assignment;
        let mut member = Member::new(ticket, join, now_ms);
        member.assignment = old.assignment.clone();
        self.members.insert(fresh_id.clone(), member);
        self.watch(&fresh_id);
        if self.state == State::Stable && self.choose_protocol() == self.protocol {
            let mut joined = self.joined(&fresh_id);
            if was_leader {
                joined.skip_assignment = can_skip;
                if !can_skip {
                    // It must not take itself for the leader, or it would assign anew.
                    joined.leader = known.to_owned();
                    joined.members.clear();
                }
            }
            let mut then = Vec::new();
            self.answer_join(&fresh_id, joined, now_ms, &mut then);
            effects.push(self.store(then));
            return;
        }
        if !matches!(self.state, State::Preparing { .. }) {
            self.prepare(now_ms, effects);
        }
        self.try_complete(now_ms, effects);
    }

    pub(super) fn rejoin(&mut self, ticket: Ticket, join: Join, now_ms: i64, effects: &mut Vec<Effect>) {
        let member_id = join.member_id.clone();
        let is_leader = self.leader.as_ref() == Some(&member_id);
        let Some(member) = self.members.get_mut(&member_id) else {
            return;
        };
        let changed = member.protocols != join.protocols;
        // A second join of the same member: the first caller has given up.
        if let Some(abandoned) = member.joining.take() {
            effects.push(Effect::Joined(
                abandoned,
                Joined::refused(ErrorCode::UNKNOWN_MEMBER_ID, member_id.clone()),
            ));
        }
        let assignment = std::mem::take(&mut member.assignment);
        *member = Member {
            assignment,
            syncing: member.syncing,
            timer_ms: member.timer_ms,
            ..Member::new(ticket, join, now_ms)
        };
        self.watch(&member_id);
        let again = match self.state {
            State::Completing { .. } => !changed,
            State::Stable => !changed && !is_leader,
            State::Preparing { .. } | State::Empty => false,
        };
        if again {
            let joined = self.joined(&member_id);
            return self.answer_join(&member_id, joined, now_ms, effects);
        }
        if !matches!(self.state, State::Preparing { .. }) {
            self.prepare(now_ms, effects);
        }
        self.try_complete(now_ms, effects);
    }

    /// Begins a rebalance: whoever waits for an assignment is told to join again.
    fn prepare(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                effects.push(Effect::Synced(
                    ticket,
                    Synced::refused(ErrorCode::REBALANCE_IN_PROGRESS),
                ));
                member.expires_ms = now_ms + i64::from(member.session_timeout_ms);
            }
        }
        let deadline_ms = now_ms + self.rebalance_timeout_ms();
        self.state = State::Preparing {
            deadline_ms,
            begun_ms: now_ms,
            initial: false,
        };
    }

    fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
    }

    /// Ends the waiting for members when there is nobody left to wait for.
    pub(super) fn try_complete(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        if let State::Preparing {
            initial, deadline_ms, ..
        } = self.state
        {
            let all_here = self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some());
            if now_ms >= deadline_ms || (!initial && all_here) {
                self.complete_join(now_ms, effects);
            }
        }
    }

    /// The next generation: of those that joined, and of static members, who may be away for a while.
    fn complete_join(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.members
            .retain(|_, member| member.joining.is_some() || member.instance_id.is_some());
        if self.members.values().all(|member| member.joining.is_none()) {
            self.members.clear();
            self.become_empty(now_ms, effects);
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let leads = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(leads) {
            self.leader = self
                .members
                .iter()
                .find(|(_, member)| member.joining.is_some())
                .map(|(id, _)| id.clone());
        }
        self.protocol = self.choose_protocol();
        self.state = State::Completing {
            deadline_ms: now_ms + self.rebalance_timeout_ms(),
            storing: false,
        };
        for member_id in self.members.keys().cloned().collect::<Vec<_>>() {
            let joined = self.joined(&member_id);
            self.answer_join(&member_id, joined, now_ms, effects);
        }
    }

    fn become_empty(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.state = State::Empty;
        self.state_since_ms = Some(now_ms);
        self.leader = None;
        self.protocol = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        effects.push(self.store(Vec::new()));
    }

    /// Among the protocols that all speak, the one that most prefer; of equals, the leader's first.
    fn choose_protocol(&self) -> Option<String> {
        let common = |name: &str| self.members.values().all(|member| member.metadata(name).is_some());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader))?;
        let preference = leader.protocols.iter().map(|(name, _)| name.as_str());
        preference
            .enumerate()
            .filter_map(|(place, name)| Some((votes.get(name)?, std::cmp::Reverse(place), name)))
            .max()
            .map(|(_, _, name)| name.to_owned())
    }

    fn joined(&self, member_id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| {
            (
                id.clone(),
                member.instance_id.clone(),
                member.metadata(protocol).cloned().unwrap_or_default(),
            )
        });
        Joined {
            error: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: Some(self.protocol_type.clone()),
            protocol: self.protocol.clone(),
            members: if leader == member_id {
                members.collect()
            } else {
                Vec::new()
            },
            leader,
            skip_assignment: false,
            member_id: member_id.to_owned(),
        }
    }

    fn answer_join(&mut self, member_id: &str, joined: Joined, now_ms: i64, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if let Some(ticket) = member.joining.take() {
            member.expires_ms = now_ms + i64::from(member.session_timeout_ms);
            effects.push(Effect::Joined(ticket, joined));
        }
    }

    pub(super) fn sync(
        &mut self,
        ticket: Ticket,
        sync: Sync,
        now_ms: i64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let is_leader = self.leader.as_ref() == Some(&sync.member.member_id);
        self.touch(&sync.member.member_id, now_ms);
        let member = self
            .members
            .get_mut(&sync.member.member_id)
            .ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        match self.state {
            State::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            State::Preparing { .. } => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::Stable => {
                member.syncing = Some(ticket);
                self.answer_syncs(now_ms, effects);
                Ok(())
            }
            State::Completing { deadline_ms, storing } => {
                if let Some(abandoned) = member.syncing.replace(ticket) {
                    effects.push(Effect::Synced(abandoned, Synced::refused(ErrorCode::UNKNOWN_MEMBER_ID)));
                }
                if is_leader && !storing {
                    self.state_since_ms = Some(now_ms);
                    self.assign(sync.assignments);
                    self.state = State::Completing {
                        deadline_ms,
                        storing: true,
                    };
                    effects.push(self.store(Vec::new()));
                }
                Ok(())
            }
        }
    }

    /// The generation is durable, or could not be stored: then all join again.
    pub(super) fn stored(&mut self, succeeded: bool, now_ms: i64, effects: &mut Vec<Effect>) {
        if !matches!(self.state, State::Completing { storing: true, .. }) {
            return;
        }
        if succeeded {
            self.state = State::Stable;
            self.answer_syncs(now_ms, effects);
        } else {
            self.prepare(now_ms, effects);
        }
    }

    /// Members that the leader forgot get an empty assignment.
    fn assign(&mut self, assignments: Vec<(String, Bytes)>) {
        let mut assignments: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
    }

    fn answer_syncs(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                member.expires_ms = now_ms + i64::from(member.session_timeout_ms);
                let synced = Synced {
                    error: ErrorCode::NONE,
                    protocol_type: Some(self.protocol_type.clone()),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                };
                effects.push(Effect::Synced(ticket, synced));
            }
        }
    }

    pub(super) fn remove(&mut self, member_id: &str, now_ms: i64, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(ticket) = member.joining {
            effects.push(Effect::Joined(
                ticket,
                Joined::refused(ErrorCode::UNKNOWN_MEMBER_ID, member_id.to_owned()),
            ));
        }
        if let Some(ticket) = member.syncing {
            effects.push(Effect::Synced(ticket, Synced::refused(ErrorCode::UNKNOWN_MEMBER_ID)));
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        match self.state {
            _ if self.members.is_empty() => self.become_empty(now_ms, effects),
            State::Stable | State::Completing { .. } => self.prepare(now_ms, effects),
            State::Preparing { .. } | State::Empty => {}
        }
        self.try_complete(now_ms, effects);
    }

    /// Puts a member's session timeout into the heap, where it ends before what stands there.
    pub(super) fn watch(&mut self, member_id: &str) {
        if self.sessions.len() > 2 * self.members.len() + SESSIONS_SPARE {
            let valid = |Reverse((due_ms, id)): &Reverse<(i64, String)>| {
                self.members.get(id).is_some_and(|member| member.timer_ms == *due_ms)
            };
            self.sessions.retain(valid);
        }
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if member.expires_ms < member.timer_ms {
            member.timer_ms = member.expires_ms;
            self.sessions.push(Reverse((member.timer_ms, member_id.to_owned())));
        }
    }

    /// The members whose session has ended. Deadlines of those that were heard meanwhile, or that wait for an answer, are
    /// put back.
    fn silent(&mut self, now_ms: i64) -> Vec<String> {
        let mut silent = Vec::new();
        while self
            .sessions
            .peek()
            .is_some_and(|Reverse((due_ms, _))| *due_ms <= now_ms)
        {
            let Some(Reverse((due_ms, id))) = self.sessions.pop() else {
                break;
            };
            let Some(member) = self.members.get_mut(&id).filter(|member| member.timer_ms == due_ms) else {
                continue;
            };
            if member.joining.is_some() || member.syncing.is_some() {
                member.timer_ms = now_ms + i64::from(member.session_timeout_ms.max(1));
            } else if member.expires_ms > now_ms {
                member.timer_ms = member.expires_ms;
            } else {
                silent.push(id);
                continue;
            }
            self.sessions.push(Reverse((member.timer_ms, id)));
        }
        silent
    }

    pub(super) fn tick(&mut self, now_ms: i64, effects: &mut Vec<Effect>) {
        self.pending.retain(|_, void_ms| now_ms < *void_ms);
        let mut out = self.silent(now_ms);
        if matches!(self.state, State::Completing { deadline_ms, storing: false } if now_ms >= deadline_ms) {
            let late = self.members.iter().filter(|(_, member)| member.syncing.is_none());
            out.extend(late.map(|(id, _)| id.clone()));
        }
        out.sort();
        for member_id in out {
            self.remove(&member_id, now_ms, effects);
        }
        self.try_complete(now_ms, effects);
    }

    /// When something is due, at the latest.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        let silence = self.sessions.peek().map(|Reverse((due_ms, _))| *due_ms);
        let state = match self.state {
            State::Preparing { deadline_ms, .. }
            | State::Completing {
                deadline_ms,
                storing: false,
            } => Some(deadline_ms),
            State::Completing { storing: true, .. } | State::Empty | State::Stable => None,
        };
        silence
            .into_iter()
            .chain(self.pending.values().copied())
            .chain(state)
            .min()
    }

    /// A group that never had a generation, and that no member is about to join, needs no memory.
    pub(super) fn was_never_stored(&self) -> bool {
        self.state == State::Empty && self.members.is_empty() && self.pending.is_empty() && self.generation == 0
    }
}

impl Member {
    fn new(ticket: Ticket, join: Join, now_ms: i64) -> Self {
        let rebalance_timeout_ms = if join.rebalance_timeout_ms > 0 {
            join.rebalance_timeout_ms
        } else {
            join.session_timeout_ms
        };
        Self {
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            joining: Some(ticket),
            syncing: None,
            expires_ms: now_ms + i64::from(join.session_timeout_ms),
            timer_ms: i64::MAX,
        }
    }

    pub(super) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, metadata)| metadata)
    }
}
