//! `env`: set, unset and import; looking is in `variables`, and `edit` is by itself.

use std::ffi::OsString;

use anyhow::{Context as _, Result};
use clap::{Args, builder::TypedValueParser};
use serde_json::json;

use super::{
    Verb,
    answer::Answer,
    context::Context,
    edit::EditArgs,
    group,
    policy::Policy,
    release::named,
    values::{Pair, gather, too_large},
    variables::{DiffArgs, ExportArgs, GetArgs, HistoryArgs, ListArgs, listed, told, unknown},
};
use crate::{
    domain::{
        env::{EnvKey, EnvText, diff::Change},
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        environment::{Changed, Rules, Terms, change},
        session::{Mode, Outcome},
    },
    system::source,
};

/// The hidden command that reads a file with the caller's permissions.
pub(super) const READ: &str = "__read";
/// The hidden command that has a text edited as the caller.
pub(super) const EDIT: &str = "__edit";

group! {
    List(ListArgs) = "list";
    Get(GetArgs) = "get";
    Set(SetArgs) = "set";
    Unset(UnsetArgs) = "unset";
    Import(ImportArgs) = "import";
    Export(ExportArgs) = "export";
    Diff(DiffArgs) = "diff";
    History(HistoryArgs) = "history";
    Edit(EditArgs) = "edit";
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] = &[
    "hostkit env list blog",
    "hostkit env set blog SITE_TITLE='My blog' PAGE_SIZE=20",
    "echo secret | hostkit env set blog MAIL_PASSWORD --stdin",
    "hostkit rollback blog    # goes back to the environment before",
];

/// How a change is carried out.
#[derive(Args, Clone, Debug)]
pub(super) struct How {
    /// Leave the process as it is; it gets the change when it is started the next time
    #[arg(long)]
    no_restart: bool,
    /// Allow variables that change how programs are loaded: PATH, `LD_PRELOAD`, `NODE_OPTIONS` and their like
    #[arg(long)]
    allow_loader: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl How {
    pub(super) fn mode(&self) -> Mode {
        if self.dry_run { Mode::DryRun } else { Mode::Run }
    }
    pub(super) fn terms(&self, verb: &'static str) -> Terms {
        Terms { verb, restart: !self.no_restart, loader: self.allow_loader, seen: None }
    }
}

/// Changes an environment, and says what came of it.
pub(super) fn alter(
    cx: &mut Context,
    name: &ProjectName,
    how: &How,
    terms: &Terms,
    edit: impl FnOnce(&EnvText, &Rules) -> Result<EnvText>,
) -> Result<Answer> {
    let (outcome, done, planned) = cx.session(how.mode(), |session| {
        let (outcome, done) = change(session, name, terms, edit)?;
        Ok((outcome, done, session.planned.take()))
    })?;
    let Changed { spec, changes, restarted } = done;
    if let Some(plan) = planned {
        let mut answer = Answer::planned(&plan).outcome(outcome);
        answer.data["changes"] = json!(listed(&changes, false));
        answer.text = [vec![answer.text], told(&changes, false)].concat().join("\n");
        return Ok(answer);
    }
    let data = json!({ "version": spec.env, "changes": listed(&changes, false), "restarted": restarted });
    if outcome == Outcome::Unchanged {
        return Ok(Answer::new(format!("{name} has it so already"), data));
    }
    let mut answer = Answer::new(said(name, spec.env, &changes, restarted), data).outcome(outcome);
    let runs = spec.running && spec.live.as_ref().is_some_and(|(_, launch)| launch.exec.is_some());
    if runs && !restarted {
        answer = answer.next(format!("hostkit restart {name}    # gives it to the process"));
    }
    if spec.previous().is_some() {
        answer = answer.next(format!("hostkit rollback {name}    # undo"));
    }
    Ok(answer)
}

fn said(name: &ProjectName, version: Option<u32>, changes: &[Change], restarted: bool) -> String {
    let number = version.map_or_else(String::new, |number| format!(", version {number}"));
    let anew = if restarted { "; the process was started anew and is healthy" } else { "" };
    let mut lines = vec![format!("Changed the environment of {name}{number}{anew}")];
    lines.extend(told(changes, false));
    lines.join("\n")
}

/// Set variables: several at once, all or none
#[derive(Args, Clone, Debug)]
pub(crate) struct SetArgs {
    /// The project
    name: ProjectName,
    /// KEY=VALUE, or KEY alone: its value is asked for unseen, or read with --stdin
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = clap::builder::OsStringValueParser::new().map(Pair::of))]
    pairs: Vec<Pair>,
    /// Read the value of the one KEY from standard input
    #[arg(long)]
    stdin: bool,
    #[command(flatten)]
    how: How,
}

impl Verb for SetArgs {
    const NAME: &'static str = "env set";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit env set blog SITE_TITLE='My blog' PAGE_SIZE=20",
        "echo secret | hostkit env set blog MAIL_PASSWORD --stdin",
        "hostkit env set blog PAGE_SIZE=20 --no-restart",
        "hostkit env set blog PAGE_SIZE=20 --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        let again = format!("hostkit env set {name} KEY --stdin");
        let (values, warnings) = gather(cx, &self.pairs, self.stdin, &again)?;
        let answer = alter(cx, name, &self.how, &self.how.terms(Self::NAME), |part, rules| {
            let mut text = part.clone();
            for (key, value) in &values {
                if rules.is_taken(key) {
                    return Err(rules.refusal(key).into());
                }
                text.set(key, value.reveal())?;
            }
            Ok(text)
        })?;
        Ok(answer.warn(warnings))
    }
}

/// Remove variables: several at once, all or none
#[derive(Args, Clone, Debug)]
pub(crate) struct UnsetArgs {
    /// The project
    name: ProjectName,
    /// The variables
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<EnvKey>,
    #[command(flatten)]
    how: How,
}

impl Verb for UnsetArgs {
    const NAME: &'static str = "env unset";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit env unset api COLOUR", "hostkit env unset api COLOUR --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        alter(cx, name, &self.how, &self.how.terms(Self::NAME), |part, rules| {
            let mut text = part.clone();
            for key in &self.keys {
                if !text.unset(key) {
                    let fault = if rules.is_taken(key) { rules.refusal(key) } else { unknown(name, key) };
                    return Err(fault.into());
                }
            }
            Ok(text)
        })
    }
}

/// Take variables from a file: they are added, or replace all with --replace
#[derive(Args, Clone, Debug)]
pub(crate) struct ImportArgs {
    /// The project
    name: ProjectName,
    /// The file, or - for standard input
    #[arg(value_name = "FILE", value_parser = clap::builder::OsStringValueParser::new().try_map(named))]
    file: OsString,
    /// Have these variables and no others, with the file's comments and order
    #[arg(long)]
    replace: bool,
    /// Pass over variables that are HostKit's or the vault's
    #[arg(long)]
    skip_reserved: bool,
    #[command(flatten)]
    how: How,
}

impl Verb for ImportArgs {
    const NAME: &'static str = "env import";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit env import blog production.env",
        "hostkit env export blog --reveal | hostkit env import api -",
        "hostkit env import blog production.env --replace --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        let text = read(cx, &self.file)?;
        let answer = alter(cx, name, &self.how, &self.how.terms(Self::NAME), |part, rules| {
            import(part, &rules.brought(&text), rules, self.replace, self.skip_reserved)
        })?;
        let ignored = text.ignored().into_iter();
        Ok(answer.warn(ignored.map(|(line, word)| format!("line {line} (`{word}`) defines nothing"))))
    }
}

fn import(part: &EnvText, brought: &EnvText, rules: &Rules, replace: bool, skip: bool) -> Result<EnvText> {
    let mut text = if replace { brought.clone() } else { part.clone() };
    for (key, value) in brought.values() {
        if rules.is_taken(key) {
            if !skip {
                let fault = rules.refusal(key);
                return Err(fault.next("repeat with `--skip-reserved` to pass over such lines").into());
            }
            text.unset(key);
        } else if !replace {
            text.set(key, value)?;
        }
    }
    if replace {
        for (_, value) in brought.iter() {
            // The text is taken as it is: what cannot be passed on is refused here.
            EnvText::default().set(&"A".parse()?, value).map_err(|_| {
                Fault::new(Code::InvalidValue, "the file holds a value with a control character")
                    .next("cat -v FILE    # shows them")
            })?;
        }
    }
    Ok(text)
}

/// The text of a file that the caller may read.
fn read(cx: &mut Context, file: &OsString) -> Result<EnvText> {
    let caller = cx.caller()?;
    let bytes = if file == "-" {
        source::read_stdin(EnvText::LIMIT)?
    } else {
        source::read_as(READ, cx.absolute(file).as_os_str(), &caller, EnvText::LIMIT)?
    };
    if bytes.len() > EnvText::LIMIT {
        return Err(too_large("the file").into());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Fault::new(Code::InvalidValue, "the file is not UTF-8").next("iconv -f LATIN1 -t UTF-8 FILE")
    })?;
    EnvText::parse(text).context("reading the file")
}
