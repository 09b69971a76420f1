//! A member's opinion of itself (Lifeguard's self-awareness): the worse, the more patient it is with others.

/// Timeouts are at most this many times longer, less one.
pub const HEALTH_MAX: u32 = 8;

#[derive(Debug, Clone, Copy, Default)]
pub struct Health(u32);

impl Health {
    /// An acknowledgement or a refusal that should have come did not, or the member was suspected itself.
    pub fn worse(&mut self) {
        self.0 = (self.0 + 1).min(HEALTH_MAX);
    }

    pub fn better(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// What timeouts are multiplied with.
    pub fn factor(self) -> u64 {
        u64::from(self.0) + 1
    }
}
