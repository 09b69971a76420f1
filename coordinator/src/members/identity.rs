//! Ids as etcd makes them, so that the same flags give the same ids.

use sha1::{Digest, Sha1};

/// The id of a member with these peer URLs. InitialState members are told apart from those of other clusters by the `token`;
/// those that are added later by the time, in seconds since 1970.
pub fn member_id(peer_urls: &[String], token: &str, added_at: Option<u64>) -> u64 {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let mut hash = Sha1::new();
    for url in urls {
        hash.update(url.as_bytes());
    }
    hash.update(token.as_bytes());
    if let Some(seconds) = added_at {
        hash.update(seconds.to_string().as_bytes());
    }
    first_eight(&hash.finalize())
}

/// The id of the cluster that these members found.
pub fn cluster_id(members: impl IntoIterator<Item = u64>) -> u64 {
    let mut members: Vec<u64> = members.into_iter().collect();
    members.sort_unstable();
    let mut hash = Sha1::new();
    for member in members {
        hash.update(member.to_be_bytes());
    }
    first_eight(&hash.finalize())
}

fn first_eight(hash: &[u8]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&hash[..8]);
    // Zero is no member.
    u64::from_be_bytes(number).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real etcd with its default flags has.
    #[test]
    fn ids_are_etcds() {
        let member = member_id(&["http://localhost:2380".to_owned()], "etcd-cluster", None);
        assert_eq!(format!("{member:x}"), "8e9e05c52164694d");
        assert_eq!(format!("{:x}", cluster_id([member])), "cdf818194e3a8c32");
    }
}
