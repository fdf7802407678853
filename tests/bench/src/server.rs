//! A throwaway server with HostKit and this program on it; see `tests/vps/server --help`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Error, inside::HOME};

/// The domain under which projects answer.
pub(crate) const DOMAIN: &str = "example.test";
/// What `install.sh` installs with apt-get, so that only the first run waits for it.
const PACKAGES: &str = "bench-packages";
/// Plays the program while the packages are installed.
const STAND_IN: &str = "printf '#!/bin/sh\\nexit 0\\n' >/root/hostkit && chmod 755 /root/hostkit";

/// A booted server; taken down when the value is dropped.
pub(crate) struct Server {
    id: String,
}

impl Server {
    /// Boots a server, has the real installer install `binary`, and sends in what is measured with.
    pub(crate) fn boot(binary: &Path, name: &str) -> Result<Self, Error> {
        remove_orphans()?;
        make_packages()?;
        // A layer with tools that the measurements use where they are, such as a real npm.
        let layer = std::env::var("HOSTKIT_BENCH_LAYER").ok();
        let layers: Vec<&str> =
            [PACKAGES].into_iter().chain(layer.as_deref()).flat_map(|layer| ["--layer", layer]).collect();
        let server = Self::up(name, &layers)?;
        server.send(&repository().join("install.sh"), "/root/install.sh")?;
        server.send(binary, "/root/hostkit")?;
        server.sh(&install())?;
        server.sh(&format!("mkdir -p {HOME}/node-1"))?;
        server.send(&std::env::current_exe()?, &format!("{HOME}/hostkit-bench"))?;
        for entry in std::fs::read_dir(repository().join("examples/node"))? {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            server.send(&path, &format!("{HOME}/node-1/{file}"))?;
        }
        server.inside(&["prepare"])?;
        Ok(server)
    }

    fn up(name: &str, layers: &[&str]) -> Result<Self, Error> {
        // The name carries this process, so that two runs do not take each other's server.
        let id = format!("bench-{}-{name}", std::process::id());
        call(&[&["up", &id], layers].concat())?;
        Ok(Self { id })
    }

    /// The command that runs `argv` on the server, as root.
    pub(crate) fn enter(&self, argv: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(["run", &self.id, "--"]).args(argv);
        command
    }

    /// What a command on the server says; it must succeed. What it complains of is passed on.
    pub(crate) fn run(&self, argv: &[&str]) -> Result<String, Error> {
        let left = self.enter(argv).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        let out = String::from_utf8_lossy(&left.stdout).into_owned();
        if left.status.success() { Ok(out) } else { Err(format!("{argv:?}: {}\n{out}", left.status).into()) }
    }

    fn sh(&self, line: &str) -> Result<String, Error> {
        let left = self.enter(&["sh", "-euc", line]).stdin(Stdio::null()).output()?;
        if left.status.success() {
            return Ok(String::from_utf8_lossy(&left.stdout).into_owned());
        }
        let (out, err) = (String::from_utf8_lossy(&left.stdout), String::from_utf8_lossy(&left.stderr));
        Err(format!("on the server, `{line}`: {}\n{out}{err}", left.status).into())
    }

    /// One part of the measurement, on the server.
    pub(crate) fn inside(&self, words: &[&str]) -> Result<String, Error> {
        let program = format!("{HOME}/hostkit-bench");
        self.run(&[&[program.as_str(), "inside"], words].concat())
    }

    /// Puts a file there, as executable as it is here.
    fn send(&self, from: &Path, to: &str) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt;
        let file = std::fs::File::open(from).map_err(|e| format!("{}: {e}", from.display()))?;
        let mode = format!("{:o}", file.metadata()?.permissions().mode() & 0o777);
        let line = r#"cat >"$0" && chmod "$1" "$0""#;
        let sent = self.enter(&["sh", "-euc", line, to, &mode]).stdin(file).status()?;
        if sent.success() { Ok(()) } else { Err(format!("sending {}: {sent}", from.display()).into()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new(program()).args(["down", &self.id]).status();
    }
}

/// Installs what the program needs, without the program, and keeps it as a layer.
fn make_packages() -> Result<(), Error> {
    let key = key()?;
    if call(&["layer", PACKAGES, &key]).is_ok() {
        return Ok(());
    }
    eprintln!("installing the packages of install.sh into the layer `{PACKAGES}` (once)");
    let server = Server::up("packages", &[])?;
    server.send(&repository().join("install.sh"), "/root/install.sh")?;
    server.sh(STAND_IN)?;
    server.sh(&install())?;
    // The stand-in must not be taken for an older version.
    server.sh("/root/install.sh --uninstall --yes && rm /root/install.sh /root/hostkit")?;
    call(&["save", &server.id, PACKAGES, &key])?;
    Ok(())
}

fn install() -> String {
    format!("/root/install.sh --yes --binary /root/hostkit --base-domain {DOMAIN}")
}

/// Removes the servers of runs that were killed.
fn remove_orphans() -> Result<(), Error> {
    for line in call(&["list"])?.lines() {
        let id = line.split(' ').next().unwrap_or_default();
        let process = id.strip_prefix("bench-").and_then(|rest| rest.split('-').next());
        let Some(process) = process.and_then(|p| p.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{process}")).exists() {
            call(&["down", id])?;
        }
    }
    Ok(())
}

/// The repository that this program was built in.
fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

/// The program that makes servers.
fn program() -> PathBuf {
    repository().join("tests/vps/server")
}

fn call(args: &[&str]) -> Result<String, Error> {
    let left = Command::new(program()).args(args).stdin(Stdio::null()).output()?;
    if left.status.success() {
        return Ok(String::from_utf8_lossy(&left.stdout).into_owned());
    }
    Err(format!("tests/vps/server {args:?}: {}\n{}", left.status, String::from_utf8_lossy(&left.stderr))
        .into())
}

/// What the packages were made from.
fn key() -> Result<String, Error> {
    let files = ["install.sh", "tests/vps/server"].map(|f| repository().join(f));
    let left = Command::new("sha256sum").args(files).output()?;
    let text = String::from_utf8_lossy(&left.stdout);
    Ok(text.lines().filter_map(|l| l.get(..16)).collect::<Vec<_>>().join("-"))
}
