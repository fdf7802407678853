//! The environment of a project: looking at it, and changing it as a stand of its own.

mod draft;
mod rules;
mod view;

use anyhow::Result;
use zeroize::Zeroizing;

use super::{
    deploy::verdict,
    handover::{Change as Handover, hand_over},
    lifecycle::retire,
    session::{Outcome, Session},
};
use crate::{
    domain::{
        env::{
            EnvText,
            diff::{Change, summary},
        },
        fault::{Code, Fault},
        name::ProjectName,
        secret::{Sealed, Secret},
    },
    plan::{Foreign, Plan},
    project::ProjectSpec,
    resource::{Any, EnvFile},
    system::Host,
};

pub(super) use self::{draft::Draft, draft::bring_back};
pub use self::{
    rules::Rules,
    view::{From, View, version, view},
};

/// What a change of an environment may do, and what it was made from.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The command.
    pub verb: &'static str,
    /// Whether the process is started anew.
    pub restart: bool,
    /// Whether variables may be set that change how programs are loaded.
    pub loader: bool,
    /// The project's part that the change was made from, when it must be that.
    pub seen: Option<Sealed>,
}

/// What a change of an environment did.
#[derive(Debug)]
pub struct Changed {
    /// The project now.
    pub spec: ProjectSpec,
    /// What is otherwise.
    pub changes: Vec<Change>,
    /// Whether its process was started anew.
    pub restarted: bool,
}

/// Changes the project's part of an environment with `edit`, which gets it and HostKit's variables.
pub fn change(
    session: &mut Session<'_>,
    name: &ProjectName,
    terms: &Terms,
    edit: impl FnOnce(&EnvText, &Rules) -> Result<EnvText>,
) -> Result<(Outcome, Changed)> {
    let _held = session.enter(name.as_str(), terms.verb)?;
    let spec = session.project(name)?.spec;
    let mut draft = Draft::begin(session, &spec)?;
    if let Some(seen) = &terms.seen
        && *seen != seal(&session.host, name, &draft.part)?
    {
        return Err(Fault::new(
            Code::WrongState,
            format!("the environment of `{name}` was changed by somebody else in the meantime"),
        )
        .next(format!("hostkit env diff {name}"))
        .into());
    }
    let rules = Rules::of(session, &spec)?;
    let text = edit(&draft.part, &rules)?;
    rules.check(&draft.part, &text, terms.loader)?;
    let changes = draft.part.diff(&text);
    if text != draft.part {
        draft.put(session, text, summary(&changes))?;
    }
    let done = carry_out(session, &spec, draft, terms.verb, terms.restart)?;
    let (outcome, spec, restarted) = done;
    Ok((outcome, Changed { spec, changes, restarted }))
}

/// Puts the vault's secrets into the environment.
pub fn inject(
    session: &mut Session<'_>,
    name: &ProjectName,
    restart: bool,
) -> Result<(Outcome, ProjectSpec, bool)> {
    let _held = session.enter(name.as_str(), "secrets inject")?;
    let spec = session.project(name)?.spec;
    let mut draft = Draft::begin(session, &spec)?;
    draft.inject(session)?;
    carry_out(session, &spec, draft, "secrets inject", restart)
}

/// Writes the file and starts the process anew, or puts everything back.
fn carry_out(
    session: &mut Session<'_>,
    old: &ProjectSpec,
    mut draft: Draft,
    verb: &'static str,
    restart: bool,
) -> Result<(Outcome, ProjectSpec, bool)> {
    if restart {
        draft.inject(session)?;
        let concerned = |r: &Any| matches!(r, Any::EnvFile(_) | Any::Service(_));
        let (new, draft) = (&draft.spec, Some(&draft));
        let change = Handover { verb, old, new, draft, renew: None, swaps: &[], concerned: &concerned };
        let handed = hand_over(session, &change, |_| Ok(())).map_err(|error| verdict(session, old, error))?;
        retire(session, &old.name);
        return Ok((handed.outcome, new.clone(), handed.restarted));
    }
    // Nothing else: what else is otherwise is none of this command's business.
    let all = session.wanted(&draft.spec)?;
    let owned = session.store.owned(old.name.as_str())?.into_iter().filter(is_file).collect();
    let wanted = draft.wanted(session)?.into_iter().filter(is_file).collect();
    let plan = Plan::between(owned, wanted, Foreign::Refuse, &session.host)?;
    if plan.is_noop() && draft.spec == *old && !draft.is_news() {
        return Ok((Outcome::Unchanged, draft.spec, false));
    }
    let done = session.carry_out(old.name.as_str(), verb, &plan, |registry| draft.record(registry, &all));
    Ok((done.map_err(|error| verdict(session, old, error))?, draft.spec, false))
}

fn is_file(resource: &Any) -> bool {
    matches!(resource, Any::EnvFile(_))
}

fn no_version(name: &ProjectName, version: u32) -> Fault {
    Fault::new(Code::VariableNotFound, format!("the environment of `{name}` has no version {version}"))
        .next(format!("hostkit env history {name}"))
}

/// Seals a project's part.
fn seal(host: &Host, name: &ProjectName, part: &EnvText) -> Result<Sealed> {
    let text = Zeroizing::new(part.to_string());
    host.vault.seal(&EnvFile::context(name.as_str()), &Secret::new(text.as_str()))
}

/// Opens a project's part.
fn open(host: &Host, name: &ProjectName, part: &Sealed) -> Result<EnvText> {
    Ok(EnvText::parse(host.vault.open(&EnvFile::context(name.as_str()), part)?.reveal())?)
}
