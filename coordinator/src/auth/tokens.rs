//! Simple tokens: words that stand for a user until no one has used them for a while.

use std::collections::BTreeMap;

use super::{Auth, AuthOutcome, Change};
use crate::plant::{Plant, is_planted};

/// Tokens that may be valid at a time; the one that ends first makes room. Each costs about a hundred bytes, and an
/// authentication costs far more than that, so only a client that never keeps its token gets here.
pub const TOKENS_MAX: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    user: String,
    ends_ms: u64,
}

/// The tokens of this member.
///
/// - `by_end` has each token of `tokens` once, under the time at which it ends.
#[derive(Debug)]
pub struct SimpleTokens {
    tokens: BTreeMap<String, Token>,
    by_end: BTreeMap<(u64, String), ()>,
    ttl_ms: u64,
}

impl SimpleTokens {
    /// Tokens that end when they were not used for `ttl_ms`.
    pub fn new(ttl_ms: u64) -> Self {
        Self {
            tokens: BTreeMap::new(),
            by_end: BTreeMap::new(),
            ttl_ms,
        }
    }

    /// A token in etcd's form: the part that is chance, and the index of the entry that made it. A member that has not
    /// applied that entry yet knows by the index that it has to wait.
    pub fn name(prefix: &str, index: u64) -> String {
        format!("{prefix}.{index}")
    }

    /// The index in a token; `None` for what cannot be one.
    pub fn index(token: &str) -> Option<u64> {
        let (prefix, index) = token.split_once('.')?;
        let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        if prefix.is_empty() || !digits {
            return None;
        }
        index.parse().ok()
    }

    /// Keeps in step with an entry that was carried out.
    pub fn follow(&mut self, change: &Change, outcome: &AuthOutcome, now_ms: u64) {
        match (change, outcome) {
            (Change::Authenticated(_), AuthOutcome::Authenticated { user, token, .. }) if !token.is_empty() => {
                self.assign(token.clone(), user.clone(), now_ms);
            }
            (Change::UserDelete(request), _) => self.invalidate(&request.name),
            (Change::UserChangePassword(_), _) if is_planted(Plant::TokensOutlivePasswords) => {}
            (Change::UserChangePassword(request), _) => self.invalidate(&request.name),
            (Change::Disable(_), _) => self.clear(),
            _ => {}
        }
    }

    /// A snapshot took the place of entries that were never applied here. One of them may have ended a token, so all end,
    /// unless nothing about users was changed meanwhile. etcd keeps them, and with them those of users who are gone.
    pub fn skip(&mut self, before: &Auth, after: &Auth) {
        if before.revision() != after.revision() {
            self.clear();
        }
    }

    /// `token` stands for `user` from now on.
    pub fn assign(&mut self, token: String, user: String, now_ms: u64) {
        self.expire(now_ms);
        while self.tokens.len() >= TOKENS_MAX {
            let Some(((_, oldest), ())) = self.by_end.pop_first() else {
                break;
            };
            self.tokens.remove(&oldest);
        }
        self.remove(&token);
        let ends_ms = now_ms.saturating_add(self.ttl_ms);
        self.by_end.insert((ends_ms, token.clone()), ());
        self.tokens.insert(token, Token { user, ends_ms });
    }

    /// Whom a token stands for; using it gives it its whole time again.
    pub fn user(&mut self, token: &str, now_ms: u64) -> Option<String> {
        self.expire(now_ms);
        let found = self.tokens.get_mut(token)?;
        self.by_end.remove(&(found.ends_ms, token.to_owned()));
        found.ends_ms = now_ms.saturating_add(self.ttl_ms);
        self.by_end.insert((found.ends_ms, token.to_owned()), ());
        Some(found.user.clone())
    }

    /// None of a user's tokens is good any more.
    pub fn invalidate(&mut self, user: &str) {
        self.tokens.retain(|_, token| token.user != user);
        let tokens = &self.tokens;
        self.by_end.retain(|(_, token), ()| tokens.contains_key(token));
    }

    /// No token is good any more.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.by_end.clear();
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn remove(&mut self, token: &str) {
        if let Some(removed) = self.tokens.remove(token) {
            self.by_end.remove(&(removed.ends_ms, token.to_owned()));
        }
    }

    fn expire(&mut self, now_ms: u64) {
        while let Some(entry) = self.by_end.first_entry() {
            if entry.key().0 > now_ms {
                return;
            }
            let ((_, token), ()) = entry.remove_entry();
            self.tokens.remove(&token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_when_it_was_not_used_for_its_time() {
        let mut tokens = SimpleTokens::new(1000);
        tokens.assign("a.1".into(), "ann".into(), 0);
        assert_eq!(tokens.user("a.1", 999).as_deref(), Some("ann"));
        assert_eq!(tokens.user("a.1", 1998).as_deref(), Some("ann"), "it was used at 999");
        assert_eq!(tokens.user("a.1", 2998), None);
        assert!(tokens.is_empty() && tokens.by_end.is_empty());
    }

    #[test]
    fn a_user_loses_all_tokens_and_nobody_elses() {
        let mut tokens = SimpleTokens::new(1000);
        tokens.assign("a.1".into(), "ann".into(), 0);
        tokens.assign("b.2".into(), "bob".into(), 0);
        tokens.assign("c.3".into(), "ann".into(), 0);
        tokens.invalidate("ann");
        assert_eq!(tokens.user("a.1", 1), None);
        assert_eq!(tokens.user("c.3", 1), None);
        assert_eq!(tokens.user("b.2", 1).as_deref(), Some("bob"));
        tokens.clear();
        assert_eq!(tokens.user("b.2", 1), None);
    }

    #[test]
    fn a_snapshot_ends_tokens_if_users_changed_in_what_it_replaces() {
        let (before, mut after) = (Auth::default(), Auth::default());
        let mut tokens = SimpleTokens::new(1000);
        tokens.assign("a.1".into(), "ann".into(), 0);
        tokens.skip(&before, &after);
        assert_eq!(tokens.user("a.1", 1).as_deref(), Some("ann"));
        let add = Change::UserAdd(coordinator_wire::etcdserverpb::AuthUserAddRequest {
            name: "bob".to_owned(),
            ..Default::default()
        });
        assert!(after.apply(1, &crate::auth::Caller::default(), &add).is_ok());
        tokens.skip(&before, &after);
        assert_eq!(tokens.user("a.1", 1), None);
    }

    #[test]
    fn there_is_an_end_to_their_number() {
        let mut tokens = SimpleTokens::new(1_000_000);
        for index in 0..=TOKENS_MAX as u64 {
            tokens.assign(SimpleTokens::name("t", index), "ann".into(), index);
        }
        assert_eq!((tokens.len(), tokens.by_end.len()), (TOKENS_MAX, TOKENS_MAX));
        assert_eq!(tokens.user("t.0", 1), None, "the oldest made room");
        assert_eq!(tokens.user("t.1", 1).as_deref(), Some("ann"));
    }

    #[test]
    fn what_a_token_looks_like() {
        assert_eq!(SimpleTokens::index(&SimpleTokens::name("prefix", 12)), Some(12));
        for wrong in [
            "",
            ".",
            "a",
            "a.",
            ".1",
            "a.b",
            "a.1.2",
            "a.-1",
            "a.+1",
            "a.99999999999999999999",
        ] {
            assert_eq!(SimpleTokens::index(wrong), None, "{wrong:?}");
        }
    }
}
