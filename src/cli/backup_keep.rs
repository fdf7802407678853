//! `backup schedule`, `prune`, `delete` and `target`: when backups are made, how long they are kept, and where
//! copies of them go.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{Verb, answer::Answer, backup::data, context::Context, policy::Policy, storage::secret};
use crate::{
    domain::{
        backup::{BackupId, Scope},
        name::ProjectName,
    },
    operation::{
        backup::{
            Place, delete,
            offsite::{Target, aim, target, unset},
            prune,
            schedule::schedule,
        },
        session::{Mode, Outcome},
    },
    project::schedule::Clock,
    system::objects::Access,
};

/// Have a project's backups made every day, or no longer
#[derive(Args, Clone, Debug)]
pub(crate) struct ScheduleArgs {
    /// The project
    name: ProjectName,
    /// When, in the host's time zone
    #[arg(long, value_name = "HH:MM", default_value = "03:15")]
    at: Clock,
    /// No longer
    #[arg(long, conflicts_with = "at")]
    off: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for ScheduleArgs {
    const NAME: &'static str = "backup schedule";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit backup schedule blog --at 03:15", "hostkit backup schedule blog --off"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let at = (!self.off).then_some(self.at);
        let (outcome, spec, planned) = cx.session(mode, |session| {
            let (outcome, spec) = schedule(session, &self.name, at)?;
            Ok((outcome, spec, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let name = &self.name;
        let text = match &spec.backups {
            Some(schedule) => format!("{name} is backed up every day at {}", schedule.at),
            None => format!("{name} is no longer backed up every day"),
        };
        Ok(Answer::new(text, json!({ "schedule": spec.backups })).outcome(outcome))
    }
}

/// Delete the backups and checkpoints whose time is over
#[derive(Args, Clone, Debug)]
pub(crate) struct PruneArgs {
    /// The project
    name: ProjectName,
    /// Show which would go, and delete none
    #[arg(long)]
    dry_run: bool,
}

impl Verb for PruneArgs {
    const NAME: &'static str = "backup prune";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit backup prune blog", "hostkit backup prune blog --dry-run"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let gone = cx.session(mode, |session| prune(session, &self.name))?;
        let data = json!({ "deleted": gone.iter().map(data).collect::<Vec<_>>(), "dry_run": self.dry_run });
        let names = gone.iter().map(|s| {
            let offsite = if s.place == Place::Offsite { " (offsite)" } else { "" };
            format!("{} {}{offsite}", s.scope.word(), s.id)
        });
        let names: Vec<String> = names.collect();
        let text = match (names.is_empty(), self.dry_run) {
            (true, _) => format!("{} has nothing whose time is over", self.name),
            (false, true) => format!("Would delete: {}", names.join(", ")),
            (false, false) => format!("Deleted: {}", names.join(", ")),
        };
        let outcome = if names.is_empty() || self.dry_run { Outcome::Unchanged } else { Outcome::Changed };
        Ok(Answer::new(text, data).outcome(outcome))
    }
}

/// Delete one backup
#[derive(Args, Clone, Debug)]
pub(crate) struct DeleteArgs {
    /// The project
    name: ProjectName,
    /// The backup
    id: BackupId,
}

impl Verb for DeleteArgs {
    const NAME: &'static str = "backup delete";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &["hostkit backup delete blog 20261120-080231"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let outcome =
            cx.session(Mode::Run, |session| delete(session, &self.name, Scope::Backup, &self.id))?;
        let (name, id) = (&self.name, &self.id);
        Ok(Answer::new(format!("Deleted the backup {id} of {name}"), json!({ "id": id })).outcome(outcome))
    }
}

/// Copy backups to a bucket at an S3 provider, or show where they are copied to
///
/// The secret of the key is read from standard input. Copies are encrypted as the backups are, with a key
/// made from `/etc/hostkit/master.key`: keep that file in another place too. They are kept for 30 days.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArgs {
    /// The provider's address, such as `https://s3.eu-central-1.example.com`
    #[arg(long, value_name = "URL", requires_all = ["bucket", "access_key"])]
    endpoint: Option<String>,
    /// The bucket, which the provider has made
    #[arg(long, requires = "endpoint")]
    bucket: Option<String>,
    /// The identifier of a key that opens this bucket, and best of all nothing else
    #[arg(long, value_name = "ID", requires = "endpoint")]
    access_key: Option<String>,
    /// The region, as the provider calls it
    #[arg(long, default_value = "us-east-1", requires = "endpoint")]
    region: String,
    /// Copy them nowhere any more; what lies there stays
    #[arg(long, conflicts_with_all = ["endpoint", "bucket", "access_key", "region"])]
    unset: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for TargetArgs {
    const NAME: &'static str = "backup target";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit backup target",
        "echo KEY | hostkit backup target --endpoint https://s3.test --bucket b7 --access-key AKIA1",
        "hostkit backup target --unset",
    ];

    fn run(self, cx: &mut Context) -> Result<Answer> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let (Some(endpoint), Some(bucket), Some(key)) = (self.endpoint, self.bucket, self.access_key) else {
            if self.unset {
                let outcome = cx.session(mode, unset)?;
                return Ok(
                    Answer::new("Backups are copied nowhere", json!({ "target": null })).outcome(outcome)
                );
            }
            return Ok(aimed(cx.look(|session| target(session))?.as_ref()));
        };
        let secret = secret(cx, "hostkit backup target … < FILE")?;
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let at = Access { endpoint, region: self.region, bucket, key, secret };
        let near = at.is_near();
        let (outcome, target) = cx.session(mode, |session| Ok((aim(session, at)?, target(session)?)))?;
        if outcome == Outcome::WouldChange {
            return Ok(Answer::new("The bucket opens. Nothing was changed", json!({ "dry_run": true }))
                .outcome(outcome));
        }
        let here =
            near.then(|| "the bucket is on this host: what takes the host takes the copies too".to_owned());
        Ok(aimed(target.as_ref()).outcome(outcome).warn(here))
    }
}

/// Where copies go, in a sentence.
fn aimed(target: Option<&Target>) -> Answer {
    let Some(target) = target else {
        return Answer::new("Backups are copied nowhere", json!({ "target": null }))
            .next("hostkit backup target --endpoint URL --bucket BUCKET --access-key ID < FILE");
    };
    let Target { endpoint, bucket, region, key, since, .. } = target;
    let data = json!({ "target": { "endpoint": endpoint, "bucket": bucket, "region": region,
                                   "access_key": key, "since": since } });
    let text =
        format!("Backups are copied to the bucket {bucket} at {endpoint} with the key {key}, since {since}");
    Answer::new(text, data)
}
