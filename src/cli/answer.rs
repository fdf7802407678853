//! What a command answers, before anybody decides how to show it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::operation::session::Outcome;

/// The answer of a command that did what it was asked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// For programs.
    pub(crate) data: Value,
    /// For people.
    pub(crate) text: String,
    /// What to know about it.
    pub(crate) warnings: Vec<String>,
    /// What to type next.
    pub(crate) next: Vec<String>,
    /// An exit status other than 0, with the name of its code.
    pub(crate) exit: Option<crate::domain::fault::Code>,
}

impl Answer {
    /// An answer of this text and data.
    pub(crate) fn new(text: impl Into<String>, data: Value) -> Self {
        Self { text: text.into(), data, ..Self::default() }
    }
    /// Says whether anything changed.
    pub(crate) fn outcome(mut self, outcome: Outcome) -> Self {
        self.changed = outcome == Outcome::Changed;
        self
    }
    /// Adds what to type next.
    pub(crate) fn next(mut self, command: impl Into<String>) -> Self {
        self.next.push(command.into());
        self
    }
    /// Adds things to know.
    pub(crate) fn warn(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }
    /// The answer of a dry run.
    pub(crate) fn planned(plan: &crate::plan::Plan) -> Self {
        let steps: Vec<Value> = plan
            .changes()
            .map(|s| {
                json!({ "action": s.action, "kind": s.resource.kind(), "name": s.resource.name(),
                        "reason": s.reason, "drifted": s.drifted })
            })
            .collect();
        let text = format!("Would do, and changed nothing:\n{}", crate::ui::show_plan(plan));
        Self::new(text.trim_end(), json!({ "dry_run": true, "plan": steps }))
    }
}

/// A table: a header, no boxes, columns as wide as they need to be.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}
