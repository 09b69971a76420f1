//! Downgrades: checked, begun and cancelled as in etcd, and never finished.
//!
//! In etcd a downgrade is a job that all members know of. While it stands, the cluster's version goes down to the release
//! line before, and once it has, members may be replaced by that line's program one after the other. Operators and tools
//! wait for that version before they replace anything. No etcd 3.5 can read what this program writes, so here the job is
//! committed, kept and shown in every member's status, a second one is refused as long as it stands, and it can be
//! cancelled; but the version stays where it is, so no one who waits for it replaces a member. The log says why.

use std::sync::Arc;

use coordinator_wire::coordinatorpb::DowngradeJob;
use coordinator_wire::etcdserverpb as pb;
use pb::downgrade_request::DowngradeAction;

use crate::Error;
use crate::auth;
use crate::machine::{Outcome, Request};
use crate::server::replica::node::Node;
use crate::server::settings::version::release_line;

/// Carries out a request, which someone with the right to has made; `None` where there is no such action.
pub(in crate::server) async fn answer(
    node: &Arc<Node>,
    request: &pb::DowngradeRequest,
) -> Option<Result<pb::DowngradeResponse, Error>> {
    let action = DowngradeAction::try_from(request.action).ok()?;
    if node.is_learner() {
        return Some(Err(Error::NotSupportedForLearner));
    }
    let outcome = match action {
        DowngradeAction::Validate => validate(node, &request.version).await.map(drop),
        DowngradeAction::Enable => {
            let enabled = enable(node, &request.version).await;
            if let Err(error) = &enabled {
                tracing::warn!(%error, "reject downgrade request");
            }
            enabled
        }
        DowngradeAction::Cancel => {
            // etcd answers this way also where there was none, and tells it to its log only.
            if let Err(error) = cancel(node).await {
                tracing::warn!(%error, "failed to cancel downgrade");
            }
            Ok(())
        }
    };
    Some(outcome.map(|()| pb::DowngradeResponse {
        header: Some(node.header(node.machine().store().revision())),
        version: release_line(),
    }))
}

/// What a status shows.
pub(in crate::server) fn info(node: &Node) -> pb::DowngradeInfo {
    let machine = node.machine();
    let target = machine.members().downgrade_target();
    pb::DowngradeInfo {
        enabled: target.is_some(),
        target_version: target.unwrap_or_default().to_owned(),
    }
}

/// Whether a downgrade may begin, as of now; its target as etcd writes it.
async fn validate(node: &Arc<Node>, version: &str) -> Result<String, Error> {
    let target = line_of(version).ok_or(Error::WrongDowngradeVersionFormat)?;
    node.linearizable_read().await?;
    if Some(target) != line_before(&release_line()) {
        return Err(Error::InvalidDowngradeTarget);
    }
    match node.machine().members().downgrade_target() {
        Some(_) => Err(Error::DowngradeInProcess),
        None => Ok(format!("{}.{}.0", target.0, target.1)),
    }
}

async fn enable(node: &Arc<Node>, version: &str) -> Result<(), Error> {
    let target = validate(node, version).await?;
    set(node, target.clone()).await?;
    tracing::warn!(
        target,
        "a downgrade job stands: no etcd of that release can read this data, so the cluster's version stays as it is; \
         cancel it with `etcdctl downgrade cancel`"
    );
    Ok(())
}

async fn cancel(node: &Arc<Node>) -> Result<(), Error> {
    node.linearizable_read().await?;
    if node.machine().members().downgrade_target().is_none() {
        return Err(Error::NoInflightDowngrade);
    }
    set(node, String::new()).await
}

async fn set(node: &Arc<Node>, target_version: String) -> Result<(), Error> {
    let job = Request::Downgrade(DowngradeJob { target_version });
    match node.propose(auth::root(), job).await? {
        Outcome::Done => Ok(()),
        _ => Err(Error::Stopped),
    }
}

/// The release line of a version as etcd reads it: MAJOR.MINOR, or a full one, with or without what may follow it.
fn line_of(version: &str) -> Option<(u64, u64)> {
    let without_build = version.split_once('+').map_or(version, |(before, _)| before);
    let (numbers, follows) = match without_build.split_once('-') {
        Some((numbers, _)) => (numbers, true),
        None => (without_build, without_build != version),
    };
    let mut parts = numbers.split('.').map(number);
    match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
        (Some(major), Some(minor), Some(Some(_)), None) => Some((major, minor)),
        (Some(major), Some(minor), None, None) if !follows => Some((major, minor)),
        _ => None,
    }
}

fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// The line before `line`: the only one that a cluster of it can be downgraded to.
fn line_before(line: &str) -> Option<(u64, u64)> {
    let (major, minor) = line_of(line)?;
    Some((major, minor.checked_sub(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_etcd_reads_them() {
        for (version, line) in [
            ("3.5", Some((3, 5))),
            ("3.5.0", Some((3, 5))),
            ("3.5.17-rc.1", Some((3, 5))),
            ("3.5.0+build", Some((3, 5))),
            ("2.5", Some((2, 5))),
            ("", None),
            ("3", None),
            ("v3.5", None),
            ("3.5.0.0", None),
            ("3.+5", None),
            ("3.5-rc.1", None),
            ("a.b", None),
        ] {
            assert_eq!(line_of(version), line, "{version:?}");
        }
        assert_eq!(line_before("3.6"), Some((3, 5)));
        assert_eq!(line_before("4.0"), None);
    }
}
