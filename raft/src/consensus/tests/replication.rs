use super::Cluster;
use crate::consensus::{Body, Event, Payload, RoleName};

fn commands(cluster: &Cluster, id: u64) -> Vec<String> {
    let applied = cluster.node(id).applied.iter();
    applied
        .filter_map(|entry| match &entry.payload {
            Payload::Command(command) => Some(String::from_utf8_lossy(command).into_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_proposal_is_applied_by_everybody() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, 7, "x");
    cluster.deliver();
    for id in 1..=3 {
        assert_eq!(commands(&cluster, id), ["x"]);
    }
    let proposed: Vec<_> = cluster.take_effects(1).into_iter().flat_map(|e| e.proposed).collect();
    assert_eq!((proposed[0].ticket, proposed[0].position.index), (7, 2));
}

#[test]
fn a_single_voter_needs_nobody() {
    let mut cluster = Cluster::new(1);
    cluster.run(10, |_| true);
    assert_eq!(cluster.leader(), Some(1));
    cluster.propose(1, 1, "alone");
    assert_eq!(commands(&cluster, 1), ["alone"]);
    cluster.step(1, Event::ReadIndex(vec![5]));
    let reads: Vec<_> = cluster.take_effects(1).into_iter().flat_map(|e| e.reads).collect();
    assert_eq!((reads[0].ticket, reads[0].index), (5, 2));
}

#[test]
fn a_leader_sends_while_it_syncs_and_commits_when_a_quorum_is_durable() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.syncs = false;
    cluster.propose(1, 1, "x");
    let sent = cluster
        .network
        .iter()
        .filter(|m| matches!(m.body, Body::Append { .. }))
        .count();
    assert_eq!(sent, 2, "entries leave before the own write is durable");
    cluster.deliver();
    assert_eq!(cluster.node(1).core.commit(), 1, "nobody has synced");
    let write = cluster.nodes.get_mut(&2).unwrap().unsynced.pop_front().unwrap();
    cluster.step(
        2,
        Event::Persisted {
            first: write,
            last: write,
        },
    );
    cluster.deliver();
    assert_eq!(cluster.node(1).core.commit(), 1, "one of three has synced");
    let write = cluster.nodes.get_mut(&1).unwrap().unsynced.pop_front().unwrap();
    cluster.step(
        1,
        Event::Persisted {
            first: write,
            last: write,
        },
    );
    assert_eq!(cluster.node(1).core.commit(), 2);
}

#[test]
fn time_alone_elects_a_leader_and_a_cut_off_leader_steps_down() {
    let mut cluster = Cluster::new(5);
    cluster.run(5_000, |_| true);
    let first = cluster.leader().unwrap();
    cluster.run(5_000, |message| message.from != first && message.to != first);
    assert_ne!(cluster.leader(), Some(first));
    assert_ne!(cluster.node(first).core.soft_state().role, RoleName::Leader);
    let second = cluster.leader().unwrap();
    cluster.propose(second, 1, "kept");
    cluster.run(3_000, |_| true);
    assert_eq!(cluster.leader(), Some(second), "who comes back does not depose");
    assert_eq!(commands(&cluster, first), ["kept"]);
}

/// Found by the simulated world: nothing was proposed any more, so nothing made up for the lost acknowledgement.
#[test]
fn an_acknowledgement_that_is_lost_is_asked_for_again() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.propose(1, 7, "x");
    cluster.deliver_if(|message| !matches!(message.body, Body::AppendAck { .. }));
    assert_eq!(cluster.node(1).core.commit(), 1, "nobody's acknowledgement arrived");
    cluster.run(500, |_| true);
    assert_eq!(cluster.node(1).core.commit(), 2);
    assert_eq!(commands(&cluster, 3), ["x"]);
}
