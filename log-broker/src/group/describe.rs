//! What administrators see of groups.

use bytes::Bytes;

use super::{Group, Groups, State};

/// A group as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    pub state: &'static str,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

impl Groups {
    /// Name, protocol type and state of every group that has, or had, members.
    pub fn list(&self) -> Vec<(String, String, &'static str)> {
        self.groups
            .iter()
            .map(|(name, g)| (name.clone(), g.protocol_type.clone(), g.state_name()))
            .collect()
    }

    pub fn describe(&self, group: &str) -> Option<DescribedGroup> {
        let group = self.groups.get(group)?;
        let protocol = group.protocol.clone().unwrap_or_default();
        let members = group.members.iter().map(|(id, member)| DescribedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(&protocol).cloned().unwrap_or_default(),
            assignment: member.assignment.clone(),
        });
        Some(DescribedGroup {
            state: group.state_name(),
            protocol_type: group.protocol_type.clone(),
            members: members.collect(),
            protocol,
        })
    }

    /// Whether the group has members, so that its offsets must not be deleted.
    pub fn has_members(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| !group.members.is_empty())
    }

    /// Members in all groups.
    pub fn member_count(&self) -> usize {
        self.groups.values().map(|group| group.members.len()).sum()
    }
}

impl Group {
    fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::Preparing { .. } => "PreparingRebalance",
            State::Completing { .. } => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}
