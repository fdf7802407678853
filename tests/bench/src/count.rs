//! What noise cannot touch, with the limits that fail a run.

use crate::{
    Error,
    server::Server,
    trace::{Trace, trace},
};

/// A command, and the most processes it may start; `None` where no limit was set.
struct Limit {
    args: &'static [&'static str],
    children: Option<usize>,
}

const fn limit(args: &'static [&'static str], children: Option<usize>) -> Limit {
    Limit { args, children }
}

const NODE_1: &str = "/root/bench/node-1";
const NODE_2: &str = "/root/bench/node-2";

/// In the order of a project's life.
const COMMANDS: &[Limit] = &[
    limit(&["provision", "counted"], Some(9)),
    limit(&["--foreground", "deploy", "counted", "--source", NODE_1], None),
    limit(&["--foreground", "deploy", "counted", "--source", NODE_2], None),
    // Two starts, a stop and two loads of nginx, so that nobody waits; and a look at what systemd has.
    limit(&["--foreground", "rollback", "counted"], Some(6)),
    limit(&["status"], None),
];

/// Counts, prints, and says whether every limit is kept.
pub(crate) fn count(server: &Server) -> Result<bool, Error> {
    println!(
        "\n{:<56} {:>8} {:>8} {:>14} {:>8}",
        "counted with strace", "children", "limit", "daemon-reload", "syncs"
    );
    let mut kept = true;
    for Limit { args, children } in COMMANDS {
        let trace = trace(server, args)?;
        let good = trace.reloads() == 0 && children.is_none_or(|most| trace.children <= most);
        kept &= good;
        let most = children.map_or_else(|| "–".to_owned(), |n| format!("≤ {n}"));
        let syncs = format!("{}+{}", trace.syncs, trace.child_syncs);
        let Trace { children, .. } = trace;
        println!(
            "{:<56} {children:>8} {most:>8} {:>14} {syncs:>8}  {}",
            args.join(" "),
            trace.reloads(),
            if good { "OK" } else { "FAILED" }
        );
        for (program, ms) in &trace.programs {
            println!("    {ms:7.1} ms  {}", program.chars().take(96).collect::<String>());
        }
    }
    println!("    syncs: hostkit's own + its children's; times are under strace");
    Ok(kept)
}
