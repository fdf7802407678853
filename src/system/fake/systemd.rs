//! A fake service manager: it knows units by the definitions it has read, and keeps the links that tell
//! when each was started.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use super::{Fake, Started, redis};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::UnitName,
    },
    system::{
        End, Job, Systemd, UnitStatus,
        build::{self, Ending},
        systemd::Postmortem,
    },
};

/// More than a tick of the clock that stamps files.
const TICK: Duration = Duration::from_millis(11);

impl Fake {
    pub(super) fn invocation(&self, unit: &str) -> PathBuf {
        self.path(&format!("run/systemd/units/invocation:{unit}"))
    }
    /// The port that a unit listens on: the last of its environment files that names one has its way. A
    /// worker is told one too, and does not use it.
    fn port(&self, body: &str) -> Option<u16> {
        let files = body.lines().rev().filter_map(|l| l.strip_prefix("EnvironmentFile="));
        let mut told = files.filter_map(|file| {
            let text = std::fs::read_to_string(self.path(file)).unwrap_or_default();
            text.lines().find_map(|l| l.strip_prefix("PORT=")?.trim_matches(['\'', '"']).parse().ok())
        });
        told.next().filter(|_| !body.contains("worker"))
    }
    /// Leaves the link that systemd keeps for a unit that is up, as old as this moment.
    pub(super) fn mark_start(&self, unit: &str, number: usize) -> Result<()> {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
        let link = self.invocation(unit);
        std::os::unix::fs::symlink(format!("{number:032x}"), &link)?;
        let now = Timestamp::now();
        let now = Timespec { tv_sec: now.as_second(), tv_nsec: now.subsec_nanosecond().into() };
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::utimensat(CWD, &link, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        // What is written from here on is stamped later than the start.
        std::thread::sleep(TICK);
        Ok(())
    }
}

impl Fake {
    /// What the programs of a fake build do: `npm`, `write PATH TEXT…`, `say TEXT…`, `fail STATUS`, `starve`,
    /// `dawdle`, `hoard`. Every other program is missing.
    fn build(&self, job: &build::Job, hear: &mut dyn FnMut(&str)) -> Result<Ending> {
        let words: Vec<&str> = job.argv.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            ["write", path, text @ ..] => {
                let path = self.path(&job.tree.join(path).to_string());
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                std::fs::write(&path, text.join(" "))?;
                Ending::Done
            }
            ["say", text @ ..] => {
                hear(&text.join(" "));
                Ending::Done
            }
            ["npm", ..] => {
                let dep = self.path(&job.tree.join("node_modules/dep").to_string());
                std::fs::create_dir_all(&dep)?;
                std::fs::write(dep.join("index.js"), "1")?;
                // A workspace's package that has something of its own.
                let package = self.path(&job.tree.join("packages/a").to_string());
                if package.is_dir() {
                    std::fs::create_dir_all(package.join("node_modules/own"))?;
                    std::fs::write(package.join("node_modules/own/index.js"), "1")?;
                }
                Ending::Done
            }
            ["fail", status] => Ending::Failed(status.parse()?),
            ["starve"] => Ending::OutOfMemory,
            ["dawdle"] => Ending::TimedOut,
            ["hoard"] => Ending::TooLarge,
            _ => Ending::Failed(127),
        })
    }
}

fn field<'a>(unit: &'a str, name: &str) -> Option<&'a str> {
    unit.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='))
}

impl Systemd for Fake {
    fn reload(&mut self) -> Result<()> {
        self.effect("daemon-reload", |state| {
            state.reloads += 1;
            state.known.retain(|unit, _| self.path(&format!("etc/systemd/system/{unit}")).exists());
            let drop_in = redis::DROP_IN;
            if self.path(&format!("etc/systemd/system/{drop_in}")).exists() {
                state.known.entry(drop_in.to_owned()).or_default();
            }
            for (unit, body) in &mut state.known {
                *body = std::fs::read_to_string(self.path(&format!("etc/systemd/system/{unit}")))?;
            }
            Ok(())
        })
    }
    fn restart(&mut self, unit: &UnitName) -> Result<()> {
        let name = unit.as_str();
        if name == redis::SHARED {
            return self.effect("restart", |state| self.start_shared_redis(state));
        }
        self.effect("restart", |state| {
            // Like systemd: what is known is not read again without being told.
            let body = match state.known.get(name) {
                Some(body) => body.clone(),
                None => {
                    std::fs::read_to_string(self.path(unit.file().as_path().to_str().unwrap_or_default()))
                        .with_context(|| format!("Unit {name} not found."))?
                }
            };
            state.known.insert(name.into(), body.clone());
            let user = field(&body, "User").unwrap_or("root").to_owned();
            let dynamic = field(&body, "DynamicUser") == Some("yes");
            if user != "root" && !dynamic && !state.accounts.contains_key(&user) {
                bail!("{name}: Main process exited, status=217/USER");
            }
            redis::Server::stop(state, name);
            if let Some(server) = self.start_redis(&body, state.dumps.get(name))? {
                state.redis.insert(name.into(), server);
                let _ = std::fs::remove_file(self.invocation(name));
                state.starts += 1;
                let started = Started { user, body, app: String::new(), port: None };
                state.units.insert(name.into(), started);
                return self.mark_start(name, state.starts);
            }
            let app = std::fs::read_link(self.path(&format!("home/{user}/app"))).unwrap_or_default();
            let port = self.port(&body);
            let started = Started { user, body, app: app.to_string_lossy().into_owned(), port };
            state.units.remove(name);
            let _ = std::fs::remove_file(self.invocation(name));
            if self.release(&started).join("crash").exists() {
                return Err(
                    Fault::new(Code::Unhealthy, format!("`{unit}` does not start: exit status 1")).into()
                );
            }
            state.units.insert(name.into(), started);
            state.starts += 1;
            self.mark_start(name, state.starts)?;
            Ok(())
        })
    }
    fn stop(&mut self, unit: &UnitName) -> Result<()> {
        self.effect("stop", |state| {
            state.units.remove(unit.as_str());
            redis::Server::stop(state, unit.as_str());
            let _ = std::fs::remove_file(self.invocation(unit.as_str()));
            Ok(())
        })
    }
    fn end_together(&mut self, units: &[&UnitName]) -> Result<()> {
        self.effect("end-together", |state| {
            for unit in units {
                state.units.remove(unit.as_str());
                let _ = std::fs::remove_file(self.invocation(unit.as_str()));
            }
            state.ended_together.push(units.iter().map(ToString::to_string).collect());
            Ok(())
        })
    }
    fn forget(&mut self, unit: &UnitName) -> Result<()> {
        self.stop(unit)
    }
    fn list(&self) -> Result<BTreeMap<String, UnitStatus>> {
        let running = |u: &String| (u.clone(), UnitStatus { active: "active".into(), sub: "running".into() });
        let state = self.world.state();
        let failed = |u: &String| (u.clone(), UnitStatus { active: "failed".into(), sub: "failed".into() });
        let waiting =
            |u: &String| (u.clone(), UnitStatus { active: "activating".into(), sub: "auto-restart".into() });
        let known = state.units.keys().map(running).chain(state.failed.iter().map(failed));
        Ok(known.chain(state.ended.iter().map(waiting)).collect())
    }
    fn postmortem(&self, unit: &UnitName) -> Result<Postmortem> {
        if self.world.state().ended.iter().any(|ended| ended == unit.as_str()) {
            return Ok(Postmortem { result: "success".into(), status: "exit status 0".into() });
        }
        Ok(Postmortem { result: "exit-code".into(), status: "exit status 1".into() })
    }
    fn work(&mut self, job: &build::Job, hear: &mut dyn FnMut(&str)) -> Result<Ending> {
        let mut ending = Ending::Done;
        self.effect("build", |state| {
            if !state.accounts.contains_key(&job.account) {
                bail!("{}: Main process exited, status=217/USER", job.unit);
            }
            state.built.push(job.argv.join(" "));
            ending = self.build(job, hear)?;
            Ok(())
        })?;
        Ok(ending)
    }
    /// A job does what its words say: one that has `fail` among them fails, one with `forever` takes too
    /// long.
    fn run(&mut self, job: &Job, said: &mut dyn FnMut(&str)) -> Result<End> {
        let mut end = End::Well;
        self.effect("job", |state| {
            state.jobs.push(job.argv.clone());
            let has = |word: &str| job.argv.iter().any(|w| w == word);
            end = match (has("fail"), has("forever")) {
                (true, _) => End::Status(1),
                (_, true) => End::Late,
                _ => End::Well,
            };
            Ok(())
        })?;
        said(&job.argv.join(" "));
        Ok(end)
    }
    fn detach(&mut self, job: &Job, _stdin: bool) -> Result<()> {
        self.effect("detach", |state| {
            state.jobs.push(job.argv.clone());
            Ok(())
        })
    }
    fn repeat(&mut self, job: &Job, _every: std::time::Duration) -> Result<()> {
        self.effect("repeat", |state| {
            state.timers.push(job.unit.to_string());
            Ok(())
        })
    }
    fn restarts(&self, unit: &UnitName) -> Result<u32> {
        Ok(self.world.state().crashes.get(unit.as_str()).copied().unwrap_or_default())
    }
    fn interrupt(&mut self, _unit: &UnitName) -> Result<()> {
        self.effect("interrupt", |_| Ok(()))
    }
    fn verify(&self, unit: &UnitName, text: &str) -> Result<()> {
        if text.contains("ExecStart=") {
            return Ok(());
        }
        bail!(Fault::new(
            Code::InvalidTemplate,
            format!("systemd refuses the unit made from the template: {unit}: Service has no ExecStart=")
        ))
    }
}
