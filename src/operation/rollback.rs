//! Going back: to an earlier release, to an earlier environment, or to both.

use anyhow::Result;

use super::{
    backup::{
        restore::Restored,
        retreat::{Loss, Onto, loss, retreat as data_too},
    },
    deploy::verdict,
    environment::Draft,
    handover::{Change, hand_over},
    lifecycle::retire,
    retreat::{Data, Retreat},
    session::{Mode, Outcome, Session},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
        release::{ReleaseId, ReleaseState},
    },
    project::{ProjectSpec, Stand, rails::Fallen},
    store::ReleaseRow,
};

/// The command in the records, and who holds the lock.
pub(super) const VERB: &str = "rollback";

/// Which environment is gone back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// The one that the release ran with last.
    Its,
    /// The one that is there now: the code alone goes back.
    Kept,
    /// This version.
    Version(u32),
}

/// What a rollback did.
#[derive(Clone, Debug)]
pub struct Swapped {
    /// The project now.
    pub spec: ProjectSpec,
    /// What was live before.
    pub from: Stand,
    /// The release that is live now.
    pub to: ReleaseRow,
    /// What the database went back to, if it did.
    pub database: Option<Restored>,
}

/// What going back would mean for the database, and what would be lost if that went back too.
pub fn foresee(
    session: &mut Session<'_>,
    name: &ProjectName,
    to: Option<&ReleaseId>,
    with: With,
    data: Data,
) -> Result<(Retreat, Option<Loss>)> {
    let spec = session.project(name)?.spec;
    let from = Stand { release: live(&spec)?.clone(), env: spec.env };
    let releases = session.store.releases(spec.uid)?;
    let (_, stand) = choose(&spec, &releases, &from, to, with)?;
    measure(session, &spec, &releases, &from, &stand, data)
}

fn measure(
    session: &mut Session<'_>,
    spec: &ProjectSpec,
    releases: &[ReleaseRow],
    from: &Stand,
    to: &Stand,
    data: Data,
) -> Result<(Retreat, Option<Loss>)> {
    let retreat = Retreat::between(releases, &from.release, &to.release);
    let loss = match data {
        Data::Stays { .. } => None,
        Data::GoesBack { .. } => Some(loss(session, spec, retreat.require_checkpoint(&spec.name)?)?),
    };
    Ok((retreat, loss))
}

fn live(spec: &ProjectSpec) -> Result<&ReleaseId> {
    let name = &spec.name;
    spec.live_release().ok_or_else(|| {
        let message = format!("`{name}` has not been deployed; there is nothing to go back to");
        Fault::new(Code::ReleaseNotFound, message).next(format!("hostkit deploy {name} --source DIR")).into()
    })
}

/// Goes back to what was live before, or to a named release. The database stays.
pub fn rollback(
    session: &mut Session<'_>,
    name: &ProjectName,
    to: Option<&ReleaseId>,
    with: With,
) -> Result<(Outcome, Swapped)> {
    go_back(session, name, to, with, Data::Stays { agreed: true })
}

/// The same, with a word on the database.
pub fn go_back(
    session: &mut Session<'_>,
    name: &ProjectName,
    to: Option<&ReleaseId>,
    with: With,
    data: Data,
) -> Result<(Outcome, Swapped)> {
    let _held = session.enter(name.as_str(), VERB)?;
    swap(session, name, to, with, data, None)
}

/// The same, for one who holds the project's lock; what has `fallen` is recorded with it.
pub(super) fn swap(
    session: &mut Session<'_>,
    name: &ProjectName,
    to: Option<&ReleaseId>,
    with: With,
    data: Data,
    fallen: Option<Fallen>,
) -> Result<(Outcome, Swapped)> {
    let spec = session.project(name)?.spec;
    let live = live(&spec)?.clone();
    let releases = session.store.releases(spec.uid)?;
    let mut draft = Draft::begin(session, &spec)?;
    let from = Stand { release: live, env: draft.spec.env };
    let (below, stand) = choose(&draft.spec, &releases, &from, to, with)?;
    let row = available(name, &draft.spec, &releases, &stand.release)?.clone();
    let (retreat, loss) = measure(session, &spec, &releases, &from, &stand, data)?;
    if session.mode == Mode::Run {
        retreat.require(name, data, loss.as_ref())?;
    }
    if let Some(loss) = loss {
        let onto = Onto { below, stand, launch: row.launch.clone(), undone: retreat.passed };
        let (outcome, restored) = data_too(session, &spec, &loss.checkpoint, onto)?;
        let spec = session.project(name)?.spec;
        return Ok((outcome, Swapped { spec, from, to: row, database: Some(restored) }));
    }
    if stand != from {
        draft.spec = draft.spec.standing(below, stand, row.launch.clone());
        draft.bring(session)?;
    }
    draft.spec.running = true;
    draft.spec.rails.fallen = fallen.or(draft.spec.rails.fallen);
    draft.inject(session)?;
    let swapped = Swapped { spec: draft.spec.clone(), from, to: row, database: None };
    let change = Change {
        verb: VERB,
        old: &spec,
        new: &draft.spec,
        draft: Some(&draft),
        renew: None,
        swaps: &[],
        concerned: &|_| true,
    };
    let handed = hand_over(session, &change, |registry| registry.go_live(spec.uid, &swapped.to.id));
    let handed = handed.map_err(|error| verdict(session, &spec, error))?;
    if handed.outcome == Outcome::Changed {
        retire(session, name);
    }
    Ok((handed.outcome, swapped))
}

/// What to go back to, and how many stands of the lineage stay below it.
fn choose(
    spec: &ProjectSpec,
    releases: &[ReleaseRow],
    from: &Stand,
    to: Option<&ReleaseId>,
    with: With,
) -> Result<(usize, Stand)> {
    let name = &spec.name;
    let whole = spec.lineage.len();
    let nothing = |what: &str| {
        Fault::new(
            Code::ReleaseNotFound,
            format!("`{name}` has no {what} before `{}` to go back to", from.release),
        )
        .next(format!("hostkit releases {name}"))
    };
    if let Some(release) = to {
        let row = available(name, spec, releases, release)?;
        // The live one is known better: it may have been taken in just now.
        let ran = if *release == from.release { from.env } else { row.env };
        let env = match with {
            With::Its => ran.or(from.env),
            With::Kept => from.env,
            With::Version(version) => Some(version),
        };
        let stand = Stand { release: release.clone(), env };
        // The live release with another environment is a stand of its own; one from before, again.
        let below = if *release == from.release {
            whole
        } else {
            spec.stood(|s| s.release == *release).unwrap_or(whole)
        };
        return Ok((below, stand));
    }
    match with {
        With::Version(version) => Ok((whole, Stand { release: from.release.clone(), env: Some(version) })),
        With::Kept => {
            let at = spec.stood(|s| s.release != from.release).ok_or_else(|| nothing("release"))?;
            Ok((at, Stand { release: spec.lineage[at].release.clone(), env: from.env }))
        }
        With::Its => {
            let before = spec.previous().ok_or_else(|| nothing("release or environment"))?;
            let env = before.env.or(from.env);
            Ok((whole - 2, Stand { release: before.release.clone(), env }))
        }
    }
}

/// A release that can be gone back to, or why it cannot.
fn available<'r>(
    name: &ProjectName,
    spec: &ProjectSpec,
    releases: &'r [ReleaseRow],
    id: &ReleaseId,
) -> Result<&'r ReleaseRow> {
    let fault = match releases.iter().find(|row| row.id == *id) {
        Some(row) => {
            let stands = matches!(row.state, ReleaseState::Live | ReleaseState::Retired);
            if stands && spec.kept.contains(id) {
                return Ok(row);
            }
            let state = row.state.text();
            format!("the release `{id}` of `{name}` is {state} and cannot be gone back to")
        }
        None => format!("`{name}` has no release `{id}`"),
    };
    Err(Fault::new(Code::ReleaseNotFound, fault).next(format!("hostkit releases {name}")).into())
}
