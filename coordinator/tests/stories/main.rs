//! Golden stories: stories of requests and what they are answered with, as text.
//!
//! A story in `machine/` is a sequence of blocks: commands, a line `---`, what they printed, an empty line. The runner
//! carries the commands out on a machine with one watch stream, a clock that stands still until it is told to move, and
//! an archive in memory, and compares. `UPDATE_STORIES=1 cargo test -p coordinator --test stories` rewrites the outputs;
//! then read the diff.

mod command;
mod print;
mod world;

use world::World;

#[test]
fn stories() {
    testing::stories::run("tests/stories/machine", 5, World::new);
}

impl testing::stories::World for World {
    fn run(&mut self, command: &str) -> String {
        self.run(command)
    }
}
