//! `status`: what runs, at a glance.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    policy::Policy,
    provision::data,
};
use crate::{
    domain::{layout::UnitName, name::ProjectName},
    operation::session::Session,
    project::{ProjectSpec, Stage},
    resource::{Any, Service, probe},
    system::UnitStatus,
};

/// Show what runs: all projects, or one
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// The project; all without this
    name: Option<ProjectName>,
}

impl Verb for StatusArgs {
    const NAME: &'static str = "status";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit status", "hostkit status blog", "hostkit status --json"];

    fn project(&self) -> Option<&ProjectName> {
        self.name.as_ref()
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        match &self.name {
            None => cx.look(all),
            Some(name) => cx.look(|session| one(session, name)),
        }
    }
}

/// A project's state in one word.
fn state(spec: &ProjectSpec, unit: Option<&UnitStatus>) -> &'static str {
    match &spec.live {
        None => "empty",
        Some((_, launch)) if launch.exec.is_none() => "live",
        Some(_) if !spec.running => "stopped",
        // What answers is live; the rest follows, or waits for `repair`.
        Some(_) if spec.stage != Stage::Settled => "settling",
        Some(_) => match unit.map(|u| u.active.as_str()) {
            Some("active") => "live",
            Some("activating") => "restarting",
            _ => "down",
        },
    }
}

fn unit_of<'u>(
    units: &'u std::collections::BTreeMap<String, UnitStatus>,
    unit: &UnitName,
) -> Option<&'u UnitStatus> {
    units.get(unit.as_str())
}

fn all(session: &mut Session<'_>) -> Result<Answer> {
    let projects = session.store.projects()?;
    // One call for all of them: asking for each costs milliseconds a unit.
    let units = session.host.systemd.list()?;
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    let mut sick = Vec::new();
    for project in &projects {
        let spec = &project.spec;
        let state = state(spec, unit_of(&units, &spec.name.unit()));
        let release = spec.live_release().map_or_else(|| "–".to_owned(), ToString::to_string);
        let mut row = data(spec);
        row["state"] = json!(state);
        rows.push(row);
        if matches!(state, "down" | "restarting") {
            sick.push(spec.name.to_string());
        }
        lines.push(vec![spec.name.to_string(), state.to_owned(), release, spec.port.to_string(), spec.url()]);
    }
    let data = json!({ "projects": rows });
    if lines.is_empty() {
        return Ok(Answer::new("no projects yet", data).next("hostkit provision NAME"));
    }
    let mut answer = Answer::new(table(&["PROJECT", "STATE", "RELEASE", "PORT", "URL"], &lines), data);
    for name in sick {
        answer = answer.next(format!("hostkit logs {name} -n 50"));
    }
    Ok(answer)
}

fn one(session: &mut Session<'_>, name: &ProjectName) -> Result<Answer> {
    let spec = session.project(name)?.spec;
    let units = session.host.systemd.list()?;
    let state = state(&spec, unit_of(&units, &name.unit()));
    let releases = session.store.releases(spec.uid)?;
    let processes = processes(session, name, &units)?;
    let mut text = format!("{name}  {state}  {}", spec.url());
    for process in &processes {
        let health = process.health.as_ref().map(|health| format!("  health {health}")).unwrap_or_default();
        text.push_str(&format!("\nprocess  {}  {}{health}", process.unit, process.state));
    }
    for release in releases.iter().take(5) {
        text.push_str(&format!(
            "\nrelease  {}  {:<8} by {}",
            release.id,
            release.state.text(),
            release.created_by
        ));
    }
    if let Some(fallen) = &spec.rails.fallen {
        let (release, at, why) = (&fallen.release, &fallen.at, &fallen.why);
        text.push_str(&format!("\nnote     {release} was taken back by itself at {at}: {why}"));
    }
    if let Some(since) = &spec.rails.paused {
        text.push_str(&format!("\nnote     deploys are paused since {since}: `hostkit resume {name}`"));
    }
    let mut all = data(&spec);
    all["rails"] = json!(spec.rails);
    all["state"] = json!(state);
    all["health"] = json!(processes.iter().find_map(|process| process.health.as_ref()));
    let shown = processes.iter().map(|p| json!({ "unit": p.unit, "state": p.state, "health": p.health }));
    all["processes"] = json!(shown.collect::<Vec<_>>());
    Ok(Answer::new(text, all))
}

/// A process of a project, as it is now.
struct Process {
    unit: String,
    state: String,
    /// What it answers, for one that answers requests.
    health: Option<String>,
}

/// Whether a process that is down had nothing more to do.
fn has_ended(session: &Session<'_>, service: &Service) -> bool {
    let end = || session.host.systemd.postmortem(&service.unit);
    service.health.is_none() && end().is_ok_and(|end| end.is_well())
}

/// Every process that a project is to have. Whether one answers is asked of itself: systemd only knows that
/// it runs.
fn processes(
    session: &Session<'_>,
    name: &ProjectName,
    units: &std::collections::BTreeMap<String, UnitStatus>,
) -> Result<Vec<Process>> {
    let owned = session.store.owned(name.as_str())?;
    let services = owned.into_iter().filter_map(|resource| match resource {
        Any::Service(service) if service.running => Some(service),
        _ => None,
    });
    let process = |service: Service| {
        let known = unit_of(units, &service.unit);
        let state = match known {
            None => "down".to_owned(),
            Some(unit) if unit.is_waiting() && has_ended(session, &service) => {
                "ended (starts again after 5 s)".to_owned()
            }
            Some(unit) => format!("{} ({})", unit.active, unit.sub),
        };
        let health = service.health.map(|health| {
            probe(&health, &session.host).map_or_else(|e| format!("{e:#}"), |_| "ok".to_owned())
        });
        Process { unit: service.unit.to_string(), state, health }
    };
    Ok(services.map(process).collect())
}
