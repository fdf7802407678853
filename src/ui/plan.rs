//! A plan as text.

use crate::plan::{Action, Plan};

/// One line per step that does something: `+` makes, `~` changes, `-` takes away.
pub fn show(plan: &Plan) -> String {
    let mut out = String::new();
    for step in plan.changes() {
        let mark = match step.action {
            Action::Create => '+',
            Action::Change => '~',
            Action::Remove => '-',
            Action::Keep => '=',
        };
        let reason = if step.reason.is_empty() { String::new() } else { format!("  ({})", step.reason) };
        let drift =
            if step.drifted && step.action == Action::Change { "  changed by somebody else" } else { "" };
        out.push_str(&format!(
            "  {mark} {:<10} {}{reason}{drift}\n",
            step.resource.kind(),
            step.resource.name()
        ));
    }
    if out.is_empty() {
        out.push_str("  nothing to do\n");
    }
    out
}
