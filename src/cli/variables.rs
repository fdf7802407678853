//! `env list`, `get`, `export`, `diff` and `history`: looking at an environment, with its secrets masked.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    policy::Policy,
};
use crate::{
    domain::{
        env::{EnvKey, EnvText, diff::Change, mask},
        fault::{Code, Fault},
        name::ProjectName,
        release::ReleaseId,
    },
    operation::{
        environment::{From, View, version, view},
        session::{Mode, Session},
    },
};

/// How much of a long value a list shows, in characters.
const WIDTH: usize = 60;

/// Looks, and records it first when values are to be shown as they are.
pub(super) fn looked<T>(
    cx: &mut Context,
    reveal: bool,
    (name, verb, what): (&ProjectName, &'static str, &str),
    work: impl FnOnce(&mut Session<'_>) -> Result<T>,
) -> Result<T> {
    if !reveal {
        return cx.look(work);
    }
    cx.session(Mode::Run, |session| {
        let seen = work(session)?;
        session.note(name.as_str(), verb, what)?;
        Ok(seen)
    })
}

/// A value as it is shown: masked, unless it is to be revealed.
fn show(key: &EnvKey, value: &str, secret: bool, reveal: bool) -> String {
    match (reveal, secret) {
        (true, _) => value.to_owned(),
        (_, true) => mask::mask(value),
        _ => mask::shown(key, value),
    }
}

/// On one line.
fn flat(value: &str, whole: bool) -> String {
    let line = value.replace('\n', "\\n").replace('\t', "\\t");
    if whole || line.chars().count() <= WIDTH {
        return line;
    }
    format!("{}…", line.chars().take(WIDTH).collect::<String>())
}

/// Show a project's variables; secrets are masked
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// The project
    name: ProjectName,
    /// Show secrets as they are; it is recorded
    #[arg(long)]
    reveal: bool,
}

impl Verb for ListArgs {
    const NAME: &'static str = "env list";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit env list blog", "hostkit env list blog --reveal", "hostkit env list blog --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let what = (&self.name, Self::NAME, "every variable was shown as it is");
        let seen = looked(cx, self.reveal, what, |session| view(session, &self.name))?;
        let mut rows = Vec::new();
        let mut data = Vec::new();
        for (key, value) in seen.whole.values() {
            let from = seen.from(key);
            let shown = show(key, value, from == From::Vault, self.reveal);
            let whose = match from {
                From::HostKit => "hostkit",
                From::Vault => "vault",
                From::Project => "project",
            };
            data.push(json!({ "key": key, "value": shown, "masked": shown != *value, "from": whose }));
            rows.push((
                from != From::HostKit,
                vec![key.to_string(), flat(&shown, self.reveal), whose.to_owned()],
            ));
        }
        // HostKit's own first, as in the file.
        rows.sort_by_key(|(own, _)| *own);
        let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
        let data = json!({ "variables": data, "version": seen.spec.env });
        Ok(Answer::new(table(&["VARIABLE", "VALUE", "FROM"], &rows), data).warn(ignored(&seen)))
    }
}

/// Lines of the project's that define nothing.
fn ignored(seen: &View) -> Vec<String> {
    let lines = seen.part.ignored().into_iter();
    lines.map(|(_, name)| format!("the line `{name}` defines nothing; systemd passes over it")).collect()
}

/// Print the value of a variable, or of several
#[derive(Args, Clone, Debug)]
pub(crate) struct GetArgs {
    /// The project
    name: ProjectName,
    /// The variables
    #[arg(required = true)]
    keys: Vec<EnvKey>,
    /// Show secrets as they are; it is recorded
    #[arg(long)]
    reveal: bool,
}

impl Verb for GetArgs {
    const NAME: &'static str = "env get";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit env get blog PORT",
        "hostkit env get blog PORT HOST",
        "hostkit env get blog PORT --reveal",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let keys: Vec<&str> = self.keys.iter().map(EnvKey::as_str).collect();
        let what = format!("{} was shown as it is", keys.join(", "));
        let what = (&self.name, Self::NAME, what.as_str());
        let values = looked(cx, self.reveal, what, |session| {
            let seen = view(session, &self.name)?;
            let value = |key: &EnvKey| {
                let value = seen.whole.get(key).ok_or_else(|| unknown(&self.name, key))?;
                Ok((value.to_owned(), seen.from(key) == From::Vault))
            };
            self.keys.iter().map(value).collect::<Result<Vec<_>>>()
        })?;
        let shown = self.keys.iter().zip(&values);
        let shown: Vec<(&EnvKey, String)> =
            shown.map(|(key, (value, secret))| (key, show(key, value, *secret, self.reveal))).collect();
        let masked: Vec<&EnvKey> =
            shown.iter().zip(&values).filter(|((_, s), (v, _))| s != v).map(|((key, _), _)| *key).collect();
        let data: serde_json::Map<String, Value> =
            shown.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
        let text = match shown.as_slice() {
            [(_, value)] => value.clone(),
            many => many.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("\n"),
        };
        Ok(Answer::new(text, json!({ "values": data, "masked": masked })))
    }
}

/// What is said of a variable that is not there.
pub(super) fn unknown(name: &ProjectName, key: &EnvKey) -> Fault {
    Fault::new(Code::VariableNotFound, format!("`{name}` has no variable `{key}`"))
        .next(format!("hostkit env list {name}"))
}

/// Print the project's own variables as a file; secrets are left out unless they are revealed
#[derive(Args, Clone, Debug)]
pub(crate) struct ExportArgs {
    /// The project
    name: ProjectName,
    /// Write secrets as they are; it is recorded
    #[arg(long)]
    reveal: bool,
}

impl Verb for ExportArgs {
    const NAME: &'static str = "env export";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit env export blog", "hostkit env export blog --reveal"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let what = (&self.name, Self::NAME, "the project's variables were shown as they are");
        let seen = looked(cx, self.reveal, what, |session| view(session, &self.name))?;
        let masked = if self.reveal { Vec::new() } else { secret_keys(&seen.part) };
        let mut part = seen.part.clone();
        for key in &masked {
            // As a comment: what reads this file must not take the mask for the value.
            part.comment_out(key, mask::mask(seen.part.get(key).unwrap_or_default()).as_str());
        }
        let text = part.to_string();
        let warnings = match masked.as_slice() {
            [] => Vec::new(),
            keys => {
                let keys: Vec<&str> = keys.iter().map(EnvKey::as_str).collect();
                vec![format!("left out as comments: {}; `--reveal` writes them", keys.join(", "))]
            }
        };
        let data = json!({ "text": text, "masked": masked, "version": seen.spec.env });
        Ok(Answer::new(text.strip_suffix('\n').unwrap_or(&text), data).warn(warnings))
    }
}

fn secret_keys(part: &EnvText) -> Vec<EnvKey> {
    let values = part.values().into_iter();
    values.filter(|(key, value)| mask::is_secret(key, value)).map(|(key, _)| key.clone()).collect()
}

/// A version of an environment, or the one that a release ran with last.
#[derive(Clone, Debug)]
pub(super) enum Point {
    Version(u32),
    Release(ReleaseId),
}

impl std::str::FromStr for Point {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Ok(version) = text.parse() {
            return Ok(Self::Version(version));
        }
        let release = text.parse().map(Self::Release);
        release
            .map_err(|fault: Fault| fault.next("versions are numbers; `hostkit env history NAME` lists them"))
    }
}

impl Point {
    fn text(&self, session: &Session<'_>, name: &ProjectName) -> Result<(String, EnvText)> {
        let spec = session.project(name)?.spec;
        let number = match self {
            Self::Version(number) => *number,
            Self::Release(id) => {
                let row = session.store.releases(spec.uid)?.into_iter().find(|row| row.id == *id);
                row.and_then(|row| row.env).ok_or_else(|| {
                    Fault::new(
                        Code::ReleaseNotFound,
                        format!("no environment of a release `{id}` of `{name}` is known"),
                    )
                    .next(format!("hostkit releases {name}"))
                })?
            }
        };
        Ok((format!("version {number}"), version(session, &spec, number)?))
    }
}

/// Show how the project's variables changed; secrets are masked
#[derive(Args, Clone, Debug)]
pub(crate) struct DiffArgs {
    /// The project
    name: ProjectName,
    /// A version, or a release; without this what a rollback would go back to
    from: Option<Point>,
    /// Another; without this what is there now
    to: Option<Point>,
    /// Show secrets as they are; it is recorded
    #[arg(long)]
    reveal: bool,
}

impl Verb for DiffArgs {
    const NAME: &'static str = "env diff";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit env diff blog", "hostkit env diff blog 1", "hostkit env diff blog 1 2"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        let what = (name, Self::NAME, "changes of variables were shown as they are");
        let (from, to) = looked(cx, self.reveal, what, |session| {
            let seen = view(session, name)?;
            let from = match &self.from {
                Some(point) => point.text(session, name)?,
                None => before(session, &seen)?,
            };
            let to = match &self.to {
                Some(point) => point.text(session, name)?,
                None => ("now".to_owned(), seen.part),
            };
            Ok((from, to))
        })?;
        let changes = from.1.diff(&to.1);
        let data = json!({ "from": from.0, "to": to.0, "changes": listed(&changes, self.reveal) });
        let mut lines = vec![format!("{} → {}", from.0, to.0)];
        lines.extend(told(&changes, self.reveal));
        if changes.is_empty() {
            lines.push("  nothing is otherwise".to_owned());
        }
        Ok(Answer::new(lines.join("\n"), data))
    }
}

/// What was there before what is.
fn before(session: &Session<'_>, seen: &View) -> Result<(String, EnvText)> {
    let spec = &seen.spec;
    // What was edited by hand comes before what it was edited from.
    if let Some(number) = spec.env {
        let known = version(session, spec, number)?;
        if !known.diff(&seen.part).is_empty() {
            return Ok((format!("version {number}"), known));
        }
    }
    let now = spec.env.unwrap_or_default();
    let older = spec.lineage.iter().rev().filter_map(|stand| stand.env).find(|number| *number != now);
    match older {
        Some(number) => Ok((format!("version {number}"), version(session, spec, number)?)),
        None => Ok(("nothing".to_owned(), EnvText::default())),
    }
}

/// Changes for programs.
pub(super) fn listed(changes: &[Change], reveal: bool) -> Vec<Value> {
    let value = |key: &EnvKey, value: &Option<String>| value.as_ref().map(|v| show(key, v, false, reveal));
    changes
        .iter()
        .map(|c| json!({ "key": c.key, "old": value(&c.key, &c.old), "new": value(&c.key, &c.new) }))
        .collect()
}

/// Changes for people.
pub(super) fn told(changes: &[Change], reveal: bool) -> Vec<String> {
    let value = |key: &EnvKey, value: &str| flat(&show(key, value, false, reveal), reveal);
    changes
        .iter()
        .map(|c| {
            let values = match (&c.old, &c.new) {
                (Some(old), Some(new)) => format!("{} → {}", value(&c.key, old), value(&c.key, new)),
                (_, Some(only)) | (Some(only), _) => value(&c.key, only),
                (None, None) => String::new(),
            };
            format!("  {} {}  {values}", c.sign(), c.key).trim_end().to_owned()
        })
        .collect()
}

/// List the versions of the project's variables: who, when, which; never their values
#[derive(Args, Clone, Debug)]
pub(crate) struct HistoryArgs {
    /// The project
    name: ProjectName,
    /// How many, newest first
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: u16,
}

impl Verb for HistoryArgs {
    const NAME: &'static str = "env history";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit env history blog", "hostkit env history blog -n 5", "hostkit env history blog --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (spec, rows) = cx.look(|session| {
            let spec = session.project(&self.name)?.spec;
            let rows = session.store.environments(spec.uid)?;
            Ok((spec, rows))
        })?;
        let rows: Vec<_> = rows.into_iter().take(usize::from(self.limit)).collect();
        let live = |number: u32| spec.env == Some(number);
        let data = rows.iter().map(|r| {
            json!({ "version": r.version, "changed_at": r.changed_at, "changed_by": r.changed_by, "what": r.what,
                    "live": live(r.version) })
        });
        let data = json!({ "versions": data.collect::<Vec<_>>() });
        if rows.is_empty() {
            return Ok(Answer::new(
                "no version is kept yet: the first change or deploy begins with one",
                data,
            ));
        }
        let lines: Vec<Vec<String>> = rows
            .iter()
            .map(|r| {
                let when = r.changed_at.trim_end_matches('Z').replace('T', " ");
                let mark = if live(r.version) { "live" } else { "" };
                vec![r.version.to_string(), when, r.changed_by.clone(), mark.to_owned(), r.what.clone()]
            })
            .collect();
        Ok(Answer::new(table(&["VERSION", "CHANGED (UTC)", "BY", "", "WHAT"], &lines), data))
    }
}
