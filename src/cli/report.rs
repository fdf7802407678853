//! The last word: an answer or an error, for people or for programs. All wording of failures is here.

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::Answer;
use crate::{
    domain::fault::{Code, Fault},
    operation::HostState,
    ui::{Failed, harmless, say},
};

/// The name and version of the envelope.
const SCHEMA: &str = "hostkit/1";

/// Writes to standard output; whoever has closed it does not want to know.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let text = harmless(text);
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// Talks about what others have written: paths, last words of a process.
fn tell(line: &str) {
    say(&harmless(line));
}

/// Shows how a command ended, and gives its exit status.
pub(super) fn finish(
    name: &str,
    subject: Option<String>,
    json: bool,
    warnings: Vec<String>,
    result: Result<Answer>,
) -> ExitCode {
    match result {
        Ok(answer) => answered(name, subject, json, warnings, answer),
        Err(error) => failed(name, subject, json, &warnings, &error),
    }
}

fn answered(
    name: &str,
    subject: Option<String>,
    json: bool,
    warnings: Vec<String>,
    answer: Answer,
) -> ExitCode {
    let all: Vec<&String> = warnings.iter().chain(&answer.warnings).collect();
    if json {
        let envelope = json!({
            "schema": SCHEMA, "ok": answer.exit.is_none(), "command": name, "changed": answer.changed,
            "project": subject, "data": answer.data,
            "warnings": all.iter().map(|w| json!({ "message": w })).collect::<Vec<_>>(),
            "error": answer.exit.map(|code| json!({
                "code": code.text(), "exit": code.exit(), "message": code.meaning().trim(),
                "context": [], "state": "nothing was changed", "hint": answer.next.first(),
            })),
            "next": answer.next,
        });
        print(&envelope.to_string());
    } else {
        for warning in &answer.warnings {
            say(&format!("warning: {warning}"));
        }
        if !answer.text.is_empty() {
            print(&answer.text);
        }
        // A survey names the way out beside each finding.
        for next in answer.next.iter().filter(|_| answer.exit.is_none()) {
            print(&format!("  next: {next}"));
        }
    }
    ExitCode::from(answer.exit.map_or(0, Code::exit))
}

/// A failure, taken apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    fault: Fault,
    /// What was being done, outermost first.
    around: Vec<String>,
    /// In what state the host is, where that can be said.
    state: Option<String>,
}

impl Failure {
    /// What kind of failure it is.
    pub(super) fn code(&self) -> Code {
        self.fault.code
    }

    /// What a listener is told of it.
    pub(super) fn told(&self) -> Failed<'_> {
        let Fault { code, message, why, next } = &self.fault;
        Failed { code: code.text(), message, why: why.as_deref(), next: next.first().map(String::as_str) }
    }
}

/// A failure that was taken apart elsewhere can be an error again.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for Failure {}

/// What went wrong, how it came about, and what is now.
pub(super) fn understand(error: &anyhow::Error) -> Failure {
    if let Some(told) = error.downcast_ref::<Failure>() {
        return told.clone();
    }
    let said = error.downcast_ref::<HostState>().map(ToString::to_string);
    let found = error.chain().find_map(|e| e.downcast_ref::<Fault>()).cloned();
    let chain = error.chain().map(ToString::to_string).filter(|c| Some(c) != said.as_ref());
    let found = found.or_else(|| crate::store::understand(error));
    let (mut fault, around) = match found {
        Some(fault) => {
            let around = chain.filter(|c| *c != fault.message).collect();
            (fault, around)
        }
        None => (Fault::new(Code::Internal, chain.collect::<Vec<_>>().join(": ")), Vec::new()),
    };
    if fault.next.is_empty() {
        fault.next.extend(advice(fault.code).map(str::to_owned));
    }
    // Whatever is refused is refused before anything is touched.
    let refused = !matches!(
        fault.code,
        Code::Internal
            | Code::ReleasePhaseFailed
            | Code::Unhealthy
            | Code::Down
            | Code::Unfinished
            | Code::Drift
    );
    let state = said.or_else(|| refused.then(|| "nothing was changed".to_owned()));
    Failure { fault, around, state }
}

/// What to type where the fault itself does not know better.
fn advice(code: Code) -> Option<&'static str> {
    match code {
        Code::Internal | Code::Interrupted => None,
        Code::InvalidConfig => Some("hostkit help hostkit.toml"),
        Code::InvalidSource => Some("hostkit help deploy"),
        Code::NotPermitted => Some("sudo hostkit …    # as an administrator"),
        Code::ProjectNotFound | Code::NameTaken => Some("hostkit project list"),
        Code::NginxRefused | Code::ServiceDown | Code::Drift => Some("hostkit doctor"),
        _ => Some("hostkit help"),
    }
}

fn failed(
    name: &str,
    subject: Option<String>,
    json: bool,
    warnings: &[String],
    error: &anyhow::Error,
) -> ExitCode {
    let Failure { fault, around, state } = understand(error);
    let (code, exit) = (fault.code.text(), fault.code.exit());
    if json {
        let envelope = json!({
            "schema": SCHEMA, "ok": false, "command": name, "changed": false, "project": subject, "data": Value::Null,
            "warnings": warnings.iter().map(|w| json!({ "message": w })).collect::<Vec<_>>(),
            "error": { "code": code, "exit": exit, "message": fault.message, "context": around, "state": state,
                       "hint": fault.next.first(), "why": fault.why },
            "next": fault.next,
        });
        print(&envelope.to_string());
        return ExitCode::from(exit);
    }
    let mut lines = fault.message.lines();
    tell(&format!("error: {} [{code}]", lines.next().unwrap_or_default()));
    for line in lines {
        tell(&format!("  {line}"));
    }
    if let Some(why) = &fault.why {
        tell(&format!("  why: {why}"));
    }
    for cause in around {
        tell(&format!("  while {cause}"));
    }
    if let Some(state) = state {
        tell(&format!("  {state}"));
    }
    for next in &fault.next {
        tell(&format!("  next: {next}"));
    }
    ExitCode::from(exit)
}

/// Words that make no command. Help and version are answers, not errors. `calls` are real calls of the command
/// that may have been meant.
pub(super) fn usage(error: &clap::Error, json: bool, calls: &[&str]) -> ExitCode {
    use clap::error::ErrorKind;
    let text = error.render();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    // A name that breaks the rules is an invalid value, not a wrong use of the program.
    let fault = std::error::Error::source(error).and_then(|e| e.downcast_ref::<Fault>()).cloned();
    match fault {
        Some(fault) => failed("hostkit", None, json, &[], &fault.into()),
        None if json => {
            let message = text.to_string().trim().to_owned();
            let fault = calls.iter().fold(Fault::new(Code::Usage, message), |fault, call| fault.next(*call));
            failed("hostkit", None, json, &[], &fault.next("hostkit --help").into())
        }
        None => {
            let _ = error.print();
            for call in calls {
                say(&format!("  like: {call}"));
            }
            ExitCode::from(Code::Usage.exit())
        }
    }
}
