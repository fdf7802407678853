//! Whether both sides left the same: a floor that does less would be no floor.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::kit;
use crate::Error;

/// Fails when two projects differ in anything but their values.
pub(super) fn require(ours: &str, floors: &str) -> Result<(), Error> {
    let (a, b) = (effects(ours)?, effects(floors)?);
    let missing: Vec<_> = a.difference(&b).map(|line| format!("only HostKit:  {line}")).collect();
    let more: Vec<_> = b.difference(&a).map(|line| format!("only the floor: {line}")).collect();
    if missing.is_empty() && more.is_empty() {
        return Ok(());
    }
    Err(format!(
        "HostKit and the floor leave different things; bring `tests/bench/src/floor` up to date:\n{}\n{}",
        missing.join("\n"),
        more.join("\n")
    )
    .into())
}

/// Everything of a project's on this server, an entry a line, with words for its own values.
fn effects(name: &str) -> Result<BTreeSet<String>, Error> {
    let id = fs::metadata(format!("/home/{name}"))?.gid();
    let release = fs::read_link(format!("/home/{name}/app")).ok();
    let release = release.as_deref().and_then(Path::file_name).map(|r| r.to_string_lossy().into_owned());
    let look = Look { name, id, release, port: kit::port(name)? };
    let mut lines = BTreeSet::new();
    for place in [
        format!("/home/{name}"),
        format!("/var/log/projects/{name}"),
        format!("/etc/logrotate.d/hostkit-{name}"),
        format!("/etc/nginx/sites-available/hostkit-{name}"),
        format!("/etc/nginx/sites-enabled/hostkit-{name}"),
        format!("/etc/systemd/system/hostkit-{name}.service"),
        format!("/etc/systemd/system/multi-user.target.wants/hostkit-{name}.service"),
    ] {
        look.tree(Path::new(&place), &mut lines)?;
    }
    for table in ["/etc/passwd", "/etc/group", "/etc/subuid"] {
        let own = format!("{name}:");
        let text = fs::read_to_string(table).unwrap_or_default();
        lines.extend(
            text.lines().filter(|l| l.starts_with(&own)).map(|l| look.neutral(&format!("{table} {l}"))),
        );
    }
    Ok(lines)
}

struct Look<'a> {
    name: &'a str,
    id: u32,
    release: Option<String>,
    port: u16,
}

impl Look<'_> {
    fn neutral(&self, text: &str) -> String {
        let text = text.replace(self.name, "NAME").replace(&self.id.to_string(), "ID");
        match &self.release {
            Some(release) => text.replace(release.as_str(), "RELEASE"),
            None => text,
        }
    }

    /// A text, short enough for a line.
    fn text(&self, text: &str) -> String {
        let mut text = self.neutral(text).replace(&self.port.to_string(), "PORT");
        if let Some(fingerprint) = kit::fingerprint(&text).map(str::to_owned) {
            text = text.replace(&fingerprint, "FINGERPRINT");
        }
        let mut hash = DefaultHasher::new();
        text.hash(&mut hash);
        format!("{} lines, {:x}", text.lines().count(), hash.finish())
    }

    fn owner(&self, id: u32) -> String {
        if id == self.id { "ID".to_owned() } else { id.to_string() }
    }

    fn tree(&self, place: &Path, lines: &mut BTreeSet<String>) -> Result<(), Error> {
        let Ok(meta) = place.symlink_metadata() else { return Ok(()) };
        let kind = meta.file_type();
        let what = if kind.is_symlink() {
            format!("→ {}", fs::read_link(place)?.display())
        } else if kind.is_dir() {
            "/".to_owned()
        } else {
            self.text(&fs::read_to_string(place)?)
        };
        let (uid, gid) = (self.owner(meta.uid()), self.owner(meta.gid()));
        let line = format!("{:06o} {uid}:{gid} {} {what}", meta.mode(), place.display());
        lines.insert(self.neutral(&line));
        if kind.is_dir() {
            for entry in entries(place)? {
                self.tree(&entry, lines)?;
            }
        }
        Ok(())
    }
}

/// What lies in a directory, but for each side's own records and what an app wrote to its log.
fn entries(place: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let record = name.ends_with(".manifest");
        let log = Path::new(&name).extension().is_some_and(|e| e == "log");
        if !record && !log {
            found.push(entry.path());
        }
    }
    Ok(found)
}
