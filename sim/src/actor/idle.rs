//! An actor that does nothing: for worlds of one core without messages, which act at their turns.

use super::{Actor, Context};
use crate::world::Address;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Idle;

impl Actor for Idle {
    type Message = ();
    type Timer = ();
    type Disk = ();
    type Note = ();

    fn start(&mut self, (): &(), _: &mut Context<'_, Self>) {}

    fn message(&mut self, _: Address, (): (), _: &mut Context<'_, Self>) {}

    fn timer(&mut self, (): (), _: &mut Context<'_, Self>) {}
}
