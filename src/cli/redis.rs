//! `redis`: a project's Redis.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    Verb, answer::Answer, context::Context, group, policy::Policy, rotation::Rotation, trash::confirmed,
};
use crate::{
    domain::name::ProjectName,
    operation::{
        redis::{Info, described, flush, info, rotate},
        session::{Mode, Outcome, Session},
    },
    project::redis::Home,
};

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] =
    &["hostkit redis info blog", "hostkit redis rotate blog", "hostkit redis flush blog --confirm blog"];

group! {
    Info(InfoArgs) = "info";
    Flush(FlushArgs) = "flush";
    Rotate(RotateArgs) = "rotate";
}

/// Show where a project's Redis is, and how much is in it
#[derive(Args, Clone, Debug)]
pub(crate) struct InfoArgs {
    /// The project
    name: ProjectName,
}

impl Verb for InfoArgs {
    const NAME: &'static str = "redis info";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit redis info blog", "hostkit redis info blog --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let Info { spec, redis, content, report, limit } = cx.look(|session| info(session, &self.name))?;
        let (user, number) = (&spec.name, redis.number());
        let port = match redis.home {
            Home::Shared(_) => crate::system::redis::PORT,
            Home::Dedicated { .. } => spec.port.redis(),
        };
        let megabytes = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
        let most = if limit == 0 { String::new() } else { format!(" of {}", megabytes(limit)) };
        let passwords = if redis.retiring.is_some() {
            "2: the old one goes when the process is started anew"
        } else {
            "1"
        };
        let pairs = [
            ("project", spec.name.to_string()),
            ("redis", described(&redis.home)),
            ("url", format!("redis://{user}:…@localhost:{port}/{number}")),
            ("keys", format!("{} ({} of them expire)", content.keys, content.expires)),
            ("memory", format!("{}{most}, the whole server", megabytes(report.memory))),
            ("connected", report.connections.to_string()),
            ("passwords", passwords.to_owned()),
            ("version", report.version.clone()),
        ];
        let text: Vec<String> = pairs.iter().map(|(k, v)| format!("{k:<9} {v}")).collect();
        let data = json!({
            "name": spec.name, "dedicated": matches!(redis.home, Home::Dedicated { .. }),
            "user": user, "port": port, "database": number, "keys": content.keys, "expires": content.expires,
            "memory_bytes": report.memory, "memory_limit_bytes": limit, "connections": report.connections,
            "rotating": redis.retiring.is_some(), "version": report.version,
        });
        Ok(Answer::new(text.join("\n"), data))
    }
}

/// Empty a project's Redis; what was in it is lost
#[derive(Args, Clone, Debug)]
pub(crate) struct FlushArgs {
    /// The project
    name: ProjectName,
    /// The project's name once more; on a terminal it is asked for
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for FlushArgs {
    const NAME: &'static str = "redis flush";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit redis flush blog",
        "hostkit redis flush blog --confirm blog",
        "hostkit redis flush blog --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        if mode == Mode::Run {
            let there = cx.look(|session| info(session, name))?;
            let warning = format!("All {} keys in the Redis of `{name}` are lost.", there.content.keys);
            confirmed(cx, name, self.confirm.as_deref(), "redis flush", &warning)?;
        }
        let (outcome, keys) = cx.session(mode, |session| flush(session, name))?;
        let text = match outcome {
            Outcome::Unchanged => format!("the Redis of {name} is empty already"),
            Outcome::WouldChange => format!("{keys} keys would go"),
            Outcome::Changed => format!("{keys} keys are gone"),
        };
        Ok(Answer::new(text, json!({ "keys": keys, "dry_run": self.dry_run })).outcome(outcome))
    }
}

/// Give a project's Redis a new password
///
/// Both the old and the new one are valid until the process has been started anew: at the next deploy,
/// restart or rollback. So nothing that runs is cut off.
#[derive(Args, Clone, Debug)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    rotation: Rotation,
}

impl Verb for RotateArgs {
    const NAME: &'static str = "redis rotate";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit redis rotate blog",
        "hostkit redis rotate blog --now",
        "hostkit redis rotate blog --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.rotation.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let both = |session: &mut Session<'_>, name: &ProjectName, now| {
            let outcome = rotate(session, name, now)?;
            Ok((outcome, session.project(name)?.spec))
        };
        self.rotation.carry_out(cx, both, |spec| {
            let pending = spec.redis.as_ref().is_some_and(|redis| redis.retiring.is_some());
            let old = if pending { "valid too until the process is started anew" } else { "gone" };
            let text = format!("{} has a new Redis password; the old one is {old}", spec.name);
            (Answer::new(text, json!({ "name": spec.name, "rotating": pending })), pending)
        })
    }
}
