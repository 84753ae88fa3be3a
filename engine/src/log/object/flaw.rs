//! Rules that a test can leave out, to see that the tests would notice.

/// A rule left out. No setting leads here: only tests make a log like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Appends are acknowledged when their chunk sets out.
    EarlyAcknowledgement,
    /// A taken number is held for the writer's own chunk, whoever wrote it: fences stop nobody.
    TakenIsOwn,
    /// Chunks of smaller terms count as if they were the term's own.
    StaleCounts,
    /// Fences below the boundary are freed like other chunks.
    FencesFreed,
    /// A writer trusts its first chunks without looking at the boundary.
    EarlyUnchecked,
    /// A writer that finds a stale chunk under its number takes the next one without looking at the boundary.
    StaleUnchecked,
}

/// The rule left out, if any; outside tests none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flaws {
    pub left_out: Option<Flaw>,
}

impl Flaws {
    /// Whether the rule is left out.
    pub fn has(self, flaw: Flaw) -> bool {
        self.left_out == Some(flaw)
    }
}
