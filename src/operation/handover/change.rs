//! A change of what runs, and the plans it leads to.

use anyhow::Result;

use super::{answers, between, is_env, is_late, is_of_surge, is_site};
use crate::{
    domain::name::ProjectName,
    operation::{environment::Draft, session::Session},
    plan::Plan,
    project::{ProjectSpec, Stage},
    resource::Any,
};

/// A change of what runs.
pub(in crate::operation) struct Change<'c> {
    /// The command.
    pub(in crate::operation) verb: &'static str,
    /// The project until now.
    pub(in crate::operation) old: &'c ProjectSpec,
    /// The project as it is to be.
    pub(in crate::operation) new: &'c ProjectSpec,
    /// Its environment as it is to be, when that is part of the change.
    pub(in crate::operation) draft: Option<&'c Draft>,
    /// Why processes are started anew that are as wanted.
    pub(in crate::operation) renew: Option<&'static str>,
    /// What takes the place of the data that processes are started with. What runs until then has it too.
    pub(in crate::operation) swaps: &'c [Any],
    /// What it may touch; whatever else is otherwise is none of its business.
    pub(in crate::operation) concerned: &'c dyn Fn(&Any) -> bool,
}

impl Change<'_> {
    pub(super) fn name(&self) -> &ProjectName {
        &self.new.name
    }

    /// The resources at a stage, with the environment as it is to be.
    pub(super) fn wanted(&self, session: &Session<'_>, stage: Stage) -> Result<Vec<Any>> {
        let mut all = session.wanted(&self.new.at(stage))?;
        if let Some(draft) = self.draft {
            let file = draft.wanted(session)?.into_iter().find(is_env);
            if let (Some(place), Some(file)) = (all.iter_mut().find(|r| is_env(r)), file) {
                *place = file;
            }
        }
        Ok(self.with_swaps(all))
    }

    /// Resources with what changes places: before what is started from it, going up and being put back.
    pub(super) fn with_swaps(&self, mut all: Vec<Any>) -> Vec<Any> {
        let at = all.iter().position(is_env).unwrap_or(all.len());
        all.splice(at..at, self.swaps.iter().cloned());
        all
    }

    /// Has processes made anew that are as wanted, if that is meant.
    fn touched(&self, mut plan: Plan) -> Plan {
        if let Some(reason) = self.renew {
            plan.renew("service", reason);
        }
        // That something else has the place is not somebody else's doing.
        let swaps: Vec<String> = self.swaps.iter().map(Any::id).collect();
        for step in plan.steps.iter_mut().filter(|step| swaps.contains(&step.resource.id())) {
            step.drifted = false;
        }
        plan
    }

    /// Whether there is nothing to be written down either.
    pub(super) fn is_old(&self) -> bool {
        self.old == self.new && !self.draft.is_some_and(Draft::is_news)
    }

    /// The one operation that changes everything at once: what it starts anew does not answer meanwhile.
    pub(super) fn plain(&self, session: &Session<'_>, owned: &[Any], settled: &[Any]) -> Result<Plan> {
        // Another number of instances, or the way back from the surge instance, is another site.
        let site = self.old.stage == Stage::Surge || self.old.webs() != self.new.webs();
        let mine = |r: &Any| (self.concerned)(r) && !is_late(r) || site && is_site(r);
        Ok(self.touched(between(session, owned, settled, mine)?))
    }

    /// The first of the three operations: the surge instance instead of the regular ones.
    pub(super) fn surge(&self, session: &Session<'_>, owned: &[Any], surging: &[Any]) -> Result<Plan> {
        let unit = self.name().surge_unit();
        let mine = |r: &Any| {
            let regular = answers(r).is_some_and(|service| service.unit != unit);
            (self.concerned)(r) && !regular && !is_late(r) || is_of_surge(r, self.name())
        };
        Ok(self.touched(between(session, owned, surging, mine)?))
    }
}
