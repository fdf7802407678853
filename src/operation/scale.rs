//! How many processes a project has, and when they count as healthy: what the administrator says of it.

use anyhow::{Result, bail};

use super::{
    deploy::verdict,
    handover::{Change, hand_over, runs},
    lifecycle::settle,
    session::{Outcome, Session},
};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
        port::Port,
    },
    plan::Plan,
    project::{ProjectSpec, config::HealthConfig},
    resource::Any,
};

/// The most processes of one kind that answer nobody.
const WORKERS: u16 = 16;

/// How many there are to be of one kind of process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// `web`, or a name that the release gives a process.
    pub kind: String,
    /// How many.
    pub number: u16,
}

/// Gives a project so many processes of these kinds.
pub fn scale(
    session: &mut Session<'_>,
    name: &ProjectName,
    counts: &[Count],
) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "scale")?;
    let old = session.project(name)?.spec;
    let mut new = old.clone();
    for count in counts {
        check(&old, count)?;
        // One is what there is anyway.
        match count.number {
            1 => new.scale.remove(&count.kind),
            number => new.scale.insert(count.kind.clone(), number),
        };
    }
    let change = Change {
        verb: "scale",
        old: &old,
        new: &new,
        draft: None,
        renew: None,
        swaps: &[],
        concerned: &runs,
    };
    let handed = hand_over(session, &change, |_| Ok(())).map_err(|error| verdict(session, &old, error))?;
    Ok((handed.outcome, new))
}

fn check(spec: &ProjectSpec, Count { kind, number }: &Count) -> Result<()> {
    let name = &spec.name;
    let refuse = |message: String| Fault::new(Code::WrongState, message);
    let Some((_, launch)) = &spec.live else {
        bail!(
            refuse(format!("`{name}` has not been deployed: nobody knows which processes it has"))
                .next(format!("hostkit deploy {name} --source DIR"))
        )
    };
    if launch.exec.is_none() {
        bail!(refuse(format!("`{name}` is static: nginx serves it and no process runs")));
    }
    if kind == ProjectSpec::WEB {
        let most = Port::INSTANCES;
        if !(1..=most).contains(number) {
            bail!(
                Fault::new(Code::InvalidValue, format!("a project has from 1 to {most} instances of `web`"))
                    .next(format!("hostkit stop {name}    # none at all"))
            );
        }
        if *number > 1 && !spec.surges() {
            bail!(
                refuse(format!("`{name}` cannot run twice: its hostkit.toml says strategy = \"restart\""))
                    .next("leave `strategy` out of hostkit.toml, and deploy")
            );
        }
        return Ok(());
    }
    let Some(process) = launch.processes.iter().find(|process| process.name == *kind) else {
        let known: Vec<&str> = launch.processes.iter().map(|process| process.name.as_str()).collect();
        let known = [&["web"], known.as_slice()].concat().join(", ");
        bail!(
            Fault::new(Code::InvalidValue, format!("`{name}` has no process `{kind}`; it has {known}"))
                .next("name it in the Procfile or under [processes] in hostkit.toml, and deploy")
        );
    };
    if process.at.is_some() {
        bail!(Fault::new(
            Code::InvalidValue,
            format!("`{kind}` runs at certain times, and then once; it cannot be more")
        ));
    }
    if *number > WORKERS {
        bail!(Fault::new(Code::InvalidValue, format!("a project has at most {WORKERS} of `{kind}`")));
    }
    Ok(())
}

/// Says when a project counts as healthy; it holds from the next start on. What is not said in `settings`
/// stays; with `reset` it is left to the release.
pub fn set_health(
    session: &mut Session<'_>,
    name: &ProjectName,
    settings: HealthConfig,
    reset: bool,
) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "health")?;
    let mut spec = session.project(name)?.spec;
    let before = if reset { HealthConfig::default() } else { spec.health.clone() };
    spec.health = settings.or(&before);
    // What is asked of a process holds at once; its unit, which says how long it may take to end, is written
    // with the next start.
    let wanted = session.wanted(&spec)?;
    let now = |old: Any| match wanted.iter().find(|new| new.id() == old.id()) {
        Some(Any::Service(new)) => new.clone().into(),
        _ => old,
    };
    let all: Vec<Any> = session.store.owned(name.as_str())?.into_iter().map(now).collect();
    let outcome = settle(session, "health", &spec, &Plan::default(), &all)?;
    Ok((outcome, spec))
}
