//! `attach`: looking at work that goes on by itself.

use anyhow::Result;
use clap::Args;

use super::{Verb, answer::Answer, context::Context, policy::Policy, survive};
use crate::domain::name::ProjectName;

/// Show a deploy or a rollback from its beginning, and end as it ends
#[derive(Args, Clone, Debug)]
pub(crate) struct AttachArgs {
    /// The project
    name: ProjectName,
    /// Which one, as the last part of its unit's name; the newest without this
    id: Option<String>,
}

impl Verb for AttachArgs {
    const NAME: &'static str = "attach";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit attach blog"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let call = survive::find(cx, &self.name, self.id.as_deref())?;
        let mut host = cx.host()?;
        survive::follow(cx, &mut host, &call, false)
    }
}
