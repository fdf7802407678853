//! `secrets`: the vault of a project.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    group,
    policy::Policy,
    values::{Pair, gather},
    variables::looked,
};
use crate::{
    domain::{
        env::{EnvKey, mask},
        fault::Code,
        name::ProjectName,
        secret::Secret,
    },
    operation::{
        environment::inject,
        secrets::{self, Standing, Terms, get, list, set, unset, verify},
        session::{Mode, Outcome},
    },
    system::vault,
};

group! {
    Set(SetArgs) = "set";
    Get(GetArgs) = "get";
    List(ListArgs) = "list";
    Unset(UnsetArgs) = "unset";
    Rotate(RotateArgs) = "rotate";
    Verify(VerifyArgs) = "verify";
    Inject(InjectArgs) = "inject";
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] = &[
    "hostkit secrets set blog API_KEY",
    "hostkit secrets list blog",
    "hostkit secrets inject blog    # gives them to the process",
];

/// Names in the vault, never with values: those would be on the command line.
fn keys(names: &[EnvKey]) -> Vec<Pair> {
    names.iter().map(|key| Pair::of(key.as_str().into())).collect()
}

/// Where the value of a secret comes from.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "these are flags")]
struct Origin {
    /// Read the value from standard input
    #[arg(long, conflicts_with = "generate")]
    stdin: bool,
    /// Make up a random value
    #[arg(long)]
    generate: bool,
    /// Allow names that change how programs are loaded: PATH, `LD_PRELOAD`, `NODE_OPTIONS` and their like
    #[arg(long)]
    allow_loader: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Origin {
    fn values(
        &self,
        cx: &Context,
        names: &[EnvKey],
        verb: &str,
        name: &ProjectName,
    ) -> Result<Vec<(EnvKey, Secret)>> {
        if self.generate {
            return names.iter().map(|key| Ok((key.clone(), vault::password()?))).collect();
        }
        let again = format!("hostkit {verb} {name} KEY --stdin");
        Ok(gather(cx, &keys(names), self.stdin, &again)?.0)
    }

    /// Puts them into the vault.
    fn put(
        &self,
        cx: &mut Context,
        name: &ProjectName,
        names: &[EnvKey],
        verb: &'static str,
        keep: bool,
    ) -> Result<Answer> {
        let values = self.values(cx, names, verb, name)?;
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let terms = Terms { verb, keep, loader: self.allow_loader };
        let (outcome, _) = cx.session(mode, |session| set(session, name, &values, terms))?;
        Ok(stored(name, names, outcome, "keeps"))
    }
}

/// The answer to a change of the vault.
fn stored(name: &ProjectName, names: &[EnvKey], outcome: Outcome, does: &str) -> Answer {
    let all: Vec<&str> = names.iter().map(EnvKey::as_str).collect();
    let all = all.join(", ");
    let data = json!({ "secrets": names, "dry_run": outcome == Outcome::WouldChange });
    match outcome {
        Outcome::Unchanged => Answer::new(format!("the vault of {name} {does} {all} so already"), data),
        Outcome::WouldChange => {
            Answer::new(format!("Would do, and changed nothing: the vault {does} {all}"), data)
        }
        Outcome::Changed => Answer::new(format!("The vault of {name} {does} {all}"), data)
            .outcome(outcome)
            .next(format!("hostkit secrets inject {name}    # starts the process anew with it")),
    }
}

/// Put secrets into the vault; the process gets them when it is started the next time
#[derive(Args, Clone, Debug)]
pub(crate) struct SetArgs {
    /// The project
    name: ProjectName,
    /// Their names: the variables they become; values are asked for unseen
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<EnvKey>,
    #[command(flatten)]
    origin: Origin,
}

impl Verb for SetArgs {
    const NAME: &'static str = "secrets set";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit secrets set blog API_KEY",
        "echo secret | hostkit secrets set blog API_KEY --stdin",
        "hostkit secrets set blog SESSION_KEY --generate",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        self.origin.put(cx, &self.name, &self.keys, Self::NAME, false)
    }
}

/// Give a secret another value; the one before stays until the process has been started anew
#[derive(Args, Clone, Debug)]
pub(crate) struct RotateArgs {
    /// The project
    name: ProjectName,
    /// The secrets
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<EnvKey>,
    #[command(flatten)]
    origin: Origin,
}

impl Verb for RotateArgs {
    const NAME: &'static str = "secrets rotate";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit secrets rotate api TOKEN --generate",
        "echo secret | hostkit secrets rotate api TOKEN --stdin",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        self.origin.put(cx, &self.name, &self.keys, Self::NAME, true)
    }
}

/// Print a secret, masked unless it is revealed
#[derive(Args, Clone, Debug)]
pub(crate) struct GetArgs {
    /// The project
    name: ProjectName,
    /// The secret
    key: EnvKey,
    /// The value before the last rotation, as long as a process may have it
    #[arg(long)]
    previous: bool,
    /// Show it as it is; it is recorded
    #[arg(long)]
    reveal: bool,
}

impl Verb for GetArgs {
    const NAME: &'static str = "secrets get";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit secrets get api TOKEN", "hostkit secrets get api TOKEN --reveal"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let what = format!("{} was shown as it is", self.key);
        let what = (&self.name, Self::NAME, what.as_str());
        let value =
            looked(cx, self.reveal, what, |session| get(session, &self.name, &self.key, self.previous))?;
        let text = if self.reveal { value.reveal().to_owned() } else { mask::mask(value.reveal()) };
        let data = json!({ "key": self.key, "value": text, "masked": !self.reveal });
        Ok(Answer::new(text, data))
    }
}

/// List the secrets, without their values
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// The project
    name: ProjectName,
}

impl Verb for ListArgs {
    const NAME: &'static str = "secrets list";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit secrets list api", "hostkit secrets list api --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let rows = cx.look(|session| list(session, &self.name))?;
        let data = rows.iter().map(|r| {
            json!({ "key": r.name, "version": r.version, "changed_at": r.changed_at, "changed_by": r.changed_by,
                    "state": r.standing })
        });
        let data = json!({ "secrets": data.collect::<Vec<_>>(), "most": secrets::MOST });
        if rows.is_empty() {
            let next = format!("hostkit secrets set {} KEY", self.name);
            return Ok(Answer::new(format!("the vault of {} is empty", self.name), data).next(next));
        }
        let mut due = false;
        let lines: Vec<Vec<String>> = rows
            .iter()
            .map(|r| {
                due |= r.standing != Standing::InUse;
                let state = match r.standing {
                    Standing::InUse => "in use",
                    Standing::Waits => "waits for the next start",
                    Standing::Rotated => "the one before is in use until the next start",
                    Standing::Leaves => "taken out; in use until the next start",
                };
                let when = r.changed_at.trim_end_matches('Z').replace('T', " ");
                vec![r.name.to_string(), when, r.changed_by.clone(), state.to_owned()]
            })
            .collect();
        let answer = Answer::new(table(&["SECRET", "CHANGED (UTC)", "BY", "STATE"], &lines), data);
        Ok(if due { answer.next(format!("hostkit secrets inject {}", self.name)) } else { answer })
    }
}

/// Take secrets out of the vault
#[derive(Args, Clone, Debug)]
pub(crate) struct UnsetArgs {
    /// The project
    name: ProjectName,
    /// The secrets
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<EnvKey>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for UnsetArgs {
    const NAME: &'static str = "secrets unset";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit secrets unset api TOKEN", "hostkit secrets unset api TOKEN --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (outcome, _) = cx.session(mode, |session| unset(session, &self.name, &self.keys))?;
        Ok(stored(&self.name, &self.keys, outcome, "no longer keeps"))
    }
}

/// Say which variables the live release requires and does not have: exit 3 when there are any
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// The project
    name: ProjectName,
}

impl Verb for VerifyArgs {
    const NAME: &'static str = "secrets verify";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit secrets verify api", "hostkit secrets verify api --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        let lacking = cx.look(|session| verify(session, name))?;
        let data = lacking.iter().map(|(key, file)| json!({ "key": key, "required_by": file }));
        let data = json!({ "missing": data.collect::<Vec<_>>() });
        if lacking.is_empty() {
            return Ok(Answer::new(format!("{name} has all that its release requires"), data));
        }
        let lines: Vec<String> =
            lacking.iter().map(|(key, file)| format!("{key} has no value; {file} requires it")).collect();
        let mut answer = Answer::new(lines.join("\n"), data);
        answer.exit = Some(Code::EnvMissing);
        answer.next = lacking.iter().map(|(key, _)| format!("hostkit secrets set {name} {key}")).collect();
        Ok(answer)
    }
}

/// Give the secrets to the process: it is started anew with them
#[derive(Args, Clone, Debug)]
pub(crate) struct InjectArgs {
    /// The project
    name: ProjectName,
    /// Write them, and leave the process as it is
    #[arg(long)]
    no_restart: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for InjectArgs {
    const NAME: &'static str = "secrets inject";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit secrets inject api", "hostkit secrets inject api --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (outcome, (spec, restarted), planned) = cx.session(mode, |session| {
            let (outcome, spec, restarted) = inject(session, name, !self.no_restart)?;
            Ok((outcome, (spec, restarted), session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let there: Vec<&EnvKey> = spec.injected.keys().collect();
        let data = json!({ "secrets": there, "restarted": restarted });
        let count = match there.len() {
            1 => "1 secret".to_owned(),
            n => format!("{n} secrets"),
        };
        let text = match (outcome, restarted) {
            (Outcome::Unchanged, _) => format!("{name} has them already"),
            (_, true) => format!("{name} was started anew with {count} and is healthy"),
            (_, false) => format!("{name} has {count} in its environment"),
        };
        Ok(Answer::new(text, data).outcome(outcome))
    }
}
