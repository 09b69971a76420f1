//! Runs the stories of `tests/stories/group`: a command is a call of a member or the passing of time; its output is each
//! response that was sent, by the name of the member, and the state of the group when it has changed.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use log_broker_wire::internal::consumer_offsets::Entry;

use super::*;

struct World {
    groups: Groups,
    now_ms: i64,
    next: Ticket,
    /// Who waits, by ticket; and the member id and generation of each name.
    waiting: BTreeMap<Ticket, String>,
    members: BTreeMap<String, (String, i32)>,
    /// What was stored last, and whether storing fails.
    stored: Option<Entry>,
    disk_fails: bool,
    /// What the last output said.
    state: &'static str,
}

impl testing::stories::World for World {
    fn run(&mut self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap();
        let name = words.next().unwrap_or_default().to_owned();
        let options: BTreeMap<&str, &str> = words.map(|word| word.split_once('=').unwrap_or((word, ""))).collect();
        let known = self.members.get(&name).cloned().unwrap_or_default();
        let instance_id = options.get("instance").map(|instance| (*instance).to_owned());
        let generation = options
            .get("generation")
            .map_or(known.1, |generation| generation.parse().unwrap());
        let member = Identity {
            member_id: known.0.clone(),
            instance_id: instance_id.clone(),
            generation,
        };
        self.next += 1;
        let ticket = self.next;
        let mut out = String::new();
        match verb {
            "settings" => {
                self.groups = Groups::new(Settings {
                    initial_rebalance_delay_ms: options["delay"].parse().unwrap(),
                    ..self.groups.settings
                });
            }
            "join" => {
                self.waiting.insert(ticket, name.clone());
                let protocols = options.get("protocols").unwrap_or(&"range").split(',');
                let metadata = match options.get("topics") {
                    Some(topics) => subscription(topics.split(',')),
                    None => Bytes::from(options.get("metadata").copied().unwrap_or("m").to_owned()),
                };
                let join = Join {
                    group: "g".to_owned(),
                    member_id: if options.contains_key("new") {
                        String::new()
                    } else {
                        known.0
                    },
                    instance_id,
                    client_id: name.clone(),
                    client_host: "/h".to_owned(),
                    session_timeout_ms: options.get("session").map_or(10_000, |ms| ms.parse().unwrap()),
                    rebalance_timeout_ms: 30_000,
                    protocol_type: options.get("type").unwrap_or(&"consumer").to_string(),
                    protocols: protocols.map(|p| (p.to_owned(), metadata.clone())).collect(),
                    takes_member_id: options.contains_key("takes-id"),
                    can_skip_assignment: true,
                };
                let effects = self.groups.join(ticket, join, format!("{name}#{ticket}"), self.now_ms);
                self.tell(effects, &mut out);
            }
            "sync" => {
                self.waiting.insert(ticket, name.clone());
                let assignments = options.get("assign").map(|all| {
                    all.split(',')
                        .map(|one| one.split_once(':').unwrap())
                        .map(|(who, what)| (self.members[who].0.clone(), Bytes::from(what.to_owned())))
                        .collect()
                });
                let sync = Sync {
                    group: "g".to_owned(),
                    member,
                    protocol_type: None,
                    protocol: None,
                    assignments: assignments.unwrap_or_default(),
                };
                let effects = self.groups.sync(ticket, sync, self.now_ms);
                self.tell(effects, &mut out);
            }
            "heartbeat" => {
                let error = self.groups.heartbeat("g", &member, self.now_ms);
                writeln!(out, "{name}: {}", error.name()).unwrap();
            }
            "commit" => {
                let error = self.groups.may_commit("g", &member, false, self.now_ms);
                writeln!(out, "{name}: {}", error.name()).unwrap();
            }
            "commit-alone" => {
                let nobody = Identity {
                    member_id: String::new(),
                    instance_id: None,
                    generation: -1,
                };
                let error = self.groups.may_commit("g", &nobody, false, self.now_ms);
                writeln!(out, "{}", error.name()).unwrap();
            }
            "leave" => {
                let (error, effects) =
                    self.groups
                        .leave("g", &member.member_id, member.instance_id.as_deref(), self.now_ms);
                writeln!(out, "{name}: {}", error.name()).unwrap();
                self.tell(effects, &mut out);
            }
            "subscribed" => {
                let error = self.groups.may_delete_offsets("g", &name);
                writeln!(out, "{}", error.name()).unwrap();
            }
            "disk" => self.disk_fails = name == "fails",
            "restart" => {
                self.groups = Groups::new(self.groups.settings);
                self.waiting.clear();
                let mut replay = Replay::default();
                replay.apply(self.stored.clone().unwrap_or_else(|| group_tombstone("g")));
                self.groups.restore_all(replay, self.now_ms);
            }
            "wait" => {
                self.now_ms += name.parse::<i64>().unwrap();
                let effects = self.groups.tick(self.now_ms);
                self.tell(effects, &mut out);
            }
            other => panic!("unknown verb {other}"),
        }
        let state = self.groups.describe("g").map_or("Forgotten", |group| group.state);
        if state != self.state {
            writeln!(out, "= {state}").unwrap();
            self.state = state;
        }
        out
    }
}

impl World {
    fn tell(&mut self, effects: Vec<Effect>, out: &mut String) {
        for effect in effects {
            match effect {
                Effect::Joined(ticket, joined) => {
                    let name = self.waiting.remove(&ticket).expect("a response to a pending request");
                    self.members
                        .insert(name.clone(), (joined.member_id.clone(), joined.generation));
                    if joined.error != ErrorCode::NONE {
                        let line = format!("{name}: {} as {}", joined.error.name(), joined.member_id);
                        writeln!(out, "{}", line.trim_end()).unwrap();
                        continue;
                    }
                    let protocol = joined.protocol.unwrap_or_default();
                    let members: Vec<String> = joined.members.into_iter().map(|(id, ..)| id).collect();
                    let skip = if joined.skip_assignment { " skip" } else { "" };
                    let (id, generation, leader) = (joined.member_id, joined.generation, joined.leader);
                    writeln!(
                        out,
                        "{name}: joined {generation} as {id}, {protocol}, leader {leader} {members:?}{skip}"
                    )
                    .unwrap();
                }
                Effect::Synced(ticket, synced) => {
                    let name = self.waiting.remove(&ticket).expect("a response to a pending request");
                    let assignment = String::from_utf8_lossy(&synced.assignment).into_owned();
                    let line = format!("{name}: synced {} {assignment}", synced.error.name());
                    writeln!(out, "{}", line.trim_end()).unwrap();
                }
                Effect::Store(store) => {
                    if !self.disk_fails {
                        // As it is read again.
                        let (key, value) = store.entry.encode();
                        self.stored = Entry::decode(&key, value.as_ref()).unwrap();
                    }
                    let succeeded = !self.disk_fails;
                    let more = self.groups.stored("g", store.generation, succeeded, self.now_ms);
                    self.tell(store.then, out);
                    self.tell(more, out);
                }
            }
        }
    }
}

/// What a consumer says of the topics that it reads.
fn subscription<'a>(topics: impl Iterator<Item = &'a str>) -> Bytes {
    let topics: Vec<&str> = topics.collect();
    let mut metadata = vec![0, 1, 0, 0, 0, topics.len() as u8];
    for topic in topics {
        metadata.extend((topic.len() as u16).to_be_bytes());
        metadata.extend(topic.as_bytes());
    }
    Bytes::from(metadata)
}

fn world() -> World {
    let settings = Settings {
        initial_rebalance_delay_ms: 0,
        session_timeout_ms_min: 6000,
        session_timeout_ms_max: 60_000,
        members_max: 3,
    };
    World {
        groups: Groups::new(settings),
        now_ms: 0,
        next: 0,
        waiting: BTreeMap::new(),
        members: BTreeMap::new(),
        stored: None,
        disk_fails: false,
        state: "Forgotten",
    }
}

#[test]
fn stories() {
    testing::stories::run("tests/stories/group", 10, world);
}

#[test]
fn a_heartbeat_costs_the_same_in_a_group_of_any_size() {
    let settings = Settings {
        initial_rebalance_delay_ms: 0,
        session_timeout_ms_min: 6000,
        session_timeout_ms_max: 60_000,
        members_max: 10_000,
    };
    let mut groups = Groups::new(settings);
    let members = 2000;
    let stored = StoredGroup {
        protocol_type: "consumer".to_owned(),
        protocol: Some("range".to_owned()),
        generation: 1,
        leader: Some("m0".to_owned()),
        members: (0..members)
            .map(|i| {
                let member = StoredMember {
                    instance_id: None,
                    client_id: String::new(),
                    client_host: String::new(),
                    session_timeout_ms: 10_000,
                    rebalance_timeout_ms: 10_000,
                    metadata: Bytes::new(),
                    assignment: Bytes::new(),
                };
                (format!("m{i}"), member)
            })
            .collect(),
        state_since_ms: 0,
    };
    groups.restore("g", stored, 0);
    let identity = |i: usize| Identity {
        member_id: format!("m{i}"),
        instance_id: None,
        generation: 1,
    };
    for now_ms in [3000, 6000, 9000] {
        for member in 0..members {
            assert_eq!(groups.heartbeat("g", &identity(member), now_ms), ErrorCode::NONE);
        }
    }
    // Heartbeats move nothing in the heaps; what comes up too early is put back once for each member.
    assert_eq!((groups.timers.len(), groups.groups["g"].sessions.len()), (1, members));
    assert_eq!(groups.next_deadline(), Some(10_000));
    assert_eq!(groups.tick(10_000), []);
    assert_eq!(
        (groups.next_deadline(), groups.groups["g"].sessions.len()),
        (Some(19_000), members)
    );
    // All but one are silent from now on.
    assert_eq!(groups.heartbeat("g", &identity(7), 18_000), ErrorCode::NONE);
    groups.tick(19_000);
    let group = groups.describe("g").unwrap();
    assert_eq!((group.state, group.members.len()), ("PreparingRebalance", 1));
}

#[test]
fn joins_that_come_to_nothing_leave_nothing() {
    let mut groups = Groups::new(Settings {
        initial_rebalance_delay_ms: 0,
        session_timeout_ms_min: 6000,
        session_timeout_ms_max: 60_000,
        members_max: 3,
    });
    for (i, protocols) in [vec![], vec![("range".to_owned(), Bytes::new())]]
        .into_iter()
        .enumerate()
    {
        let join = Join {
            group: format!("g{i}"),
            member_id: String::new(),
            instance_id: None,
            client_id: String::new(),
            client_host: String::new(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".to_owned(),
            protocols,
            takes_member_id: true,
            can_skip_assignment: false,
        };
        groups.join(1, join, "m".to_owned(), 0);
    }
    // One was refused; the other was given an id, which it does not come back with.
    assert_eq!(groups.groups.len(), 1);
    groups.tick(10_000);
    assert_eq!((groups.groups.len(), groups.timers.len()), (0, 0));
}
