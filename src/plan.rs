//! From what is owned and what is wanted to what will be done. Looks at the host, never touches it.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        fault::{Code, Fault},
        layout::HostPath,
    },
    resource::{Any, State},
    system::Host,
};

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing: it is as wanted.
    Keep,
    /// Makes what is missing.
    Create,
    /// Changes what is otherwise.
    Change,
    /// Takes away what is no longer wanted.
    Remove,
}

/// One thing to do, with what is there before it is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// With what.
    pub resource: Any,
    /// What is there now: the before-image.
    pub found: serde_json::Value,
    /// How it differs, for a change.
    pub reason: String,
    /// Somebody else changed it since HostKit last did.
    pub drifted: bool,
    /// Its place in the order in which what was owned went up; undoing puts back in that order.
    pub rank: usize,
}

/// What it takes to go from owning one list of resources to having another.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// In the order they are done.
    pub steps: Vec<Step>,
    /// Where putting up begins.
    #[serde(skip)]
    put_from: usize,
}

/// Whether what exists and is nobody's may be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It is refused.
    Refuse,
    /// It becomes HostKit's, and goes when the project goes.
    Adopt,
}

impl Plan {
    /// The difference between `owned` and `wanted`, seen from the host as it is.
    ///
    /// One rule of order, here and in [`crate::operation`]: take away backwards, then put up
    /// forwards. So a unit stops before its account goes, and starts after its files come.
    pub fn between(owned: Vec<Any>, wanted: Vec<Any>, foreign: Foreign, host: &Host) -> Result<Self> {
        let mut owned: Vec<Owned> = owned
            .into_iter()
            .enumerate()
            .map(|(rank, resource)| Owned { rank, id: resource.id(), resource })
            .collect();
        let put = put_up(&mut owned, wanted, foreign, host)?;
        let mut steps = take_away(owned, host)?;
        let put_from = steps.len();
        steps.extend(put);
        Ok(Self { steps, put_from })
    }

    /// What will be owned once the plan is carried out.
    pub fn wanted(&self) -> impl Iterator<Item = &Any> {
        self.steps[self.put_from..].iter().map(|s| &s.resource)
    }

    /// The steps that do something.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|s| s.action != Action::Keep)
    }

    /// Whether there is nothing to do.
    pub fn is_noop(&self) -> bool {
        self.changes().next().is_none()
    }

    /// Has another plan follow this one: it is done last, and undone last.
    pub fn follow(&mut self, next: Self) {
        let rank = self.steps.iter().map(|step| step.rank + 1).max().unwrap_or_default();
        self.steps.extend(next.steps.into_iter().map(|step| Step { rank: step.rank + rank, ..step }));
    }

    /// Has resources of a kind made anew although they are as wanted: a restart.
    pub fn renew(&mut self, kind: &str, reason: &str) {
        self.renew_if(reason, |resource| resource.kind() == kind);
    }

    /// Has those resources made anew although they are as wanted that are meant.
    pub fn renew_if(&mut self, reason: &str, is_meant: impl Fn(&Any) -> bool) {
        for step in &mut self.steps {
            if step.action == Action::Keep && is_meant(&step.resource) {
                step.action = Action::Change;
                reason.clone_into(&mut step.reason);
            }
        }
    }
}

/// Something owned, with its place in the order it went up in.
struct Owned {
    rank: usize,
    id: String,
    resource: Any,
}

/// The steps that make or keep what is wanted, in its order. Takes what it meets out of `owned`.
fn put_up(owned: &mut Vec<Owned>, wanted: Vec<Any>, foreign: Foreign, host: &Host) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut moved: Vec<(HostPath, HostPath)> = Vec::new();
    let mut changed: Vec<HostPath> = Vec::new();
    let new_from = owned.len();
    // A tree that is ours is ours with all that is in it.
    let trees: Vec<HostPath> =
        owned.iter().filter_map(|o| o.resource.carries_to().and(o.resource.place()).cloned()).collect();
    for (at, resource) in wanted.into_iter().enumerate() {
        // A tree that will come back from the trash is looked at where it still is.
        let view = host.root.seen_at(moved.clone());
        let (state, found) = resource.observe(host)?;
        drop(view);
        let ours = owned.iter().position(|o| o.id == resource.id()).map(|i| owned.remove(i));
        let nothing = found == resource.nothing();
        let inside = resource.place().is_some_and(|place| trees.iter().any(|tree| place.is_within(tree)));
        if ours.is_none() && !nothing && !inside && foreign == Foreign::Refuse {
            let what = resource.place().map_or_else(|| resource.id(), ToString::to_string);
            let fault = Fault::new(Code::Foreign, format!("`{what}` exists and is not HostKit's"));
            return Err(match resource.place() {
                Some(_) => {
                    fault.next(format!("mv {what} {what}.old    # or repeat with `--adopt` to take it over"))
                }
                None => fault.next("rename or remove what is there"),
            }
            .into());
        }
        let drifted = match &ours {
            Some(last) => last.resource.compare(&found)? != State::Satisfied,
            None => false,
        };
        let rank = ours.map_or(new_from + at, |last| last.rank);
        let after = resource.follows().iter().find(|p| changed.contains(p));
        let (action, reason) = match (state, after) {
            (State::Satisfied, Some(place)) => (Action::Change, format!("`{place}` changes")),
            (State::Satisfied, None) => (Action::Keep, String::new()),
            (State::Missing, _) => (Action::Create, String::new()),
            (State::Differs(how), _) => (Action::Change, how),
        };
        if action != Action::Keep {
            changed.extend(resource.place().cloned());
        }
        if action == Action::Create
            && !nothing
            && let (Some(place), Some(trash)) = (resource.place(), resource.carries_to())
        {
            moved.push((place.clone(), trash.clone()));
        }
        steps.push(Step { action, resource, found, reason, drifted, rank });
    }
    Ok(steps)
}

/// The steps that take away what is no longer wanted, last first.
fn take_away(owned: Vec<Owned>, host: &Host) -> Result<Vec<Step>> {
    let tree = |o: &Owned| o.resource.carries_to().and(o.resource.place()).cloned();
    let whole: Vec<HostPath> = owned.iter().filter_map(tree).collect();
    let mut steps = Vec::new();
    for Owned { rank, resource, .. } in owned.into_iter().rev() {
        // What lies in a tree that goes as a whole goes with it, and is not even looked at.
        let carried = resource
            .place()
            .is_some_and(|place| whole.iter().any(|tree| place.is_within(tree) && place != tree));
        if carried {
            continue;
        }
        let (state, found) = resource.observe(host)?;
        let action = if found == resource.nothing() { Action::Keep } else { Action::Remove };
        let drifted = state != State::Satisfied;
        steps.push(Step { action, resource, found, reason: String::new(), drifted, rank });
    }
    Ok(steps)
}
