//! LIMIT without an order: the first rows that come.

use super::{Event, Keep, Operator, Snapshot};
use crate::Error;

/// Lets `rows` rows pass.
#[derive(Debug)]
pub struct Limit {
    left: u64,
}

impl Limit {
    pub fn new(rows: u64) -> Self {
        Self { left: rows }
    }
}

impl Operator for Limit {
    fn on_event(&mut self, event: Event, out: &mut Vec<Event>) -> Result<(), Error> {
        match event {
            Event::Rows(rows) => {
                let taken = self.left.min(rows.len() as u64);
                self.left -= taken;
                if taken > 0 {
                    out.push(Event::Rows(rows.slice(0, taken as usize)));
                }
            }
            other => out.push(other),
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::default();
        snapshot.facts.insert("left".into(), self.left.into());
        Ok(snapshot)
    }

    fn restore(&mut self, snapshots: &[Snapshot], _keep: &Keep<'_>, _first: bool) -> Result<(), Error> {
        if let Some(left) = snapshots
            .first()
            .and_then(|s| s.facts.get("left"))
            .and_then(serde_json::Value::as_u64)
        {
            self.left = left;
        }
        Ok(())
    }
}
