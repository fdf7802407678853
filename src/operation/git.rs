//! Sources out of repositories: fetched by the project's own account, in a unit that dies with it.
//!
//! What a repository holds is not looked at here: `git archive` writes it down, and that goes through
//! the same extractor as every other upload. No hooks, no templates, no submodules, no configuration but
//! what is said here.

use std::{ffi::OsStr, time::Duration};

use anyhow::{Context, Result, bail};

use super::session::{Mode, Outcome, Session};
use crate::{
    domain::{
        fault::{Code, Fault},
        git::{Address, Wanted},
        layout::HostPath,
        name::ProjectName,
    },
    event::Event,
    plan::{Foreign, Plan},
    project::ProjectSpec,
    system::{Attr, End, Host, Job, deploy_key::DeployKey, invoker::Caller, source::Packer},
};

/// How long a repository may take to be fetched.
const PATIENCE: Duration = Duration::from_mins(5);
/// How many of the last lines of `git` an error repeats.
const LAST: usize = 5;

/// A commit that is to be deployed.
#[derive(Clone, Debug)]
pub struct Order {
    /// The repository.
    pub address: Address,
    /// The commit.
    pub wanted: Wanted,
    /// The hidden command that reads a file with the permissions of an account.
    pub reader: &'static str,
}

/// The public line of a project's key; made when there is none.
pub fn key(session: &mut Session<'_>, name: &ProjectName) -> Result<(Outcome, String)> {
    let _held = session.enter_alone(name.as_str(), "git key")?;
    let spec = session.project(name)?.spec;
    let outcome = engage(session, &spec)?;
    if session.mode == Mode::DryRun && outcome == Outcome::Changed {
        return Ok((outcome, String::new()));
    }
    Ok((outcome, deploy_key(&session.host, &spec)?.public()))
}

/// Makes the key, if there is none.
fn engage(session: &mut Session<'_>, spec: &ProjectSpec) -> Result<Outcome> {
    if spec.deploy_key {
        return Ok(Outcome::Unchanged);
    }
    let next = ProjectSpec { deploy_key: true, ..spec.clone() };
    let all = session.wanted(&next)?;
    let owned = session.store.owned(spec.name.as_str())?;
    let plan = Plan::between(owned, all.clone(), Foreign::Refuse, &session.host)?;
    session.carry_out(spec.name.as_str(), "git key", &plan, |registry| {
        registry.put_project(&next)?;
        registry.own(spec.name.as_str(), all.iter())
    })
}

fn deploy_key(host: &Host, spec: &ProjectSpec) -> Result<DeployKey> {
    let path = spec.name.deploy_key(spec.uid);
    let text = host.root.read(&path, 4096)?.with_context(|| format!("`{path}` is missing"))?;
    let text = zeroize::Zeroizing::new(String::from_utf8(text).context("reading the project's key")?);
    Ok(DeployKey::of(&text, format!("hostkit-{}", spec.name)))
}

/// A commit that has been fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Its files as an archive.
    pub(super) archive: Packer,
    /// Its whole name.
    pub(super) commit: String,
}

/// Fetches a commit. What this leaves on the disk goes with [`clear`].
pub(super) fn fetch(session: &mut Session<'_>, spec: &ProjectSpec, order: &Order) -> Result<Fetched> {
    let Some(_) = session.host.locate("git")? else {
        bail!(
            Fault::new(Code::ProgramMissing, "the program `git` is not installed")
                .next("apt-get install git")
        );
    };
    clear(session, &spec.name)?;
    let place = spec.name.fetched();
    let own = |mode| Attr { uid: spec.uid, gid: spec.uid, mode };
    session.host.root.mkdir(&place, own(0o700), None)?;
    if spec.deploy_key && order.address.ssh {
        let private = deploy_key(&session.host, spec)?.private();
        session.host.root.replace(&place.join("key"), private.reveal().as_bytes(), own(0o600))?;
    }
    let shown = format!("{} ({})", order.address, order.wanted);
    let work = Work { spec, order, place: &place };
    session.ui.emit(Event::Began { what: "fetch", detail: &shown });
    work.git(session, &["init", "--quiet", "--bare", "--template=", "."])?;
    let commit = work.fetch(session)?;
    let archive = place.join("source.tar");
    let file = archive.to_string();
    work.git(session, &["archive", "--format=tar", "-o", &file, &commit])?;
    session.ui.emit(Event::Finished { what: "fetch", detail: &commit, ms: 0 });
    // The account could have put a link to anything there: it is the account that opens it.
    let reader = Caller {
        uid: spec.uid,
        gid: spec.uid,
        name: spec.name.to_string(),
        privileged: true,
        administrator: false,
    };
    let archive = Packer::start(order.reader, OsStr::new(&file), &reader)?;
    Ok(Fetched { archive, commit })
}

/// Removes what a fetch left.
pub(super) fn clear(session: &mut Session<'_>, name: &ProjectName) -> Result<()> {
    session.host.root.shred(&name.fetched()).context("removing what was fetched")
}

/// One fetch.
struct Work<'a> {
    spec: &'a ProjectSpec,
    order: &'a Order,
    place: &'a HostPath,
}

impl Work<'_> {
    /// Fetches what was asked for, and nothing else; the name of its commit.
    fn fetch(&self, session: &mut Session<'_>) -> Result<String> {
        let (address, refspec) = (self.order.address.to_string(), self.order.wanted.refspec());
        let fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--depth=1"];
        let fetched = self.git(session, &[&fetch[..], &["--", &address, &refspec]].concat());
        let Wanted::Commit(commit) = &self.order.wanted else {
            fetched?;
            let said = self.git(session, &["rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}"])?;
            return said.last().cloned().context("git names no commit");
        };
        if fetched.is_err() {
            // Not every server gives out a commit by its name: then all of it is fetched.
            let all = [
                "fetch",
                "--quiet",
                "--no-recurse-submodules",
                "--",
                &address,
                "+refs/heads/*:refs/heads/*",
                "+refs/tags/*:refs/tags/*",
            ];
            self.git(session, &all)?;
        }
        self.git(session, &["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")])?;
        Ok(commit.clone())
    }

    /// Runs `git`; what it said.
    fn git(&self, session: &mut Session<'_>, words: &[&str]) -> Result<Vec<String>> {
        let mut argv = vec!["/usr/bin/git".to_owned()];
        for setting in SETTINGS {
            argv.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        // A `$` would be a variable to whoever starts it.
        argv.extend(words.iter().map(|word| word.replace('$', "$$")));
        let job = Job {
            unit: self.spec.name.fetch_unit(),
            description: format!("HostKit project {}: git", self.spec.name),
            settings: self.settings(),
            argv,
            patience: PATIENCE,
        };
        let mut said = Vec::new();
        let end = session.host.systemd.run(&job, &mut |line| said.push(line.to_owned()))?;
        if end == End::Well { Ok(said) } else { Err(self.fault(&end, &said)) }
    }

    /// What shuts `git` in. It may reach the network, and write only where it is told to.
    fn settings(&self) -> Vec<String> {
        let Self { spec, place, .. } = self;
        let ssh = format!(
            "/usr/bin/ssh -F /dev/null -i {place}/key -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=20 \
             -o ServerAliveInterval=15 -o ServerAliveCountMax=2 -o StrictHostKeyChecking=accept-new \
             -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts",
            spec.name.home().join(".cache/known_hosts"),
        );
        let mut lines: Vec<String> = [
            format!("User={}", spec.name),
            format!("Group={}", spec.name),
            format!("WorkingDirectory={place}"),
            format!("ReadWritePaths={place} {}", spec.name.home().join(".cache")),
            format!("Environment=HOME={place}"),
            format!("Environment=\"GIT_SSH_COMMAND={ssh}\""),
        ]
        .to_vec();
        lines.extend(SHUT_IN.iter().map(|line| (*line).to_owned()));
        lines
    }

    fn fault(&self, end: &End, said: &[String]) -> anyhow::Error {
        let Order { address, wanted, .. } = self.order;
        let name = &self.spec.name;
        let last = said[said.len().saturating_sub(LAST)..].join("\n");
        let text = last.to_lowercase();
        let fault = |message: String| Fault::new(Code::FetchFailed, message);
        let fault = if *end == End::Late {
            fault(format!("{address} did not answer to the end within {} s", PATIENCE.as_secs()))
                .next("try it again later, or send the source itself: --source DIR")
        } else if text.contains("permission denied")
            || text.contains("authentication failed")
            || text.contains("could not read username")
        {
            let fault = fault(format!("{address} does not let `{name}` in"));
            if address.ssh {
                fault.next(format!("hostkit git key {name}    # let the repository read with this key"))
            } else {
                fault.next(format!(
                    "a private repository is reached over ssh, with the key of: hostkit git key {name}"
                ))
            }
        } else if text.contains("couldn't find remote ref") || text.contains("not our ref") {
            fault(format!("{address} has no {wanted}"))
        } else {
            fault(format!("{address} ({wanted}) could not be fetched: git {}\n{last}", end.words()))
        };
        fault.into()
    }
}

/// What `git` is told, whatever a repository or an account says.
const SETTINGS: &[&str] = &[
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=/bin/true",
    "credential.helper=",
    "submodule.recurse=false",
    "http.followRedirects=initial",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=30",
    "gc.auto=0",
    "safe.directory=*",
];

/// The rest of its unit.
const SHUT_IN: &[&str] = &[
    "Environment=GIT_CONFIG_NOSYSTEM=1",
    "Environment=GIT_CONFIG_GLOBAL=/dev/null",
    "Environment=GIT_TERMINAL_PROMPT=0",
    "Environment=GIT_SSH_VARIANT=ssh",
    "Environment=LC_ALL=C",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectSystem=strict",
    "ProtectProc=invisible",
    "ProtectKernelTunables=yes",
    "ProtectControlGroups=yes",
    "RestrictSUIDSGID=yes",
    "RestrictNamespaces=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "InaccessiblePaths=-/etc/hostkit -/run/dbus",
    "IPAddressDeny=169.254.0.0/16 fe80::/10",
    "MemoryMax=1G",
    "TasksMax=64",
    "LimitFSIZE=2G",
    "LimitCORE=0",
    "Nice=10",
    "TimeoutStopSec=5",
    "StandardInput=null",
    "UMask=0077",
];
