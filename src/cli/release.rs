//! `deploy`, `rollback` and `releases`.

use std::{
    ffi::OsString,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    Verb,
    answer::{Answer, table},
    builds::BuildArgs,
    context::Context,
    git::FromArgs,
    policy::Policy,
    provision::RuntimeArgs,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
        release::ReleaseId,
    },
    operation::{
        deploy::{Deployed, Upload, build::Forecast, deploy, size},
        retreat::Data,
        rollback::{Swapped, With, foresee, go_back},
        session::{Mode, Outcome},
    },
    project::detect::Asked,
    system::source::{self, Packer, Source, Stdin, Stream},
    ui::{harmless, say},
};

/// What the answer of a deploy begins with.
pub(super) const LIVE: &str = "Live";
/// The hidden command that reads a source with the caller's permissions.
pub(super) const PACK: &str = "__pack";
/// The same for what has been built.
pub(super) const PACK_ARTIFACT: &str = "__pack-artifact";

/// Deploy a source: it becomes a release, and goes live when it is healthy
#[derive(Args, Clone, Debug)]
pub(crate) struct DeployArgs {
    /// The project
    name: ProjectName,
    #[command(flatten)]
    from: FromArgs,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    build: BuildArgs,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave the database as it is: run no migrations
    #[arg(long, help_heading = "Application")]
    skip_migrate: bool,
    /// Deploy although there were too many deploys, or too many that failed; for administrators
    #[arg(long, hide_short_help = true)]
    override_ratelimit: bool,
    /// Wait for somebody else who works on the project, for so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "600")]
    wait: Option<u64>,
}

/// How long to wait for somebody else.
fn patience(wait: Option<u64>) -> Duration {
    Duration::from_secs(wait.unwrap_or_default().min(86_400))
}

/// Refuses the empty path, which a variable without a value makes, and which would mean "here".
pub(super) fn named(path: OsString) -> Result<OsString, Fault> {
    if path.is_empty() {
        return Err(Fault::new(Code::InvalidSource, "the source is empty")
            .next("give a directory, a .tar.gz, .tar.zst or .zip file, or `-` for standard input"));
    }
    Ok(path)
}

impl DeployArgs {
    /// A deploy that follows provisioning.
    pub(super) fn of(name: ProjectName, source: OsString, runtime: RuntimeArgs) -> Self {
        Self {
            name,
            from: FromArgs::source(source),
            runtime,
            build: BuildArgs::default(),
            dry_run: false,
            skip_migrate: false,
            override_ratelimit: false,
            wait: None,
        }
    }
}

impl Verb for DeployArgs {
    const NAME: &'static str = "deploy";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit deploy blog --source examples/static",
        "hostkit deploy blog --source release.tar.gz",
        "hostkit deploy blog --git git@example.com:blog.git --branch main",
        "hostkit deploy blog --artifact examples/static",
        "tar -cz -C examples/static . | hostkit deploy blog --source -",
        "hostkit deploy blog --source examples/static --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn survives(&self) -> bool {
        !self.dry_run
    }
    fn reads_stdin(&self) -> bool {
        self.from.place().is_some_and(|place| place == "-")
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        upload(self, cx)
    }
}

/// Deploys what the arguments name.
pub(super) fn upload(args: DeployArgs, cx: &mut Context) -> Result<Answer> {
    let (mode, began) = (if args.dry_run { Mode::DryRun } else { Mode::Run }, Instant::now());
    let caller = cx.caller()?;
    cx.patience = patience(args.wait);
    if args.override_ratelimit {
        cx.may_override()?;
    }
    let place = args.from.place().cloned();
    let path = place.as_ref().map(|place| cx.absolute(place));
    let pack = if args.from.artifact.is_some() { PACK_ARTIFACT } else { PACK };
    let (outcome, deployed, planned) = cx.session(mode, |session| {
        // Before anything is read: a name that does not exist should not cost an upload.
        session.project(&args.name)?;
        let mut stdin;
        let mut packer;
        let mut nothing = Stream(std::io::empty());
        let git = args.from.order(super::env::READ);
        let (archive, source): (&mut dyn Source, _) = match &path {
            Some(_) if place.as_ref().is_some_and(|place| place == "-") => {
                stdin = Stdin::default();
                (&mut stdin, "standard input".to_owned())
            }
            Some(path) => {
                packer = Packer::start(pack, path.as_os_str(), &caller)?;
                (&mut packer, path.display().to_string())
            }
            None => (&mut nothing, git.as_ref().map(|git| git.address.to_string()).unwrap_or_default()),
        };
        let mut upload = Upload {
            archive,
            source,
            git,
            asked: Asked {
                runtime: args.runtime.runtime(),
                framework: args.runtime.framework(),
                start: args.runtime.start(),
                artifact: args.from.artifact.is_some(),
            },
            commit: None,
            terms: args.build.terms(),
            skip_migrate: args.skip_migrate,
            override_rails: args.override_ratelimit,
        };
        let (outcome, deployed) = deploy(session, &args.name, &mut upload)?;
        Ok((outcome, deployed, session.planned.take()))
    })?;
    match planned {
        Some(plan) => {
            let mut answer = Answer::planned(&plan).outcome(outcome).warn(deployed.warnings);
            if let Some(forecast) = &deployed.forecast {
                answer.text = format!("{}\n{}", foreseen(forecast), answer.text);
                answer.data["build"] = json!(forecast);
            }
            Ok(answer)
        }
        None => Ok(answer(outcome, deployed, began.elapsed())),
    }
}

/// What would be built, for people.
fn foreseen(build: &Forecast) -> String {
    let mut lines = vec![format!(
        "Would build it, with {} of memory, {} s and {} % of a processor:",
        size(build.memory),
        build.timeout,
        build.cpu
    )];
    match &build.installed_as_in {
        Some(id) => lines.push(format!("  install  nothing: the same as in {id}")),
        None => lines.extend(build.install.iter().map(|command| format!("  install  {command}"))),
    }
    lines.extend(build.build.iter().map(|command| format!("  build    {command}")));
    lines.push(format!("  share    {} of {} files with what is live", build.shared, build.files));
    lines.join("\n")
}

fn answer(outcome: Outcome, done: Deployed, took: Duration) -> Answer {
    let Deployed { spec, previous, release, why, warnings, .. } = done;
    let (name, url) = (&spec.name, spec.url());
    let text = format!(
        "{LIVE}  {url}  release {}  {} files, {}  after {:.1} s",
        release.id,
        release.files,
        size(release.bytes),
        took.as_secs_f64()
    );
    let data = json!({
        "release": release.id, "previous": previous, "live": release.id, "url": url,
        "runtime": release.launch.runtime, "files": release.files, "bytes": release.bytes, "why": why,
        "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    });
    let answer = Answer::new(text, data).outcome(outcome).warn(warnings);
    match previous {
        Some(_) => answer.next(format!("hostkit rollback {name}    # undo")),
        None => answer,
    }
}

/// Go back to what was live before, or to a named release; with the environment it ran with
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "these are flags")]
pub(crate) struct RollbackArgs {
    /// The project
    name: ProjectName,
    /// The release, with the environment it ran with last; without this what was live before
    release: Option<ReleaseId>,
    /// Take the database back too, to the checkpoint before the first migration since
    #[arg(long)]
    with_db: bool,
    /// Do not ask: go back past migrations
    #[arg(long, short)]
    yes: bool,
    /// Leave the environment as it is: only the code goes back
    #[arg(long, conflicts_with = "env")]
    keep_env: bool,
    /// Wait for somebody else who works on the project, for so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "600")]
    wait: Option<u64>,
    /// Bring this version of the environment, as `hostkit env history` lists them
    #[arg(long, value_name = "VERSION")]
    env: Option<u32>,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl RollbackArgs {
    fn with(&self) -> With {
        match (self.keep_env, self.env) {
            (true, _) => With::Kept,
            (_, Some(version)) => With::Version(version),
            _ => With::Its,
        }
    }

    fn data(&self, agreed: bool) -> Data {
        if self.with_db { Data::GoesBack { agreed } } else { Data::Stays { agreed } }
    }
}

impl Verb for RollbackArgs {
    const NAME: &'static str = "rollback";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit rollback blog",
        "hostkit rollback blog 20261120-080231",
        "hostkit rollback blog --keep-env",
        "hostkit rollback blog --with-db",
        "hostkit rollback blog --dry-run",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn survives(&self) -> bool {
        !self.dry_run
    }
    fn ask(&self, cx: &mut Context) -> Result<bool> {
        if self.yes || self.dry_run || !cx.may_ask {
            return Ok(false);
        }
        let (retreat, loss) = cx.look(|session| {
            foresee(session, &self.name, self.release.as_ref(), self.with(), self.data(false))
        })?;
        let Some(question) = retreat.question(loss.as_ref()) else { return Ok(false) };
        say(&format!("{}\nGo back all the same? [y/N] ", harmless(&question)));
        if source::ask()?.to_ascii_lowercase().starts_with('y') {
            return Ok(true);
        }
        Err(Fault::new(Code::ConfirmationNeeded, "nobody said yes")
            .next(format!("hostkit rollback {} {} --yes", self.name, retreat.to))
            .into())
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        cx.patience = patience(self.wait);
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (with, data, began) = (self.with(), self.data(self.yes || cx.agreed), Instant::now());
        let (outcome, swapped, planned) = cx.session(mode, |session| {
            let (outcome, swapped) = go_back(session, &self.name, self.release.as_ref(), with, data)?;
            Ok((outcome, swapped, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        Ok(gone_back(outcome, &swapped, began.elapsed()))
    }
}

fn gone_back(outcome: Outcome, swapped: &Swapped, took: Duration) -> Answer {
    let Swapped { spec, from, to, database } = swapped;
    let (name, url) = (&spec.name, spec.url());
    let data = json!({
        "release": to.id, "previous": from.release, "live": to.id, "url": url,
        "env": spec.env, "previous_env": from.env,
        "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "checkpoint": database.as_ref().map(|restored| &restored.id),
        "safety": database.as_ref().and_then(|restored| restored.safety.as_ref()).map(|safety| &safety.id),
    });
    if outcome == Outcome::Unchanged {
        return Answer::new(format!("{} is live already", to.id), data);
    }
    let number = |env: Option<u32>| env.map_or_else(|| "–".to_owned(), |number| number.to_string());
    let env = if spec.env == from.env {
        String::new()
    } else {
        format!("  environment {}, instead of {}", number(spec.env), number(from.env))
    };
    let (release, undo) = if to.id == from.release {
        (format!("release {}", to.id), from.env.map(|env| format!("--env {env}")))
    } else {
        (format!("release {}, instead of {}", to.id, from.release), Some(from.release.to_string()))
    };
    let past = match database {
        Some(restored) => format!("  database of the checkpoint {}", restored.id),
        None => String::new(),
    };
    let seconds = took.as_secs_f64();
    let text = format!("Live again  {url}  {release}{env}{past}  after {seconds:.1} s");
    let mut answer = Answer::new(text, data).outcome(outcome);
    if let Some(safety) = database.as_ref().and_then(|restored| restored.safety.as_ref()) {
        let back =
            format!("hostkit checkpoint restore {name} {}    # the database as it was until now", safety.id);
        answer = answer.next(back);
    }
    match undo {
        Some(undo) => answer.next(format!("hostkit rollback {name} {undo}    # undo")),
        None => answer,
    }
}

/// List the releases of a project, newest first
#[derive(Args, Clone, Debug)]
pub(crate) struct ReleasesArgs {
    /// The project
    name: ProjectName,
}

impl Verb for ReleasesArgs {
    const NAME: &'static str = "releases";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &["hostkit releases blog", "hostkit releases blog --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let rows = cx.look(|session| {
            let spec = session.project(&self.name)?.spec;
            session.store.releases(spec.uid)
        })?;
        let data = rows.iter().map(|r| {
            json!({ "id": r.id, "state": r.state, "runtime": r.launch.runtime, "source": r.source, "files": r.files, "env": r.env,
                    "bytes": r.bytes, "created_at": r.created_at, "created_by": r.created_by })
        });
        let data = json!({ "releases": data.collect::<Vec<_>>() });
        if rows.is_empty() {
            return Ok(Answer::new("no releases yet", data)
                .next(format!("hostkit deploy {} --source DIR", self.name)));
        }
        let lines: Vec<Vec<String>> = rows
            .iter()
            .map(|r| {
                let runtime = r.launch.runtime.to_string();
                vec![
                    r.id.to_string(),
                    r.state.text().to_owned(),
                    runtime,
                    size(r.bytes),
                    r.env.map_or_else(|| "–".to_owned(), |number| number.to_string()),
                    r.created_by.clone(),
                    r.source.clone(),
                ]
            })
            .collect();
        Ok(Answer::new(table(&["RELEASE", "STATE", "RUNTIME", "SIZE", "ENV", "BY", "SOURCE"], &lines), data))
    }
}
