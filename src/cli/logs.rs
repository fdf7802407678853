//! `logs`: what a project's process wrote.

use std::{
    io::{IsTerminal, Read, Seek, SeekFrom, Write},
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{Verb, answer::Answer, context::Context, policy::Policy};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::HostPath,
        name::ProjectName,
    },
    operation::session::Session,
    system::process,
    ui::harmless,
};

/// How far back a log is looked through for its last lines, in bytes.
const WINDOW: u64 = 1 << 20;
const PACE: Duration = Duration::from_millis(200);
/// The files, with the label that stands before their lines. The last is written by a release that is about
/// to take over, until it has.
const FILES: [(&str, &str); 3] = [("app.log", "app"), ("error.log", "err"), ("surge.log", "new")];

/// Show what a project's process wrote
#[derive(Args, Clone, Debug)]
pub(crate) struct LogsArgs {
    /// The project
    name: ProjectName,
    /// Go on showing what it writes
    #[arg(long, short)]
    follow: bool,
    /// How many lines of each log
    #[arg(long, short = 'n', default_value_t = 100)]
    lines: u16,
}

impl Verb for LogsArgs {
    const NAME: &'static str = "logs";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit logs api", "hostkit logs api -n 20", "hostkit logs api -f"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        if self.follow && cx.json {
            return Err(Fault::new(
                Code::Usage,
                "`--follow` has no end, and `--json` answers with one object",
            )
            .next(format!("hostkit logs {} --json", self.name))
            .into());
        }
        cx.look(|session| {
            session.project(&self.name)?;
            let mut text = Vec::new();
            let mut seen = Vec::new();
            for (file, label) in FILES {
                let path = self.name.logs().join(file);
                let (lines, end) = tail(session, &path, usize::from(self.lines))?;
                text.extend(lines.into_iter().map(|l| (label, l)));
                seen.push((path, label, end));
            }
            if self.follow {
                for (label, line) in &text {
                    if !show(label, line) {
                        return Ok(Answer::default());
                    }
                }
                return follow(session, seen);
            }
            let data: Vec<_> =
                text.iter().map(|(label, line)| json!({ "log": label, "line": line })).collect();
            let shown: Vec<String> = text.iter().map(|(label, line)| format!("{label} | {line}")).collect();
            Ok(Answer::new(shown.join("\n"), json!({ "lines": data })))
        })
    }
}

/// The last lines of a log, and where it ends.
fn tail(session: &Session<'_>, path: &HostPath, lines: usize) -> Result<(Vec<String>, u64)> {
    let (bytes, end) = since(session, path, None)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok((all[all.len().saturating_sub(lines)..].iter().map(|l| (*l).to_owned()).collect(), end))
}

/// What a log holds from `from` on (or near its end), and where it ends now.
fn since(session: &Session<'_>, path: &HostPath, from: Option<u64>) -> Result<(Vec<u8>, u64)> {
    let Some(mut file) = session.host.root.open_file(path)? else { return Ok((Vec::new(), 0)) };
    let end = file.seek(SeekFrom::End(0))?;
    let from = match from {
        // Shorter than before: it was rotated.
        Some(from) if from > end => 0,
        Some(from) => from,
        None => end.saturating_sub(WINDOW),
    };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(WINDOW).read_to_end(&mut bytes)?;
    let end = from + bytes.len() as u64;
    Ok((bytes, end))
}

/// Shows a line; says whether anybody still reads.
fn show(label: &str, line: &str) -> bool {
    let mut out = std::io::stdout();
    // A terminal would obey what a program may have written.
    let line = if out.is_terminal() { harmless(line) } else { line.to_owned() };
    writeln!(out, "{label} | {line}").and_then(|()| out.flush()).is_ok()
}

fn follow(session: &Session<'_>, mut seen: Vec<(HostPath, &'static str, u64)>) -> Result<Answer> {
    while process::keep_going().is_ok() {
        for (path, label, end) in &mut seen {
            let (bytes, now) = since(session, path, Some(*end))?;
            // Half a line waits for its other half, unless it is too long to wait for.
            let too_long = bytes.len() as u64 >= WINDOW;
            let last = bytes.iter().rposition(|b| *b == b'\n').map(|at| at + 1);
            let whole = last.unwrap_or(if too_long { bytes.len() } else { 0 });
            *end = now - (bytes.len() - whole) as u64;
            for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
                if !show(label, line) {
                    return Ok(Answer::default());
                }
            }
        }
        session.host.clock.sleep(PACE);
    }
    Ok(Answer::default())
}
