//! A command on the server and what it left. Failing expectations show everything that was said, and
//! what the server's journal has.

use std::fmt;

use serde_json::Value;

use crate::{
    server::{Left, typed},
    vps::Vps,
};

/// How long a command may take before it counts as hanging.
const PATIENCE: &str = "120";

/// A command that is about to run on the server.
#[must_use = "nothing happens until it runs"]
pub(crate) struct Call<'v> {
    vps: &'v Vps,
    argv: Vec<String>,
    user: Option<String>,
    stdin: Vec<u8>,
    patience: &'static str,
}

impl<'v> Call<'v> {
    pub(crate) fn new<S: AsRef<str>>(vps: &'v Vps, argv: impl IntoIterator<Item = S>) -> Self {
        let argv: Vec<String> = argv.into_iter().map(|word| word.as_ref().to_owned()).collect();
        assert!(!argv.is_empty(), "a command has a name");
        Self { vps, argv, user: None, stdin: Vec::new(), patience: PATIENCE }
    }

    /// Runs it as this user, who must have been given to the builder: directly, or through `sudo` when it
    /// is `hostkit`.
    #[expect(clippy::wrong_self_convention, reason = "it is a builder, and reads as one")]
    pub(crate) fn as_user(mut self, user: &str) -> Self {
        assert!(self.vps.has_user(user), "the server has no user `{user}`: name it in the builder");
        self.user = Some(user.to_owned());
        self
    }

    /// Gives it these bytes to read.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Gives it ten minutes: something is built.
    pub(crate) fn patiently(mut self) -> Self {
        self.patience = "600";
        self
    }

    /// Runs it, whatever comes of it.
    #[must_use = "look at how it ended, or say `ok`"]
    pub(crate) fn run(self) -> Output<'v> {
        let what = typed(&self.argv);
        let mut argv: Vec<String> =
            ["timeout", "--foreground", "-k", "5", self.patience].map(str::to_owned).to_vec();
        if let Some(user) = &self.user {
            argv.extend(["runuser", "-u", user, "--"].map(str::to_owned));
            if self.argv[0] == "hostkit" {
                argv.extend(["sudo", "-n"].map(str::to_owned));
            }
        }
        argv.extend(self.argv);
        let left = self.vps.server().run(&argv, self.stdin);
        Output::new(self.vps, what, &left)
    }

    /// Runs it, and it must succeed.
    pub(crate) fn ok(self) -> Output<'v> {
        self.run().expect(0)
    }

    /// Runs it, and it must end with this status.
    pub(crate) fn expect_code(self, code: i32) -> Output<'v> {
        self.run().expect(code)
    }

    /// Runs `hostkit`, and it must refuse with this exit status and code, say what to do next, and leave one
    /// well-formed envelope. Whether the host is untouched is for the caller to look at.
    pub(crate) fn refused(mut self, exit: i32, code: &str) -> Output<'v> {
        assert_eq!(self.argv[0], "hostkit", "only hostkit refuses with a code");
        self.argv.insert(1, "--json".to_owned());
        let output = self.run().expect(exit);
        let envelope = output.json();
        let error = &envelope["error"];
        output.check(error["code"] == code, &format!("the error code {code}"));
        output.check(error["exit"] == exit, "the exit status in the envelope too");
        output.check(envelope["ok"] == false, "`ok` to be false");
        output.check(error["message"].as_str().is_some_and(|m| !m.is_empty()), "a message");
        output.check(
            envelope["next"].as_array().is_some_and(|n| !n.is_empty()),
            "the next command to be named",
        );
        output
    }
}

/// What a command left.
pub(crate) struct Output<'v> {
    vps: &'v Vps,
    what: String,
    /// The exit status; 128 and the signal's number when a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl<'v> Output<'v> {
    fn new(vps: &'v Vps, what: String, left: &Left) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let status = left.status;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { vps, what, code, stdout: text(&left.stdout), stderr: text(&left.stderr) }
    }

    /// It must have ended with this status.
    pub(crate) fn expect(self, code: i32) -> Self {
        self.check(self.code == code, &format!("exit status {code}"));
        self
    }

    /// Stops the test, showing everything, unless `good`.
    pub(crate) fn check(&self, good: bool, wanted: &str) {
        assert!(good, "expected {wanted}:\n{self}\n{}", self.vps.diagnosis());
    }

    /// It must have said this, on either stream.
    pub(crate) fn says(self, text: &str) -> Self {
        self.check(self.stdout.contains(text) || self.stderr.contains(text), &format!("it to say `{text}`"));
        self
    }

    /// The one envelope that `--json` writes.
    pub(crate) fn json(&self) -> Value {
        let read: Result<Value, _> = serde_json::from_str(&self.stdout);
        self.check(read.as_ref().is_ok_and(|v| v["schema"] == "hostkit/1"), "one JSON envelope on stdout");
        read.unwrap_or_default()
    }

    /// Its lines on stdout.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.stdout.lines().map(str::to_owned).collect()
    }
}

impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "server# {}\n[exit status {}]", self.what, self.code)?;
        writeln!(
            f,
            "----- stdout -----\n{}\n----- stderr -----\n{}",
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}
