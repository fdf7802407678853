//! What runs of a project: the units of its processes, the processes, and the site that leads to them.

use anyhow::Result;

use super::{
    Launch, ProjectSpec, Stage,
    config::HealthConfig,
    detect::Workdir,
    fpm,
    front::{site, web_root},
    health::DRAIN,
    process::{Process, Strategy},
    template::{Templates, UnitVars},
};
use crate::{
    domain::{
        command::StartCommand,
        layout::{HostPath, UnitName},
        runtime::Runtime,
    },
    resource::{Any, Health, ManagedFile, Service, Timer, Unit},
};

const TARGET: &str = "multi-user.target";

/// One instance of what answers requests.
struct Instance {
    unit: UnitName,
    port: u16,
    /// Where it is told its port, if that is not the one in the project's environment.
    port_file: Option<HostPath>,
    /// Where it writes its complaints.
    log: HostPath,
    /// Whether it starts at boot.
    lasts: bool,
}

impl Instance {
    /// The `n`-th, counted from 1.
    fn nth(spec: &ProjectSpec, n: u16) -> Self {
        let name = &spec.name;
        let further = n > 1;
        Self {
            unit: if further { name.process_unit(ProjectSpec::WEB, n) } else { name.unit() },
            port: spec.port.instance(n),
            port_file: further.then(|| name.port_file(&format!("{}-{n}", ProjectSpec::WEB))),
            log: name.logs().join("error.log"),
            lasts: true,
        }
    }

    /// The one that answers while the others are started anew.
    fn surge(spec: &ProjectSpec) -> Self {
        let name = &spec.name;
        Self {
            unit: name.surge_unit(),
            port: spec.port.surge(),
            port_file: Some(name.port_file("surge")),
            // A file of its own, for its last words to be found when it fails.
            log: surge_log(spec),
            lasts: false,
        }
    }

    fn inputs(&self, spec: &ProjectSpec) -> Vec<HostPath> {
        let mut inputs = vec![spec.name.env(), spec.name.app(), self.unit.file()];
        inputs.extend(self.port_file.clone());
        inputs.extend(spec.has_fpm().then(|| spec.name.fpm_config()));
        inputs
    }

    fn service(&self, spec: &ProjectSpec, launch: &Launch) -> Service {
        let health = spec.health_of(launch);
        Service {
            unit: self.unit.clone(),
            running: spec.running,
            inputs: self.inputs(spec),
            health: Some(Health {
                port: self.port,
                uid: spec.uid,
                host: spec.domain.to_string(),
                path: health.path,
                timeout: health.timeout.unwrap_or(launch.health_timeout),
                status: health.status,
                interval: health.interval,
                grace: health.grace.unwrap_or_default(),
                scripts: launch.fpm.as_ref().and_then(|_| Some(web_root(spec)?.to_string())),
            }),
            log: self.log.clone(),
        }
    }
}

/// Where the surge instance writes, to both streams.
pub(super) fn surge_log(spec: &ProjectSpec) -> HostPath {
    spec.name.logs().join("surge.log")
}

impl ProjectSpec {
    /// What is said about the health of a release.
    pub fn health_of(&self, launch: &Launch) -> HealthConfig {
        self.health.clone().or(&HealthConfig {
            path: launch.health_path.clone(),
            status: launch.health_status,
            timeout: Some(launch.health_timeout),
            interval: launch.health_interval,
            grace: launch.health_grace,
            drain: launch.drain,
        })
    }

    /// How long a process that ends may go on with what it is answering, in seconds.
    pub fn drain(&self) -> u32 {
        let launch = self.live.as_ref().map(|(_, launch)| launch);
        launch.and_then(|launch| self.health_of(launch).drain).or(self.health.drain).unwrap_or(DRAIN)
    }

    /// Whether another instance of the live release may run beside the one that answers.
    pub fn surges(&self) -> bool {
        self.live.as_ref().is_some_and(|(_, l)| l.exec.is_some() && l.strategy == Strategy::Rolling)
    }

    fn instances(&self) -> Vec<Instance> {
        (1..=self.webs()).map(|n| Instance::nth(self, n)).collect()
    }
}

/// The units, before anything is started: nobody needs them yet.
pub(super) fn units(
    spec: &ProjectSpec,
    launch: &Launch,
    exec: &StartCommand,
    templates: &Templates,
) -> Result<Vec<Any>> {
    let mut all = Vec::new();
    if launch.fpm.is_some() {
        let (path, body) = (spec.name.fpm_config(), fpm::config(spec));
        all.push(ManagedFile { path, body, gid: spec.uid, mode: 0o640 }.into());
    }
    let fpm = launch.fpm.clone().unwrap_or_default();
    let surge = spec.surges().then(|| Instance::surge(spec));
    for instance in spec.instances().iter().chain(&surge) {
        if let Some(path) = &instance.port_file {
            let body = format!("PORT={}\n", instance.port);
            all.push(ManagedFile { path: path.clone(), body, gid: spec.uid, mode: 0o640 }.into());
        }
        let body = templates.unit(&UnitVars {
            port_file: instance.port_file.as_ref().map(ToString::to_string),
            surge_log: (!instance.lasts).then(|| instance.log.to_string()),
            fpm: launch.fpm.is_some(),
            environment: fpm.environment.iter().map(|(key, value)| format!("{key}={value}")).collect(),
            warm_up: fpm.warm_up.iter().map(StartCommand::to_systemd).collect(),
            ..unit_vars(spec, launch, exec)
        })?;
        all.push(Unit::new(instance.unit.clone(), body, instance.lasts && spec.running, TARGET).into());
    }
    for process in &launch.processes {
        all.extend(process_units(spec, launch, process, templates)?);
    }
    Ok(all)
}

fn unit_vars<'s>(spec: &'s ProjectSpec, launch: &Launch, exec: &StartCommand) -> UnitVars<'s> {
    let name = &spec.name;
    let workdir = match launch.workdir {
        Workdir::Home => name.home(),
        Workdir::App => name.app(),
    };
    UnitVars {
        name: name.as_str(),
        workdir: workdir.to_string(),
        env_file: name.env().to_string(),
        port_file: None,
        exec_start: exec.to_systemd(),
        logs: name.logs().to_string(),
        surge_log: None,
        home: name.home().to_string(),
        shared: name.shared().to_string(),
        // Node compiles as it runs, and so may any command; CPython does not.
        deny_write_execute: launch.runtime == Runtime::Python,
        times: false,
        fpm: false,
        environment: Vec::new(),
        warm_up: Vec::new(),
        // For systemd 0 is for ever.
        drain: spec.drain().max(1),
    }
}

/// The lines of a unit's `[Service]` that shut in the project's process, for something else that is run as
/// the project. What it may see of the home is for the caller to say.
pub fn sandbox(
    spec: &ProjectSpec,
    launch: &Launch,
    exec: &StartCommand,
    templates: &Templates,
) -> Result<Vec<String>> {
    const OWN: &[&str] = &[
        "Type",
        "WorkingDirectory",
        "EnvironmentFile",
        "Environment",
        "Restart",
        "RestartSec",
        "StandardOutput",
        "StandardError",
        "BindReadOnlyPaths",
        "BindPaths",
        "TimeoutStopSec",
        "KillMode",
        "KillSignal",
    ];
    let text = templates.unit(&unit_vars(spec, launch, exec))?;
    let service = text.lines().map(str::trim).skip_while(|line| *line != "[Service]").skip(1);
    let lines = service.take_while(|line| !line.starts_with('[')).filter(|line| {
        let key = line.split('=').next().unwrap_or_default();
        line.contains('=') && !line.starts_with(['#', ';']) && !key.starts_with("Exec") && !OWN.contains(&key)
    });
    Ok(lines.map(str::to_owned).collect())
}

fn process_units(
    spec: &ProjectSpec,
    launch: &Launch,
    process: &Process,
    templates: &Templates,
) -> Result<Vec<Any>> {
    let Some(cron) = &process.at else {
        let body = templates.unit(&unit_vars(spec, launch, &process.command))?;
        let unit = |n| {
            Unit::new(spec.name.process_unit(&process.name, n), body.clone(), spec.running, TARGET).into()
        };
        return Ok((1..=spec.count(&process.name)).map(unit).collect());
    };
    let (service, timer) = spec.name.cron_units(&process.name);
    let body = templates.unit(&UnitVars { times: true, ..unit_vars(spec, launch, &process.command) })?;
    let calendars: String = cron.calendars().iter().map(|when| format!("OnCalendar={when}\n")).collect();
    let name = &spec.name;
    let when = format!(
        "# Managed by HostKit: changes are undone by `hostkit repair {name}`.
[Unit]
Description=HostKit project {name}: {}

[Timer]
{calendars}AccuracySec=1s

[Install]
WantedBy=timers.target
",
        process.name
    );
    Ok(vec![
        Unit::new(service, body, false, TARGET).into(),
        Unit::new(timer, when, spec.running, "timers.target").into(),
    ])
}

/// The processes, and the site that leads to those that answer, in the order in which they take over.
pub(super) fn processes(spec: &ProjectSpec, templates: &Templates) -> Result<Vec<Any>> {
    let site = site(spec, templates)?;
    let Some((_, launch)) = spec.live.as_ref().filter(|(_, launch)| launch.exec.is_some()) else {
        return Ok(vec![site.into()]);
    };
    let regular = spec.instances().into_iter().map(|instance| Any::from(instance.service(spec, launch)));
    let mut all: Vec<Any> = Vec::new();
    if spec.stage == Stage::Surge {
        all.push(Instance::surge(spec).service(spec, launch).into());
        all.push(site.into());
        all.extend(regular);
    } else {
        all.extend(regular);
        all.push(site.into());
    }
    for process in &launch.processes {
        all.extend(beside(spec, process));
    }
    Ok(all)
}

/// What runs of a process that answers no requests.
fn beside(spec: &ProjectSpec, process: &Process) -> Vec<Any> {
    let name = &spec.name;
    if process.at.is_some() {
        let (_, timer) = name.cron_units(&process.name);
        // One that is stopped has no times at which it starts.
        let timer = spec.running.then(|| Timer { inputs: vec![timer.file()], unit: timer }.into());
        return timer.into_iter().collect();
    }
    let service = |n| {
        let unit = name.process_unit(&process.name, n);
        let inputs = vec![name.env(), name.app(), unit.file()];
        Service { unit, running: spec.running, inputs, health: None, log: name.logs().join("error.log") }
            .into()
    };
    (1..=spec.count(&process.name)).map(service).collect()
}
