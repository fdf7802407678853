//! The vault of a project: secrets that become variables of its environment when its process is started.

use anyhow::Result;

use super::session::{Outcome, Session};
use crate::{
    domain::{
        env::{EnvKey, EnvText},
        fault::{Code, Fault},
        files::Files,
        name::ProjectName,
        secret::Secret,
    },
    plan::Plan,
    project::{
        Injected, ProjectSpec,
        config::AppConfig,
        env,
        example::{self, Need},
    },
    store::SecretRow,
    system::{Host, tree::Tree, vault},
};

/// How many secrets a project may have.
pub const MOST: usize = 50;
/// The largest secret, in bytes.
pub const LARGEST: usize = 64 * 1024;

/// What a version of a secret is sealed for. No variable's name holds a `#`.
fn context(name: &ProjectName, key: &EnvKey, version: u32) -> String {
    vault::context(name.as_str(), &format!("{key}#{version}"))
}

/// A secret ready for the environment: sealed for the variable.
pub(super) fn prepare(host: &Host, name: &ProjectName, row: &SecretRow) -> Result<Injected> {
    let value = host.vault.open(&context(name, &row.name, row.version), &row.value)?;
    let value = host.vault.seal(&vault::context(name.as_str(), row.name.as_str()), &value)?;
    Ok(Injected { version: row.version, value })
}

/// A new row of the vault.
pub(super) fn row(
    session: &Session<'_>,
    spec: &ProjectSpec,
    key: &EnvKey,
    value: &Secret,
    version: u32,
) -> Result<SecretRow> {
    Ok(SecretRow {
        name: key.clone(),
        version,
        value: session.host.vault.seal(&context(&spec.name, key, version), value)?,
        changed_at: format!("{:.0}", session.host.clock.now()),
        changed_by: session.caller.clone(),
    })
}

/// Whether the process would get other secrets if it were started now.
pub(super) fn is_due(session: &Session<'_>, spec: &ProjectSpec) -> Result<bool> {
    let rows = newest(session.store.secrets(spec.uid)?);
    let there = spec.injected.iter().map(|(key, secret)| (key, secret.version));
    Ok(!rows.iter().map(|row| (&row.name, row.version)).eq(there))
}

/// Of every name the newest.
fn newest(mut rows: Vec<SecretRow>) -> Vec<SecretRow> {
    rows.dedup_by(|later, first| later.name == first.name);
    rows
}

/// Where a secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The process has it.
    InUse,
    /// The process gets it when it is started the next time.
    Waits,
    /// It was rotated: the process has the one before until it is started the next time.
    Rotated,
    /// It was taken out: the process has it until it is started the next time.
    Leaves,
}

/// A secret, without its value.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: EnvKey,
    /// Its version.
    pub version: u32,
    /// When it was set.
    pub changed_at: String,
    /// Who set it.
    pub changed_by: String,
    /// Where it stands.
    pub standing: Standing,
}

/// The secrets of a project, by name. Needs no master key.
pub fn list(session: &Session<'_>, name: &ProjectName) -> Result<Vec<Listed>> {
    let spec = session.project(name)?.spec;
    let rows = session.store.secrets(spec.uid)?;
    let mut all: Vec<Listed> = newest(rows)
        .into_iter()
        .map(|row| {
            let standing = match spec.injected.get(&row.name) {
                Some(there) if there.version == row.version => Standing::InUse,
                Some(_) => Standing::Rotated,
                None => Standing::Waits,
            };
            let SecretRow { name, version, changed_at, changed_by, .. } = row;
            Listed { name, version, changed_at, changed_by, standing }
        })
        .collect();
    for (key, there) in &spec.injected {
        if !all.iter().any(|listed| listed.name == *key) {
            all.push(Listed {
                name: key.clone(),
                version: there.version,
                changed_at: String::new(),
                changed_by: String::new(),
                standing: Standing::Leaves,
            });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn missing(name: &ProjectName, key: &EnvKey) -> Fault {
    Fault::new(Code::VariableNotFound, format!("the vault of `{name}` has no `{key}`"))
        .next(format!("hostkit secrets list {name}"))
}

/// A secret as it is, or as it was before it was rotated.
pub fn get(session: &Session<'_>, name: &ProjectName, key: &EnvKey, before: bool) -> Result<Secret> {
    let spec = session.project(name)?.spec;
    let rows = session.store.secrets(spec.uid)?;
    let row = rows.iter().filter(|row| row.name == *key).nth(usize::from(before));
    let row = row.ok_or_else(|| {
        if before && rows.iter().any(|row| row.name == *key) {
            return Fault::new(
                Code::VariableNotFound,
                format!("no process has an older value of `{key}` any more"),
            )
            .next(format!("hostkit secrets get {name} {key}"));
        }
        missing(name, key)
    })?;
    session.host.vault.open(&context(name, key, row.version), &row.value)
}

/// All secrets of a project with their values: for a backup, which seals them in its own way.
pub fn entries(session: &Session<'_>, spec: &ProjectSpec) -> Result<Vec<(EnvKey, Secret)>> {
    let open = |row: SecretRow| {
        let value = session.host.vault.open(&context(&spec.name, &row.name, row.version), &row.value)?;
        Ok((row.name, value))
    };
    newest(session.store.secrets(spec.uid)?).into_iter().map(open).collect()
}

/// How a secret is set.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The command.
    pub verb: &'static str,
    /// Whether the value before stays until the process has been started anew.
    pub keep: bool,
    /// Whether it may change how programs are loaded.
    pub loader: bool,
}

/// Puts secrets into the vault, all or none. The process gets them when it is started the next time.
pub fn set(
    session: &mut Session<'_>,
    name: &ProjectName,
    values: &[(EnvKey, Secret)],
    terms: Terms,
) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), terms.verb)?;
    let spec = session.project(name)?.spec;
    let there = session.store.secrets(spec.uid)?;
    let mut rows: Vec<(SecretRow, u32)> = Vec::new();
    for (key, value) in values {
        check(&spec, key, value, terms.loader)?;
        let last = there.iter().find(|row| row.name == *key);
        if terms.keep && last.is_none() {
            return Err(missing(name, key).next(format!("hostkit secrets set {name} {key}")).into());
        }
        let before = last.map_or(0, |row| row.version);
        if let Some(row) = last
            && session.host.vault.seal(&context(name, key, row.version), value)? == row.value
        {
            continue;
        }
        // Never a number again that the process may have.
        let version = before.max(spec.injected.get(key).map_or(0, |i| i.version)) + 1;
        let from = if terms.keep { before } else { version };
        rows.push((row(session, &spec, key, value, version)?, from));
    }
    let mut names: Vec<&EnvKey> =
        there.iter().map(|r| &r.name).chain(rows.iter().map(|(r, _)| &r.name)).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MOST {
        return Err(Fault::new(
            Code::InvalidValue,
            format!("the vault of `{name}` would hold {} secrets; it holds {MOST} at most", names.len()),
        )
        .next(format!("hostkit secrets list {name}"))
        .into());
    }
    if rows.is_empty() {
        return Ok((Outcome::Unchanged, spec));
    }
    let outcome = session.carry_out(name.as_str(), terms.verb, &Plan::default(), |registry| {
        for (row, from) in &rows {
            registry.put_secret(spec.uid, row)?;
            registry.drop_secret(spec.uid, &row.name, *from)?;
        }
        Ok(())
    })?;
    Ok((outcome, spec))
}

fn check(spec: &ProjectSpec, key: &EnvKey, value: &Secret, loader: bool) -> Result<()> {
    let name = &spec.name;
    if !spec.injected.contains_key(key) && env(spec)?.own().contains(key) {
        return Err(Fault::new(
            Code::InvalidValue,
            format!("`{key}` is HostKit's: it sets it for `{name}` itself"),
        )
        .next(format!("hostkit env list {name}    # shows what HostKit sets"))
        .into());
    }
    if key.is_loader() && !loader {
        return Err(Fault::new(
            Code::InvalidValue,
            format!("`{key}` changes how programs are loaded, not only what they do"),
        )
        .next("repeat with `--allow-loader` if that is what you want")
        .into());
    }
    let size = value.reveal().len();
    if size > LARGEST {
        return Err(Fault::new(
            Code::InvalidValue,
            format!(
                "the value of `{key}` has {} KiB; a secret has {} at most",
                size.div_ceil(1024),
                LARGEST / 1024
            ),
        )
        .next(format!("put it into a file in {}", name.shared()))
        .into());
    }
    // What cannot be passed on is refused now, not when the process is started.
    Ok(EnvText::default().set(key, value.reveal())?)
}

/// Takes secrets out of the vault, all or none. The process has them until it is started the next time.
pub fn unset(
    session: &mut Session<'_>,
    name: &ProjectName,
    keys: &[EnvKey],
) -> Result<(Outcome, ProjectSpec)> {
    let _held = session.enter(name.as_str(), "secrets unset")?;
    let spec = session.project(name)?.spec;
    let there = session.store.secrets(spec.uid)?;
    if let Some(key) = keys.iter().find(|key| !there.iter().any(|row| row.name == **key)) {
        return Err(missing(name, key).into());
    }
    let outcome = session.carry_out(name.as_str(), "secrets unset", &Plan::default(), |registry| {
        keys.iter().try_for_each(|key| registry.drop_secret(spec.uid, key, u32::MAX))
    })?;
    Ok((outcome, spec))
}

/// What a source says that its environment must have.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    /// It does not start without these; with the file that says so.
    pub(super) required: Vec<(EnvKey, &'static str)>,
    /// These may be made up.
    pub(super) generated: Vec<EnvKey>,
}

impl Needs {
    /// What `hostkit.toml` and `.env.example` say, and the framework.
    pub(super) fn of(files: &dyn Files, required: &[EnvKey], generated: &[EnvKey]) -> Result<Self> {
        let mut needs = Self { generated: generated.to_vec(), ..Self::default() };
        needs.required.extend(required.iter().map(|key| (key.clone(), AppConfig::FILE)));
        let bytes = files.read(example::FILE, example::LIMIT)?.unwrap_or_default();
        for (key, need) in example::needs(&String::from_utf8_lossy(&bytes)) {
            match need {
                Need::Required if !required.contains(&key) => needs.required.push((key, example::FILE)),
                Need::Generated if !generated.contains(&key) => needs.generated.push(key),
                Need::Required | Need::Optional | Need::Generated => {}
            }
        }
        Ok(needs)
    }

    /// Takes out what has a value: in the environment, or in the vault.
    pub(super) fn unmet(self, session: &Session<'_>, spec: &ProjectSpec) -> Result<Self> {
        let text = env(spec)?.read(&session.host)?;
        let vault = session.store.secrets(spec.uid)?;
        let lacks = |key: &EnvKey| {
            text.get(key).is_none_or(str::is_empty) && !vault.iter().any(|row| row.name == *key)
        };
        let generated: Vec<EnvKey> = self.generated.into_iter().filter(|key| lacks(key)).collect();
        let required = self.required.into_iter();
        let required = required.filter(|(key, _)| lacks(key) && !generated.contains(key)).collect();
        Ok(Self { required, generated })
    }

    /// Refuses when something required has no value.
    pub(super) fn refuse_missing(&self, name: &ProjectName) -> Result<()> {
        let Some((first, _)) = self.required.first() else { return Ok(()) };
        let mut files: Vec<&str> = self.required.iter().map(|(_, file)| *file).collect();
        files.dedup();
        let keys: Vec<&str> = self.required.iter().map(|(key, _)| key.as_str()).collect();
        let (files, keys) = (files.join(" and "), keys.join(", "));
        Err(Fault::new(Code::EnvMissing, format!("required by {files} and without a value: {keys}"))
            .next(format!("hostkit env set {name} {first}=…"))
            .next(format!("hostkit secrets set {name} {first}    # for a secret"))
            .into())
    }
}

/// What the live release requires and does not have: each with the file that says so.
pub fn verify(session: &Session<'_>, name: &ProjectName) -> Result<Vec<(EnvKey, &'static str)>> {
    let spec = session.project(name)?.spec;
    let Some(id) = spec.live_release() else {
        return Err(Fault::new(
            Code::WrongState,
            format!("`{name}` has not been deployed: nothing says what it requires"),
        )
        .next(format!("hostkit deploy {name} --source DIR"))
        .into());
    };
    let tree = Tree::new(session.host.root.open_dir(&name.release(id))?);
    let config = tree.read(AppConfig::FILE, AppConfig::LIMIT + 1)?;
    let config = config.as_deref().map(AppConfig::parse).transpose()?.unwrap_or_default();
    let needs = Needs::of(&tree, &config.env_required, &[])?.unmet(session, &spec)?;
    let generated = needs.generated.into_iter().map(|key| (key, example::FILE));
    Ok(needs.required.into_iter().chain(generated).collect())
}
