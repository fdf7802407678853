//! `storage`: what a project's object storage is, what lies in it, and its key.

use std::{io::Read, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use super::{
    Verb,
    answer::{Answer, table},
    context::Context,
    group,
    policy::Policy,
    rotation::Rotation,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
        secret::Secret,
    },
    operation::{
        session::Mode,
        storage::{attach, info, list, presign, rotate},
    },
    project::{Storage, storage::Place},
    system::objects::{self, Access},
};

group! {
    Info(InfoArgs) = "info";
    Ls(LsArgs) = "ls";
    Presign(PresignArgs) = "presign";
    Rotate(RotateArgs) = "rotate";
    Attach(AttachArgs) = "attach";
}

/// What the help of the whole group opens with.
pub(super) const OVERVIEW: &[&str] = &[
    "hostkit storage info blog",
    "hostkit storage ls blog images/",
    "hostkit storage presign blog images/logo.png --expires 1h",
];

/// The longest secret that is taken, in bytes.
const LONGEST: u64 = 1024;

/// A number of bytes for people.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len()).rev().find(|i| n >> (10 * i) > 0).unwrap_or(0);
    if unit == 0 {
        return format!("{n} B");
    }
    let tenths = (u128::from(n) * 10) >> (10 * unit);
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, UNITS[unit]),
        rest => format!("{}.{rest} {}", tenths / 10, UNITS[unit]),
    }
}

fn data(storage: &Storage) -> serde_json::Value {
    let quota = match storage.place {
        Place::Own { quota } => Some(quota),
        Place::Elsewhere { .. } => None,
    };
    json!({
        "bucket": storage.bucket, "endpoint": storage.endpoint(), "region": storage.region(),
        "access_key": storage.key.id, "retiring_access_key": storage.retiring.as_ref().map(|key| &key.id),
        "quota": quota,
    })
}

/// Show where a project's bucket is, which key opens it, and how full it is
#[derive(Args, Clone, Debug)]
pub(crate) struct InfoArgs {
    /// The project
    name: ProjectName,
}

impl Verb for InfoArgs {
    const NAME: &'static str = "storage info";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit storage info blog", "hostkit storage info blog --json"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let (storage, bucket) = cx.look(|session| info(session, &self.name))?;
        let mut pairs = vec![
            ("bucket", storage.bucket.clone()),
            ("endpoint", storage.endpoint()),
            ("region", storage.region().to_owned()),
            ("key", storage.key.id.clone()),
        ];
        if let Some(key) = &storage.retiring {
            pairs.push(("old key", format!("{} (until the next restart or deploy)", key.id)));
        }
        let mut all = data(&storage);
        if let Place::Own { quota } = storage.place {
            match &bucket {
                Some(b) => pairs.push((
                    "used",
                    format!("{} of {} in {} objects", bytes(b.bytes), bytes(quota), b.objects),
                )),
                None => pairs.push(("used", "the bucket is missing: hostkit repair".to_owned())),
            }
            all["bytes"] = json!(bucket.as_ref().map(|b| b.bytes));
            all["objects"] = json!(bucket.as_ref().map(|b| b.objects));
        }
        let text: Vec<String> = pairs.iter().map(|(k, v)| format!("{k:<8} {v}")).collect();
        Ok(Answer::new(text.join("\n"), all))
    }
}

/// List the objects in a project's bucket
#[derive(Args, Clone, Debug)]
pub(crate) struct LsArgs {
    /// The project
    name: ProjectName,
    /// Only those whose keys begin with this
    #[arg(default_value = "")]
    prefix: String,
    /// How many, in the order of their keys
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

impl Verb for LsArgs {
    const NAME: &'static str = "storage ls";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit storage ls blog",
        "hostkit storage ls blog images/ -n 20",
        "hostkit storage ls blog --json",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let limit = usize::try_from(self.limit)?;
        let (entries, more) = cx.look(|session| list(session, &self.name, &self.prefix, limit))?;
        let data = json!({ "objects": entries, "more": more });
        if entries.is_empty() {
            return Ok(Answer::new("no objects", data));
        }
        let lines: Vec<Vec<String>> = entries
            .into_iter()
            // A key may hold what a terminal would obey.
            .map(|e| vec![bytes(e.size), e.modified, e.key.escape_debug().to_string()])
            .collect();
        let mut text = table(&["SIZE", "MODIFIED", "KEY"], &lines);
        if more {
            text.push_str(&format!("\nThere are more: hostkit storage ls {} -n {}", self.name, limit * 10));
        }
        Ok(Answer::new(text, data))
    }
}

/// Make an address by which anybody may read, or write, one object for a while
#[derive(Args, Clone, Debug)]
pub(crate) struct PresignArgs {
    /// The project
    name: ProjectName,
    /// The object's key
    key: String,
    /// To write it, not to read it
    #[arg(long)]
    put: bool,
    /// How long the address is good for: `90s`, `15m`, `1h`, `7d` at most
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    expires: Duration,
}

/// A time such as `15m`.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || "give a time such as 90s, 15m, 1h or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(bad)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(bad()),
    };
    let number: u64 = text.strip_suffix(unit).unwrap_or(text).parse().map_err(|_| bad())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(bad)
}

impl Verb for PresignArgs {
    const NAME: &'static str = "storage presign";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] = &[
        "hostkit storage presign blog images/logo.png",
        "hostkit storage presign blog upload.zip --put --expires 15m",
    ];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let verb = if self.put { objects::Verb::Put } else { objects::Verb::Get };
        let url = cx.look(|session| presign(session, &self.name, verb, &self.key, self.expires))?;
        let method = if self.put { "PUT" } else { "GET" };
        let data = json!({ "url": url, "method": method, "expires_seconds": self.expires.as_secs() });
        Ok(Answer::new(url, data))
    }
}

/// Give a project a new key; the old one works until its process has been started anew
#[derive(Args, Clone, Debug)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    rotation: Rotation,
}

impl Verb for RotateArgs {
    const NAME: &'static str = "storage rotate";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit storage rotate blog", "hostkit storage rotate blog --now"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.rotation.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.rotation.name;
        self.rotation.carry_out(cx, rotate, |storage| {
            let mut text = format!("{name} has the new key {}", storage.key.id);
            if let Some(old) = &storage.retiring {
                text.push_str(&format!("; its process has {} until it is started anew", old.id));
            }
            (Answer::new(text, data(storage)), storage.retiring.is_some())
        })
    }
}

/// Give a project a bucket at an S3 provider; the key's secret is read from standard input
#[derive(Args, Clone, Debug)]
pub(crate) struct AttachArgs {
    /// The project
    name: ProjectName,
    /// The provider's address, such as `https://s3.eu-central-1.example.com`
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// The bucket, which the provider has made
    #[arg(long)]
    bucket: String,
    /// The identifier of a key that opens this bucket, and best of all nothing else
    #[arg(long, value_name = "ID")]
    access_key: String,
    /// The region, as the provider calls it
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb for AttachArgs {
    const NAME: &'static str = "storage attach";
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] =
        &["echo KEY | hostkit storage attach blog --endpoint https://s3.test --bucket b7 --access-key AKIA1"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let secret = secret(cx, "hostkit storage attach … < FILE")?;
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Run };
        let at = Access {
            endpoint: self.endpoint.trim_end_matches('/').to_owned(),
            region: self.region,
            bucket: self.bucket,
            key: self.access_key,
            secret,
        };
        let (outcome, storage, planned) = cx.session(mode, |session| {
            let (outcome, storage) = attach(session, &self.name, at)?;
            Ok((outcome, storage, session.planned.take()))
        })?;
        if let Some(plan) = planned {
            return Ok(Answer::planned(&plan).outcome(outcome));
        }
        let text = format!("{} has the bucket {} at {}", self.name, storage.bucket, storage.endpoint());
        Ok(Answer::new(text, data(&storage))
            .outcome(outcome)
            .next(format!("hostkit restart {}    # its process learns of it", self.name)))
    }
}

/// The secret of a key, from standard input: never from the command line, which everybody can read.
pub(super) fn secret(cx: &Context, call: &str) -> Result<Secret> {
    if cx.may_ask {
        bail!(
            Fault::new(Code::ConfirmationNeeded, "the secret of the key is read from standard input")
                .next(call)
        );
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    std::io::stdin().take(LONGEST + 1).read_to_string(&mut text).context("reading the secret of the key")?;
    let word = text.trim_end_matches(['\n', '\r']);
    let plain = word.chars().all(|c| c.is_ascii_graphic());
    if word.len() < 8 || text.len() as u64 > LONGEST || !plain {
        bail!(
            Fault::new(
                Code::InvalidValue,
                "what came on standard input is no secret of a key: one line of 8 to 1024 visible characters"
            )
            .next(call)
        );
    }
    Ok(Secret::new(word))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_and_shown_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for bad in ["", "h", "1", "1w", "-1h", "1.5h", "1hh", "99999999999999999999d", "ü"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (10 << 30, "10 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }
}
