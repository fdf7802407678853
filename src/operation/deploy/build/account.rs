//! The build account of a project: made when something has to be built for the first time.

use anyhow::{Result, bail};

use crate::{
    domain::fault::{Code, Fault},
    operation::{recovery::lock_name, session::Session},
    plan::{Foreign, Plan},
    project::{
        ProjectSpec,
        builder::{self, Builder},
    },
    resource::{Resource, State},
    system::lock::Lock,
};

/// The setting that holds the highest number that a build account was given.
const HIGHEST: &str = "highest_build_uid";

/// Who builds for the project, and sees to it that the kernel keeps builds where they belong.
pub(super) fn engage(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<Builder> {
    guard(session)?;
    if let Some(builder) = spec.build {
        return Ok(builder);
    }
    // Numbers are given out under the host's own lock.
    let what = format!("deploy {}", spec.name);
    let locks = session.host.root.real(&crate::domain::layout::host::locks());
    let _host = Lock::wait(&locks, lock_name(""), &what, &*session.host.clock)?;
    let builder = Builder { uid: number(session)? };
    let next = ProjectSpec { build: Some(builder), ..spec.clone() };
    let all = session.wanted(&next)?;
    let plan =
        Plan::between(session.store.owned(spec.name.as_str())?, all.clone(), Foreign::Refuse, &session.host)?;
    session.carry_out(spec.name.as_str(), "build", &plan, |registry| {
        registry.put_project(&next)?;
        registry.set(HIGHEST, &builder.uid.to_string())?;
        registry.own(spec.name.as_str(), all.iter())
    })?;
    Ok(builder)
}

/// A number that was never given to a build account.
fn number(session: &Session<'_>) -> Result<u32> {
    let highest = session.store.setting(HIGHEST)?.and_then(|text| text.parse::<u32>().ok());
    let mut uid = highest.map_or(Builder::FIRST, |highest| Builder::FIRST.max(highest + 1));
    while session.host.accounts.is_used(uid)? {
        uid += 1;
    }
    if uid > Builder::LAST {
        bail!(Fault::new(Code::NameTaken, "every number for build accounts has been given out"));
    }
    Ok(uid)
}

/// The rules must be in force before anything of a stranger's runs: whoever restarts the distribution's
/// packet filter takes them away with it.
fn guard(session: &mut Session<'_>) -> Result<()> {
    let rules = builder::firewall();
    let found = rules.observe(&session.host)?;
    if rules.compare(&found) != State::Satisfied {
        rules.apply(&mut session.host)?;
    }
    Ok(())
}
