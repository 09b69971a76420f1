//! Golden stories of SQL: what statements answer, and how spatial predicates are planned.
//!
//! A command is a statement on one line; all statements of a story run in one session. Its output is the names of the
//! columns and the rows, or the first line of the error. A spatial join's plan is shown by `plan SELECT …`: the operators
//! that are ours, without what depends on the machine. `UPDATE_STORIES=1 cargo test -p batch --test stories` rewrites the
//! outputs; then read the diff.

#![allow(clippy::unwrap_used, reason = "a test")]

use arrow::util::display::array_value_to_string;
use batch::engine::{Engine, Interrupt, Options, Session};
use futures::TryStreamExt;
use tokio::runtime::Runtime;

struct World {
    runtime: Runtime,
    session: Session,
    _engine: Engine,
}

impl World {
    fn new() -> Self {
        let options = Options {
            partitions: Some(2),
            ..Options::default()
        };
        let engine = Engine::new(&options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self {
            runtime,
            session: engine.session(),
            _engine: engine,
        }
    }

    fn rows(&self, sql: &str) -> Result<(String, Vec<Vec<String>>), String> {
        self.runtime
            .block_on(async {
                let mut rows = self
                    .session
                    .run(sql.to_owned(), Vec::new(), Interrupt::default())
                    .await?;
                let names: Vec<&str> = rows.schema.fields().iter().map(|field| field.name().as_str()).collect();
                let names = names.join(" | ");
                let mut table = Vec::new();
                while let Some(batch) = rows.try_next().await? {
                    for row in 0..batch.num_rows() {
                        let cells = batch.columns().iter();
                        table.push(cells.map(|cells| array_value_to_string(cells, row).unwrap()).collect());
                    }
                }
                Ok((names, table))
            })
            .map_err(|error: datafusion::error::DataFusionError| {
                let message = error.to_string();
                format!("error: {}\n", message.lines().next().unwrap_or_default())
            })
    }
}

impl testing::stories::World for World {
    fn run(&mut self, command: &str) -> String {
        if let Some(query) = command.strip_prefix("plan ") {
            return match self.rows(&format!("EXPLAIN {query}")) {
                Ok((_, table)) => {
                    let plan = table.iter().find(|row| row[0] == "physical_plan").unwrap();
                    let lines = plan[1].lines().map(str::trim_start);
                    let ours = lines.filter(|line| line.starts_with("Spatial") || line.contains("Join"));
                    ours.map(|line| format!("{line}\n")).collect()
                }
                Err(error) => error,
            };
        }
        match self.rows(command) {
            Ok((_, table)) if table.is_empty() => String::new(),
            Ok((names, table)) => {
                let lines = table.iter().map(|row| row.join(" | ") + "\n");
                format!("{names}\n{}", lines.collect::<String>())
            }
            Err(error) => error,
        }
    }
}

#[test]
fn stories() {
    testing::stories::run("tests/stories/sql", 4, World::new);
}
