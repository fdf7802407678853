//! Where the kills hit, and what came of them.

use std::fmt;

/// What came of a kill.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// As before; there was nothing to mend.
    Before,
    /// As before, after `repair` undid something.
    Undone,
    /// As after; there was nothing to mend.
    After,
    /// As after, once `repair` had finished or cleaned up.
    Finished,
    /// The command had ended by itself.
    Ended,
}

const OUTCOMES: [&str; 5] = ["before", "undone", "after", "finished", "ended"];

/// Counts by tenths of the undisturbed time and by outcome.
#[derive(Default)]
pub(super) struct Histogram {
    counts: [[u64; OUTCOMES.len()]; 10],
}

impl Histogram {
    pub(super) fn enter(&mut self, decile: u64, outcome: Outcome) {
        let decile = usize::try_from(decile.min(9)).expect("a number below ten");
        self.counts[decile][outcome as usize] += 1;
    }

    /// How many kills there were.
    pub(super) fn all(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// How many kills found the command at work.
    pub(super) fn interrupted(&self) -> u64 {
        self.counts.iter().map(|row| row[..Outcome::Ended as usize].iter().sum::<u64>()).sum()
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "      time")?;
        for name in OUTCOMES {
            write!(f, "{name:>10}")?;
        }
        for (decile, row) in self.counts.iter().enumerate() {
            write!(f, "\n  {:>3}–{:>3}%", decile * 10, decile * 10 + 10)?;
            for count in row {
                if *count == 0 { write!(f, "{:>10}", "·")? } else { write!(f, "{count:>10}")? }
            }
        }
        writeln!(f)
    }
}
