//! What the tests and benchmarks of every service share. A development dependency only; no program links it.
//!
//! - [`process`] starts a real program, reads its ready line, and stops it in every way an operator or a kernel can:
//!   SIGTERM, SIGKILL, SIGSTOP, a restart on the same ports.
//! - [`directory`] is a temporary directory that is kept, and whose path is printed, when the test that uses it fails.
//! - [`wait`] polls for a condition with one deadline for all tests.
//! - [`stories`] runs golden stories: text files of commands and their output.
//! - [`http`] sends one request to a health, metrics or API page.
//! - [`faults`] stands between two processes and cuts or delays what they say.
//! - [`bench`] measures two contenders in alternating rounds and prints one table.
//!
//! Helpers panic with a message on any failure: a test is the only caller. Deliberately missing: a simulated network
//! (that is `sim`), and mocks of other services (tests use the real programs).

pub mod bench;
pub mod directory;
pub mod faults;
pub mod http;
pub mod process;
pub mod stories;
pub mod wait;

pub use directory::TestDir;
pub use process::{Process, Program, Signal};
pub use wait::{DEADLINE, eventually};
