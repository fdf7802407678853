//! The program, in a world of fakes of its own.

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A world in a directory of its own.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

/// What one call left.
#[must_use]
pub(crate) struct Left {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit: {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

impl Left {
    /// The same, after checking that it did what it was asked.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self}");
        self
    }
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "one object and nothing else: {self}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl Scene {
    /// A host that has been set up.
    pub(crate) fn new() -> Self {
        let scene = Self::bare();
        let _ = scene.hostkit(&["init", "--base-domain", "example.test"]).ok();
        scene
    }
    /// A host that has not.
    pub(crate) fn bare() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
    pub(crate) fn real(&self, path: &str) -> PathBuf {
        self.path().join(path.trim_start_matches('/'))
    }
    pub(crate) fn hostkit(&self, args: &[&str]) -> Left {
        self.hostkit_fed(args, b"")
    }
    /// Standard output as it is.
    pub(crate) fn unfiltered(args: &[&str]) -> String {
        let left = Command::new(env!("CARGO_BIN_EXE_hostkit")).args(args).output().unwrap();
        String::from_utf8(left.stdout).unwrap()
    }
    pub(crate) fn hostkit_fed(&self, args: &[&str], stdin: &[u8]) -> Left {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hostkit"));
        // A pipeline that runs this is not who reads it.
        command.env_remove("GITHUB_ACTIONS").env_remove("GITLAB_CI");
        command.arg("--root").arg(self.path()).args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A program that refuses early does not read all of it.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let left = child.wait_with_output().unwrap();
        let text = |bytes| self.filter(&String::from_utf8(bytes).unwrap());
        Left { code: left.status.code().unwrap(), stdout: text(left.stdout), stderr: text(left.stderr) }
    }
    /// Without what differs from run to run: times, numbers of processes, places.
    fn filter(&self, text: &str) -> String {
        let text = text.replace(&self.path().display().to_string(), "ROOT");
        let text = text.replace(env!("CARGO_MANIFEST_DIR"), "HERE");
        let mut out = String::new();
        for line in text.split_inclusive('\n') {
            // "[   0.1s] what: detail (0.0s)" without its times.
            let line = match line.strip_prefix('[').and_then(|l| l.split_once("s] ")) {
                Some((time, rest)) if time.trim().parse::<f64>().is_ok() => {
                    let rest = rest.trim_end();
                    let end = rest.rfind(" (").filter(|_| rest.ends_with("s)")).unwrap_or(rest.len());
                    format!("[TIME] {}\n", &rest[..end])
                }
                _ => line.to_owned(),
            };
            out.push_str(&spans(&stamps(&line)));
        }
        out
    }
}

/// Replaces "after 1.2 s".
fn spans(line: &str) -> String {
    let mut pieces = line.split(" after ");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(0);
        let rest = if digits > 1 && piece[digits..].starts_with(" s") { &piece[digits..] } else { piece };
        out.push_str(if rest.len() < piece.len() { " after SOME" } else { " after " });
        out.push_str(rest);
    }
    out
}

/// Replaces release names and RFC 3339 times.
fn stamps(line: &str) -> String {
    let bytes = line.as_bytes();
    let shape = |at: usize, pattern: &str| {
        bytes.get(at..at + pattern.len()).is_some_and(|piece| {
            piece
                .iter()
                .zip(pattern.bytes())
                .all(|(b, p)| if p == b'0' { b.is_ascii_digit() } else { *b == p })
        })
    };
    let mut out = String::new();
    let mut at = 0;
    while at < bytes.len() {
        if shape(at, "00000000-000000") {
            out.push_str("RELEASE");
            at += 15;
        } else if shape(at, "0000-00-00T00:00:00") {
            out.push_str("TIME");
            at += 19;
            while at < bytes.len() && (bytes[at].is_ascii_digit() || bytes[at] == b'.' || bytes[at] == b'Z') {
                at += 1;
            }
        } else if shape(at, "0000-00-00 00:00:00") {
            out.push_str("TIME");
            at += 19;
        } else {
            let c = line[at..].chars().next().unwrap();
            out.push(c);
            at += c.len_utf8();
        }
    }
    out
}
