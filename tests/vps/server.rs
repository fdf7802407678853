//! `tests/vps/server` from Rust: one throwaway server, taken down when the value is dropped.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What a command left.
pub(crate) struct Left {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// One server. Its name carries the process that made it, so that leftovers can be told.
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) address: String,
}

impl Server {
    /// Boots a server over these layers.
    pub(crate) fn up(layers: &[&str]) -> Self {
        Self::up_with(&[], layers)
    }

    /// The same with flags of `server up`.
    pub(crate) fn up_with(flags: &[&str], layers: &[&str]) -> Self {
        let id = format!("vps-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut args = vec!["up".to_owned(), id.clone()];
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        for layer in layers {
            args.extend(["--layer".to_owned(), (*layer).to_owned()]);
        }
        let said = must(&args);
        let address = said.lines().last().expect("`server up` ends with the address").to_owned();
        Self { id, address }
    }

    /// The command that runs `argv` inside; for those who wrap it.
    pub(crate) fn enter(&self, argv: &[String]) -> Command {
        let mut command = Command::new(program());
        command.args(["run", &self.id, "--"]).args(argv);
        command
    }

    /// Runs a command inside, as root, with these bytes on its standard input.
    pub(crate) fn run(&self, argv: &[String], stdin: Vec<u8>) -> Left {
        collect(self.enter(argv), stdin)
    }

    pub(crate) fn reboot(&self) {
        must(&["reboot".to_owned(), self.id.clone()]);
    }

    pub(crate) fn cut(&self) {
        must(&["cut".to_owned(), self.id.clone()]);
    }

    /// Keeps what it wrote as a layer; the server is gone afterwards.
    pub(crate) fn save(self, layer: &str, key: &str) {
        must(&["save".to_owned(), self.id.clone(), layer.to_owned(), key.to_owned()]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::env::var_os("HOSTKIT_KEEP").is_some() && std::thread::panicking() {
            eprintln!("HOSTKIT_KEEP: enter it with `tests/vps/server shell {}`", self.id);
            return;
        }
        // A second panic while one unwinds would hide the first.
        let _ = call(&["down".to_owned(), self.id.clone()]);
    }
}

/// Whether the layer is there and was made from `key`.
pub(crate) fn has_layer(layer: &str, key: &str) -> bool {
    call(&["layer".to_owned(), layer.to_owned(), key.to_owned()]).status.success()
}

/// Removes the servers of test runs that were killed.
pub(crate) fn remove_orphans() {
    for line in must(&["list".to_owned()]).lines() {
        let id = line.split(' ').next().unwrap_or_default();
        let Some(pid) = id.strip_prefix("vps-").and_then(|rest| rest.split('-').next()) else { continue };
        if !PathBuf::from(format!("/proc/{pid}")).exists() {
            must(&["down".to_owned(), id.to_owned()]);
        }
    }
}

/// The program that makes servers.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vps/server")
}

fn call(args: &[String]) -> Left {
    let mut command = Command::new(program());
    command.args(args);
    collect(command, Vec::new())
}

fn must(args: &[String]) -> String {
    let left = call(args);
    let stderr = String::from_utf8_lossy(&left.stderr);
    assert!(left.status.success(), "tests/vps/server {args:?} failed:\n{stderr}");
    String::from_utf8_lossy(&left.stdout).into_owned()
}

/// Runs a command to its end, feeding it and reading it at the same time.
pub(crate) fn collect(mut command: Command, stdin: Vec<u8>) -> Left {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut pipe = child.stdin.take().expect("its standard input is a pipe");
    // It may end without reading all; what counts is how it ended.
    let feeder = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    feeder.join().expect("writing to a pipe does not panic");
    Left { status: output.status, stdout: output.stdout, stderr: output.stderr }
}

/// An argument array as a person would type it.
pub(crate) fn typed(argv: &[String]) -> String {
    argv.iter().fold(String::new(), |mut line, word| {
        let _ = write!(line, "{}{}", if line.is_empty() { "" } else { " " }, shell_words::quote(word));
        line
    })
}
