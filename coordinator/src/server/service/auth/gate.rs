//! The gate: what this member knows of tokens, and whether anybody has to show one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use tokio::sync::{Semaphore, watch};

use super::jwt::Jwt;
use super::options::{Options, TokenKind};
use crate::Error;
use crate::auth::{Auth, AuthRequest, Caller, Credential, SimpleTokens};
use crate::machine::{Machine, Outcome, Request};

/// How long a request may wait for the entry that made its token. etcd waits as long as the client does.
const TOKEN_WAIT: Duration = Duration::from_secs(5);
const PREFIX_LETTERS: usize = 16;
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// bcrypt looks at this many bytes of a password.
const PASSWORD_BYTES_MAX: usize = 72;

/// How tokens are made and believed.
enum Provider {
    Simple(Mutex<SimpleTokens>),
    Signed(Box<Jwt>),
    /// `--auth-token=''`: no one gets one.
    None,
}

/// This member's tokens.
pub(in crate::server) struct Gate {
    provider: Provider,
    /// As the machine has it, to be read without its lock.
    closed: AtomicBool,
    /// The last entry applied, for those who wait for a token's.
    applied: watch::Sender<u64>,
    bcrypt_cost: u32,
    trusts_certificates: bool,
    /// Passwords hashed at a time: each takes a core for some fifty milliseconds.
    hashing: Arc<Semaphore>,
}

const POISONED: &str = "no thread panics while it holds this lock";

impl Gate {
    pub(in crate::server) fn new(options: &Options) -> Self {
        let provider = match &options.token {
            TokenKind::Simple { ttl } => {
                let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                Provider::Simple(Mutex::new(SimpleTokens::new(ttl_ms)))
            }
            TokenKind::Signed(jwt) => Provider::Signed(Box::new(jwt.clone())),
            TokenKind::None => Provider::None,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            provider,
            closed: AtomicBool::new(false),
            applied: watch::Sender::new(0),
            bcrypt_cost: options.bcrypt_cost,
            trusts_certificates: options.trusts_certificates,
            hashing: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Whether anybody has to show who he is.
    pub(in crate::server) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn trusts_certificates(&self) -> bool {
        self.trusts_certificates
    }

    fn tokens(&self) -> Option<MutexGuard<'_, SimpleTokens>> {
        match &self.provider {
            Provider::Simple(tokens) => Some(tokens.lock().expect(POISONED)),
            Provider::Signed(_) | Provider::None => None,
        }
    }

    /// Keeps the tokens in step with an entry that was applied.
    pub(in crate::server) fn follow(&self, request: &Request, outcome: &Result<Outcome, Error>, now_ms: u64) {
        let (Request::Auth(AuthRequest { request: Some(change) }), Ok(Outcome::Auth(outcome))) = (request, outcome)
        else {
            return;
        };
        if let Some(mut tokens) = self.tokens() {
            tokens.follow(change, outcome, now_ms);
        }
    }

    /// Another member's machine takes the place of this one's.
    pub(in crate::server) fn replaced(&self, before: &Machine, after: &Machine) {
        if let Some(mut tokens) = self.tokens() {
            tokens.skip(before.auth(), after.auth());
        }
        self.applied(after);
    }

    /// The machine is as it is now.
    pub(in crate::server) fn applied(&self, machine: &Machine) {
        self.closed.store(machine.auth().is_enabled(), Ordering::Release);
        self.applied.send_replace(machine.applied());
    }

    /// What can be said of a token by itself: whom a signed one names. One that is a word stands for whom
    /// [`Gate::user_of`] says, from now on: the entry that made it is applied.
    ///
    /// # Errors
    /// [`Error::InvalidAuthToken`].
    pub(super) async fn look_at(&self, token: &str) -> Result<Option<Caller>, Error> {
        match &self.provider {
            Provider::Signed(jwt) => {
                let claims = jwt.verify(token, SystemTime::now()).map_err(|reason| {
                    tracing::warn!(reason, "invalid JWT");
                    Error::InvalidAuthToken
                })?;
                Ok(Some(Caller {
                    user: claims.user,
                    auth_revision: claims.revision,
                }))
            }
            Provider::Simple(_) => {
                let index = SimpleTokens::index(token).ok_or(Error::InvalidAuthToken)?;
                let mut applied = self.applied.subscribe();
                let waited = tokio::time::timeout(TOKEN_WAIT, applied.wait_for(|applied| *applied >= index)).await;
                // Too long, or the server is ending.
                let _behind = waited.is_err();
                Ok(None)
            }
            Provider::None => Err(Error::InvalidAuthToken),
        }
    }

    /// Whom a word stands for. Ask while the machine is locked: between an entry that ends a token and a look at the
    /// revision behind it, the token's holder would become a caller of that revision.
    ///
    /// # Errors
    /// [`Error::InvalidAuthToken`].
    pub(super) fn user_of(&self, auth: &Auth, token: &str, now_ms: u64) -> Result<Caller, Error> {
        let user = self.tokens().and_then(|mut tokens| tokens.user(token, now_ms));
        user.map(|user| auth.caller(user)).ok_or(Error::InvalidAuthToken)
    }

    /// The part of a new token that is chance; empty where tokens are signed.
    pub(super) fn token_prefix(&self) -> String {
        if !matches!(self.provider, Provider::Simple(_)) {
            return String::new();
        }
        let mut random = rand::rng();
        let letter = |_| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
        (0..PREFIX_LETTERS).map(letter).collect()
    }

    /// The token for someone whose entry was applied.
    pub(super) fn token(&self, user: &str, revision: u64, simple: String) -> Result<String, Error> {
        match &self.provider {
            Provider::Simple(_) => Ok(simple),
            Provider::Signed(jwt) => jwt.sign(user, revision, SystemTime::now()),
            Provider::None => Err(Error::AuthFailed),
        }
    }

    /// A password as it goes into the log: bcrypt's hash in base64.
    pub(super) async fn hash(&self, password: String) -> Result<String, Error> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Error::PasswordTooLong);
        }
        let (cost, salt) = (self.bcrypt_cost, rand::rng().random());
        let hashed = self
            .take_time(move || bcrypt::hash_with_salt(password, cost, salt))
            .await?;
        // The cost was checked when the flags were read.
        let hashed = hashed.map_err(|_| Error::Stopped)?;
        // The name that Go's bcrypt has for the same function.
        Ok(STANDARD.encode(hashed.format_for_version(bcrypt::Version::TwoA)))
    }

    /// Compares a password with its hash.
    ///
    /// # Errors
    /// [`Error::AuthFailed`].
    pub(super) async fn compare(&self, password: String, credential: &Credential) -> Result<(), Error> {
        let hash = credential.hash.clone();
        let same = move || std::str::from_utf8(&hash).is_ok_and(|hash| bcrypt::verify(password, hash).unwrap_or(false));
        if self.take_time(same).await? {
            Ok(())
        } else {
            Err(Error::AuthFailed)
        }
    }

    async fn take_time<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let turn = Arc::clone(&self.hashing).acquire_owned().await;
        let turn = turn.map_err(|_closed| Error::Stopped)?;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_ended| Error::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use coordinator_wire::etcdserverpb::{AuthDisableRequest, AuthUserAddRequest, AuthUserDeleteRequest};

    use super::*;
    use crate::auth::{AuthOutcome, Change};

    fn gate() -> Gate {
        Gate::new(&Options::parse("simple", 300, 4, false).expect("etcd's default"))
    }

    /// What the applier does with an entry that gave someone a token.
    fn give(gate: &Gate, token: &str, user: &str) {
        let outcome = AuthOutcome::Authenticated {
            user: user.to_owned(),
            revision: 1,
            token: token.to_owned(),
        };
        follow(gate, Change::Authenticated(Default::default()), outcome);
    }

    fn follow(gate: &Gate, change: Change, outcome: AuthOutcome) {
        let request = Request::Auth(AuthRequest { request: Some(change) });
        gate.follow(&request, &Ok(Outcome::Auth(outcome)), 0);
    }

    async fn user(gate: &Gate, token: &str) -> Result<String, Error> {
        gate.look_at(token).await?;
        gate.user_of(&Auth::default(), token, 0).map(|caller| caller.user)
    }

    #[tokio::test]
    async fn a_token_whose_entry_is_not_applied_yet_is_waited_for() {
        let gate = gate();
        let asked = user(&gate, "word.7");
        let applied = async {
            tokio::task::yield_now().await;
            give(&gate, "word.7", "ann");
            gate.applied.send_replace(7);
        };
        let (asked, ()) = tokio::join!(asked, applied);
        assert_eq!(asked.as_deref(), Ok("ann"));
        assert_eq!(user(&gate, "other.7").await, Err(Error::InvalidAuthToken));
        assert_eq!(user(&gate, "word").await, Err(Error::InvalidAuthToken));
    }

    #[test]
    fn a_token_is_looked_up_with_the_revision_that_it_is_good_at() {
        let gate = gate();
        let (mut auth, ann) = (Auth::default(), "ann".to_owned());
        give(&gate, "a.1", "ann");
        let known = gate.user_of(&auth, "a.1", 0);
        let at_first = auth.revision();
        assert_eq!(known.map(|caller| caller.auth_revision), Ok(at_first));
        // As the applier does it, with the machine locked: no caller of the new revision comes of the old token.
        let add = Change::UserAdd(AuthUserAddRequest {
            name: ann.clone(),
            ..Default::default()
        });
        let delete = Change::UserDelete(AuthUserDeleteRequest { name: ann });
        for change in [add, delete] {
            let outcome = auth.apply(2, &Caller::default(), &change).expect("nothing forbids it");
            follow(&gate, change, outcome);
        }
        assert!(auth.revision() > at_first);
        assert_eq!(gate.user_of(&auth, "a.1", 0), Err(Error::InvalidAuthToken));
    }

    #[tokio::test]
    async fn tokens_end_with_their_user_and_with_authentication() {
        let gate = gate();
        gate.applied.send_replace(9);
        give(&gate, "a.1", "ann");
        give(&gate, "b.2", "bob");
        let delete = AuthUserDeleteRequest { name: "ann".to_owned() };
        follow(&gate, Change::UserDelete(delete), AuthOutcome::Done);
        assert_eq!(user(&gate, "a.1").await, Err(Error::InvalidAuthToken));
        assert_eq!(user(&gate, "b.2").await.as_deref(), Ok("bob"));
        follow(&gate, Change::Disable(AuthDisableRequest {}), AuthOutcome::Done);
        assert_eq!(user(&gate, "b.2").await, Err(Error::InvalidAuthToken));
    }

    #[tokio::test]
    async fn passwords_are_hashed_as_go_does_it_and_found_again() {
        let gate = gate();
        let hashed = gate.hash("pässword".to_owned()).await.expect("short enough");
        let hash = STANDARD.decode(hashed).expect("base64");
        assert!(hash.starts_with(b"$2a$04$"), "{hash:?}");
        let credential = |hash: Vec<u8>| Credential {
            hash: hash.into(),
            auth_revision: 1,
        };
        let hash = credential(hash);
        assert_eq!(gate.compare("pässword".to_owned(), &hash).await, Ok(()));
        assert_eq!(gate.compare("password".to_owned(), &hash).await, Err(Error::AuthFailed));
        // `golang.org/x/crypto/bcrypt` made this one of "allmine".
        let by_go = credential(b"$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga".to_vec());
        assert_eq!(gate.compare("allmine".to_owned(), &by_go).await, Ok(()));
        assert_eq!(
            gate.compare(String::new(), &credential(Vec::new())).await,
            Err(Error::AuthFailed)
        );
        assert_eq!(gate.hash("x".repeat(73)).await, Err(Error::PasswordTooLong));
        assert!(gate.hash("x".repeat(72)).await.is_ok());
    }
}
