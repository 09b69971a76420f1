//! Golden stories: stories of members, cuts and crashes, as text.
//!
//! A story in `consensus/` is a sequence of blocks: commands, a line `---`, what came of them, an empty line. The runner
//! carries the commands out on members that talk through one queue, with a clock that stands still until it is told to
//! move, and compares. `UPDATE_STORIES=1 cargo test -p raft --test stories` rewrites the outcomes; then read the diff.
//! The commands are listed at `World::run`, the notation of what is printed in `print.rs`.

mod member;
mod print;
mod world;

use world::World;

#[test]
fn stories() {
    testing::stories::run("tests/stories/consensus", 15, World::default);
}

impl testing::stories::World for World {
    fn run(&mut self, command: &str) -> String {
        self.run(command)
    }
}
