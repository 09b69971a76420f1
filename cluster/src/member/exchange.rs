//! What a member hears of others, and the exchange that finds what rumors missed.

use super::dissemination;
use super::membership::{Effect, Membership};
use super::notes::Note;
use super::suspicion::Suspicion;
use super::table::{Rumor, Status};
use super::wire::{self, HEADER_BYTES};
use super::{BUCKETS, Body, MemberId, Millis, Packet};
use crate::plant::{self, Plant};

impl Membership {
    pub(super) fn digest(&self) -> Vec<u64> {
        let mut buckets = self.table.digest();
        for rumor in self.table.iter() {
            buckets[rumor.bucket()] ^= self.notes.hash_of(rumor.id);
        }
        buckets
    }

    /// Sends what differs, in packets that are not too long; and asks for the other's, unless it answers.
    pub(super) fn compare(&mut self, with: MemberId, answer: bool, theirs: &[u64], effects: &mut Vec<Effect>) {
        let mine = self.digest();
        let differs: Vec<bool> = (0..BUCKETS)
            .map(|bucket| theirs.get(bucket) != mine.get(bucket))
            .collect();
        if !differs.contains(&true) {
            return;
        }
        if !answer {
            self.send(
                with,
                Body::Digest {
                    answer: true,
                    buckets: mine,
                },
                effects,
            );
        }
        let rumors: Vec<Rumor> = self
            .table
            .iter()
            .filter(|rumor| differs[rumor.bucket()])
            .copied()
            .collect();
        let room = self.settings.packet_bytes.saturating_sub(HEADER_BYTES);
        let packet = |rumors: Vec<Rumor>, notes: Vec<Note>| Effect::Send {
            to: with,
            packet: Packet {
                from: self.id,
                generation: self.generation,
                body: Body::News,
                rumors,
                notes,
            },
        };
        for some in rumors.chunks((room / wire::RUMOR_BYTES).max(1)) {
            effects.push(packet(some.to_vec(), Vec::new()));
        }
        let owners: Vec<MemberId> = rumors.iter().map(|rumor| rumor.id).collect();
        let mut some: Vec<Note> = Vec::new();
        let mut bytes = 0;
        for note in self
            .notes
            .iter()
            .filter(|note| owners.binary_search(&note.owner).is_ok())
        {
            let size = wire::note_bytes(&note);
            if bytes + size > room {
                effects.push(packet(Vec::new(), std::mem::take(&mut some)));
                bytes = 0;
            }
            bytes += size;
            some.push(note);
        }
        if !some.is_empty() {
            effects.push(packet(Vec::new(), some));
        }
    }

    /// Takes a rumor over, if it counts.
    pub(super) fn heard(&mut self, rumor: Rumor, now: Millis, effects: &mut Vec<Effect>) {
        if rumor.id == self.id {
            return self.heard_of_itself(rumor, effects);
        }
        let before = match self.table.merge(rumor, self.settings.members_max) {
            Some(before) => before,
            None => return self.confirm(rumor),
        };
        self.news.rumor(rumor);
        self.suspicions.retain(|suspicion| suspicion.id != rumor.id);
        let was_present = before.is_some_and(|before| before.status.is_present());
        let is_new = before.is_none_or(|before| before.generation != rumor.generation);
        match rumor.status {
            Status::Alive if is_new || !was_present => {
                effects.push(Effect::Up {
                    id: rumor.id,
                    generation: rumor.generation,
                });
            }
            Status::Alive => {}
            Status::Suspect => {
                effects.push(Effect::Doubt { id: rumor.id });
                let (settings, members) = (&self.settings, self.table.present());
                let min = dissemination::suspicion_min(settings.suspicion_factor, members, settings.period);
                let max = min * u64::from(settings.suspicion_max_factor);
                // Without others no one can confirm it, and it would always last as long as it can.
                let max = if members < 4 { max / 2 } else { max };
                self.suspicions.push(Suspicion::new(rumor.id, rumor.by, now, min, max));
            }
            Status::Dead | Status::Left if was_present || before.is_none() => {
                effects.push(Effect::Down {
                    id: rumor.id,
                    generation: rumor.generation,
                });
            }
            Status::Dead | Status::Left => {}
        }
    }

    /// A suspicion that is known, by another member.
    pub(super) fn confirm(&mut self, rumor: Rumor) {
        let known = self.table.get(rumor.id).copied();
        if rumor.status != Status::Suspect || known.is_none_or(|known| known.rank() != rumor.rank()) {
            return;
        }
        let suspicion = self.suspicions.iter_mut().find(|suspicion| suspicion.id == rumor.id);
        if suspicion.is_some_and(|suspicion| suspicion.confirm(rumor.by)) {
            self.news.rumor(rumor);
        }
    }

    /// Refutes by a newer incarnation what is not so.
    pub(super) fn heard_of_itself(&mut self, rumor: Rumor, effects: &mut Vec<Effect>) {
        if rumor.generation > self.generation {
            // Another process has taken this one's place: it is the other's to speak.
            return;
        }
        let is_wrong = rumor.generation == self.generation
            && rumor.status != Status::Alive
            && rumor.incarnation >= self.incarnation;
        if !is_wrong || plant::is(Plant::NeverRefutes) {
            return;
        }
        self.incarnation = rumor.incarnation.saturating_add(1);
        self.health.worse();
        let me = self.myself();
        self.table.merge(me, usize::MAX);
        self.news.rumor(me);
        effects.push(Effect::Refuted {
            incarnation: self.incarnation,
        });
    }

    pub(super) fn noted(&mut self, note: Note, effects: &mut Vec<Effect>) {
        if self.table.get(note.owner).is_some() && self.notes.merge_note(&note) {
            self.news.note(note.clone());
            effects.push(Effect::Noted(note));
        }
    }
}
