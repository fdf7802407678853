//! The host's own object store: where its program is, and whether it can be started.

use anyhow::{Result, bail};

use super::STORE;
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::{HostPath, host},
    },
    operation::session::Session,
    project::storage::S3_PORT,
    system::{objects::ADMIN_PORT, systemd::invocation},
};

/// Where the program of the host's own store is, if the host has one.
pub fn store(session: &Session<'_>) -> Result<Option<HostPath>> {
    Ok(session.store.setting(STORE)?.map(HostPath::fixed))
}

/// The program for a store of the host's own: the one that is named, or the one that is installed.
pub fn program(session: &Session<'_>, named: Option<&str>) -> Result<HostPath> {
    let Some(named) = named else {
        let known = store(session)?;
        return known.map_or_else(|| session.host.locate("garage"), |p| Ok(Some(p)))?.ok_or_else(|| {
            Fault::new(Code::ProgramMissing, "the program `garage` is not installed")
                .next("cargo install garage --version 2.5.0 --locked --root /usr/local")
                .next("hostkit init --with-storage --garage FILE    # when it lies elsewhere")
                .into()
        });
    };
    let bad = |why: &str| {
        Fault::new(
            Code::InvalidValue,
            format!("`{}` cannot be started as a service: {why}", named.escape_debug()),
        )
        .next("install -m 0755 FILE /usr/local/bin/garage")
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    if !named.starts_with('/') || !named.chars().all(plain) || named.split('/').any(|part| part == "..") {
        bail!(bad("it must be an absolute path of letters, digits and `._+-`"));
    }
    if ["/home/", "/root/", "/tmp/", "/var/tmp/", "/run/"].iter().any(|place| named.starts_with(place)) {
        bail!(bad("services do not see what lies there"));
    }
    let path = HostPath::fixed(named);
    match session.host.root.meta(&path)? {
        None => bail!(bad("there is no such file")),
        Some(meta) if meta.attr.uid != 0 || meta.attr.mode & 0o022 != 0 => {
            bail!(bad("others than root can change it"))
        }
        Some(meta) if meta.attr.mode & 0o111 == 0 => bail!(bad("it is no program")),
        Some(_) => Ok(path),
    }
}

/// Refuses to make a store whose ports somebody else has.
pub(in crate::operation) fn require_ports(session: &Session<'_>) -> Result<()> {
    if invocation(&session.host.root, &host::store_unit())?.is_some() {
        return Ok(());
    }
    for port in S3_PORT..=ADMIN_PORT {
        if let Some(uid) = session.host.net.listener(port)? {
            bail!(
                Fault::new(
                    Code::PortTaken,
                    format!("port {port}, which the object storage needs, is held by a process of the account {uid}")
                )
                .next(format!("ss -ltnp 'sport = :{port}'"))
            );
        }
    }
    Ok(())
}
