//! How stories are told. Terms and indexes are written `3@2`: index 3, of term 2.

use std::fmt::Write;

use raft::consensus::{Body, Effects, Entry, MemberId, Membership, Message, Payload, Position, RoleName, SoftState};

pub fn position(position: Position) -> String {
    format!("{}@{}", position.index, position.term)
}

pub fn entry(entry: &Entry) -> String {
    let what = match &entry.payload {
        Payload::Blank => "-".to_string(),
        Payload::Command(command) => String::from_utf8_lossy(command).into_owned(),
        Payload::Membership(change) => membership(&change.membership),
    };
    format!("{} {what}", position(entry.position()))
}

pub fn entries(entries: &[Entry]) -> String {
    let all: Vec<String> = entries.iter().map(entry).collect();
    format!("[{}]", all.join(", "))
}

pub fn membership(membership: &Membership) -> String {
    let list = |ids: &[MemberId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match membership.learners() {
        [] => format!("({})", list(membership.voters())),
        learners => format!("({} + {})", list(membership.voters()), list(learners)),
    }
}

pub fn soft_state(soft_state: SoftState) -> String {
    let SoftState { term, role, leader } = soft_state;
    match (role, leader) {
        (RoleName::Leader, _) => format!("leads in term {term}"),
        (RoleName::PreCandidate, _) => format!("asks for pre-votes in term {term}"),
        (RoleName::Candidate, _) => format!("is a candidate in term {term}"),
        (RoleName::Follower, Some(leader)) => format!("follows {leader} in term {term}"),
        (RoleName::Follower, None) => format!("follows nobody in term {term}"),
    }
}

pub fn message(message: &Message) -> String {
    let Message { from, to, term, body } = message;
    let yes = |granted: &bool| if *granted { "yes" } else { "no" };
    let body = match body {
        Body::PreVote { last } => format!("pre-vote? I have {}", position(*last)),
        Body::PreVoteReply { granted } => format!("pre-vote: {}", yes(granted)),
        Body::Vote { last, transfer: false } => format!("vote? I have {}", position(*last)),
        Body::Vote { last, transfer: true } => format!("vote? I have {}, the leader wants it", position(*last)),
        Body::VoteReply { granted } => format!("vote: {}", yes(granted)),
        Body::Append {
            previous,
            commit,
            entries: list,
            ..
        } => format!("append after {} {} commit {commit}", position(*previous), entries(list)),
        Body::Commit { commit, .. } => format!("commit {commit}"),
        Body::AppendAck { match_index, .. } => format!("appended {match_index}"),
        Body::AppendReject { previous, hint, .. } => format!("no entry {previous}, perhaps {}", position(*hint)),
        Body::Heartbeat { commit, round, .. } => format!("heartbeat {round} commit {commit}"),
        Body::HeartbeatAck { round, received, .. } => format!("heard {round}, have {received}"),
        Body::Snapshot { snapshot, .. } => {
            format!(
                "snapshot {} {}",
                position(snapshot.last),
                membership(&snapshot.membership)
            )
        }
        Body::TimeoutNow => "campaign now".to_string(),
        Body::ReadIndex { context } => format!("read {}.{}?", context.incarnation, context.attempt),
        Body::ReadIndexReply { context, outcome } => {
            format!("read {}.{}: {outcome:?}", context.incarnation, context.attempt)
        }
        Body::Forward { batch, commands } => format!("propose {}: {} for me", batch.number, commands.len()),
        Body::ForwardReply { batch, outcome } => format!("proposed {}: {outcome:?}", batch.number),
        Body::StaleTerm => "your term is over".to_string(),
    };
    format!("{from} > {to} (term {term}): {body}")
}

/// What a member wants done, but for its messages.
pub fn effects(id: MemberId, effects: &Effects) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{id}: {text}").expect("a string grows");
    if let Some(change) = effects.soft_state {
        line(soft_state(change));
    }
    if let Some(write) = &effects.write {
        if let Some(snapshot) = &write.install {
            line(format!("installs the snapshot {}", position(snapshot.last)));
        }
        if let Some(from) = write.truncate_from {
            line(format!("cuts off its log from {from} on"));
        }
    }
    if let Some(members) = &effects.membership {
        line(format!("members are {}", membership(members)));
    }
    for proposed in &effects.proposed {
        line(format!("#{} is {}", proposed.ticket, position(proposed.position)));
    }
    for read in &effects.reads {
        line(format!("#{} may read at {}", read.ticket, read.index));
    }
    for refused in &effects.refused {
        line(format!("#{} is refused: {:?}", refused.ticket, refused.why));
    }
    for fetch in &effects.fetches {
        line(format!(
            "reads {}..={} from its disk for {}",
            fetch.first, fetch.last, fetch.to
        ));
    }
    if let Some(contradiction) = effects.contradiction {
        line(format!(
            "CONTRADICTION by {} at {}",
            contradiction.from, contradiction.index
        ));
    }
    out
}
