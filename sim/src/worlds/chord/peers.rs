//! The members' pointers, and the steps of the protocol; each reads another member's state and changes its own.

/// What is published and what is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Length of successor lists.
    pub successors: usize,
    /// A joining member takes over a whole list; as published, it learns of one successor.
    pub full_list_at_join: bool,
    /// Who is proposed as a successor is asked whether it lives; as published, it is believed.
    pub asks_first: bool,
    /// Members that stay: identifiers below `base` times two, the even ones.
    pub base: usize,
}

impl Rules {
    pub const CORRECTED: Self = Self {
        successors: 2,
        full_list_at_join: true,
        asks_first: true,
        base: 3,
    };
    pub const PUBLISHED: Self = Self {
        full_list_at_join: false,
        asks_first: false,
        base: 0,
        ..Self::CORRECTED
    };
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Peer {
    pub lives: bool,
    pub successors: Vec<usize>,
    pub predecessor: Option<usize>,
}

/// All members, by identifier. The circle has as many places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peers {
    pub peers: Vec<Peer>,
}

/// Whether going up from `from` one meets `x` before `to`, neither end included; a whole circle if they are the same.
pub fn between(from: usize, x: usize, to: usize) -> bool {
    if from < to {
        from < x && x < to
    } else {
        x > from || x < to
    }
}

impl Peers {
    /// A perfect ring of some members among `places`.
    pub fn ring(places: usize, members: &[usize], successors: usize) -> Self {
        let mut peers = vec![Peer::default(); places];
        let count = members.len();
        for (at, member) in members.iter().enumerate() {
            peers[*member] = Peer {
                lives: true,
                successors: (1..=successors).map(|step| members[(at + step) % count]).collect(),
                predecessor: Some(members[(at + count - 1) % count]),
            };
        }
        Self { peers }
    }

    pub fn lives(&self, id: usize) -> bool {
        self.peers[id].lives
    }

    pub fn members(&self) -> impl Iterator<Item = usize> {
        (0..self.peers.len()).filter(|id| self.lives(*id))
    }

    /// The first successor that lives.
    pub fn live_successor(&self, id: usize) -> Option<usize> {
        self.peers[id]
            .successors
            .iter()
            .copied()
            .find(|successor| self.lives(*successor))
    }

    /// The member after which `id` belongs, found by walking from `from`.
    fn predecessor_of(&self, id: usize, from: usize) -> Option<usize> {
        let mut at = from;
        for _ in 0..self.peers.len() {
            let next = self.live_successor(at)?;
            if between(at, id, next) || at == next {
                return Some(at);
            }
            at = next;
        }
        None
    }

    /// A new member joins through one that it knows.
    pub fn join(&mut self, id: usize, known: usize, rules: Rules) -> bool {
        if self.lives(id) {
            return false;
        }
        let Some(before) = self.predecessor_of(id, known) else {
            return false;
        };
        let successors = if rules.full_list_at_join {
            self.peers[before].successors.clone()
        } else {
            self.live_successor(before).into_iter().collect()
        };
        // Its first successor must live, or it would begin lost.
        if !successors.first().is_some_and(|first| self.lives(*first)) {
            return false;
        }
        self.peers[id] = Peer {
            lives: true,
            successors,
            predecessor: None,
        };
        true
    }

    /// A member looks after its successors: the dead first one goes, a nearer one is taken, the list is the first one's.
    pub fn stabilize(&mut self, id: usize, rules: Rules) {
        let Some(first) = self.live_successor(id) else { return };
        self.adopt(id, first, rules);
        if let Some(nearer) = self.peers[first]
            .predecessor
            .filter(|nearer| between(id, *nearer, first))
        {
            if self.lives(nearer) {
                self.adopt(id, nearer, rules);
            } else if !rules.asks_first {
                // Believed without asking: a dead one takes the place of the live one.
                self.peers[id].successors[0] = nearer;
            }
        }
        if let Some(first) = self.live_successor(id) {
            self.rectify(first, id);
        }
    }

    fn adopt(&mut self, id: usize, first: usize, rules: Rules) {
        let behind = self.peers[first].successors.iter().copied();
        let list = [first].into_iter().chain(behind).take(rules.successors);
        self.peers[id].successors = list.collect();
    }

    /// A member hears of one that takes itself for its predecessor.
    fn rectify(&mut self, id: usize, candidate: usize) {
        let known = self.peers[id].predecessor;
        let takes = known.is_none_or(|known| !self.lives(known) || between(known, candidate, id));
        if takes && id != candidate {
            self.peers[id].predecessor = Some(candidate);
        }
    }

    /// Whether the assumption holds that every other member keeps a live successor.
    pub fn may_fail(&self, id: usize, rules: Rules) -> bool {
        let is_base = id < 2 * rules.base && id.is_multiple_of(2);
        let keeps = |other: usize| {
            self.peers[other]
                .successors
                .iter()
                .any(|one| *one != id && self.lives(*one))
        };
        self.lives(id) && !is_base && self.members().all(|other| other == id || keeps(other))
    }

    pub fn fail(&mut self, id: usize) {
        self.peers[id] = Peer::default();
    }
}
