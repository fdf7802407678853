//! The last word: an answer or an error, for people or for programs. All wording of failures is here.

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use serde_json::{Value, json};

use super::answer::Answer;
use crate::{
    domain::fault::{Code, Fault},
    ui::say,
};

/// The name and version of the envelope.
const SCHEMA: &str = "hostkit/1";

/// Writes to standard output; whoever has closed it does not want to know.
fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
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
            "error": Value::Null, "next": answer.next,
        });
        print(&envelope.to_string());
    } else {
        for warning in &answer.warnings {
            say(&format!("warning: {warning}"));
        }
        if !answer.text.is_empty() {
            print(&answer.text);
        }
        for next in &answer.next {
            print(&format!("  next: {next}"));
        }
    }
    ExitCode::from(answer.exit.map_or(0, Code::exit))
}

/// What went wrong, and how it came about.
fn understand(error: &anyhow::Error) -> (Fault, Vec<String>) {
    let fault = error.chain().find_map(|e| e.downcast_ref::<Fault>()).cloned();
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    match fault {
        Some(fault) => {
            let around: Vec<String> = chain.into_iter().filter(|c| *c != fault.message).collect();
            (fault, around)
        }
        None => {
            let message = format!("{error:#}");
            (Fault::new(Code::Internal, message), Vec::new())
        }
    }
}

fn failed(
    name: &str,
    subject: Option<String>,
    json: bool,
    warnings: &[String],
    error: &anyhow::Error,
) -> ExitCode {
    let (fault, around) = understand(error);
    let (code, exit) = (fault.code.text(), fault.code.exit());
    if json {
        let envelope = json!({
            "schema": SCHEMA, "ok": false, "command": name, "changed": false, "project": subject, "data": Value::Null,
            "warnings": warnings.iter().map(|w| json!({ "message": w })).collect::<Vec<_>>(),
            "error": { "code": code, "exit": exit, "message": fault.message, "context": around,
                       "hint": fault.next.first() },
            "next": fault.next,
        });
        print(&envelope.to_string());
    } else {
        let mut lines = fault.message.lines();
        say(&format!("error: {} [{code}]", lines.next().unwrap_or_default()));
        for line in lines {
            say(&format!("  {line}"));
        }
        for cause in around {
            say(&format!("  while {cause}"));
        }
        for next in &fault.next {
            say(&format!("  next: {next}"));
        }
    }
    ExitCode::from(exit)
}

/// Words that make no command. Help and version are answers, not errors.
pub(super) fn usage(error: &clap::Error, json: bool) -> ExitCode {
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
            failed(
                "hostkit",
                None,
                json,
                &[],
                &Fault::new(Code::Usage, message).next("hostkit --help").into(),
            )
        }
        None => {
            let _ = error.print();
            ExitCode::from(Code::Usage.exit())
        }
    }
}
