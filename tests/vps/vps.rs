//! The typed builder: a server with HostKit on it, and what a test does with it.
//!
//! ```ignore
//! let Some(vps) = Vps::with().user("ann").boot() else { return };
//! vps.deploy("blog", "node", &Source::example("node"));
//! vps.expect_answer("blog", "Version 1");
//! ```

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    call::{Call, Output},
    image::{self, DOMAIN, Extras},
    server::Server,
    snapshot::Snapshot,
    source::Source,
    web::{self, Answer},
};

/// What a server is to have before the test begins.
#[derive(Default)]
#[must_use = "nothing boots until `boot`"]
pub(crate) struct Builder {
    users: BTreeSet<String>,
    administrators: BTreeSet<String>,
    files: Vec<(String, String)>,
    extras: Extras,
}

impl Builder {
    /// An account that may call `hostkit` through `sudo`, and nothing else.
    pub(crate) fn user(mut self, name: &str) -> Self {
        assert!(self.users.insert(name.to_owned()), "the user `{name}` is there already");
        self
    }

    /// An account that is a member of the group `sudo`.
    pub(crate) fn administrator(mut self, name: &str) -> Self {
        self.administrators.insert(name.to_owned());
        self.user(name)
    }

    /// A file with this text.
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        assert!(path.starts_with('/'), "`{path}` is not an absolute path");
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Garage, installed as an administrator would, and a usual S3 client.
    pub(crate) fn garage(mut self) -> Self {
        self.extras.garage = true;
        self
    }

    /// What Python's applications reach databases, Redis and buckets with.
    pub(crate) fn clients(mut self) -> Self {
        self.extras.clients = true;
        self
    }

    /// A server whose limits on memory are enforced.
    pub(crate) fn limits(mut self) -> Self {
        self.extras.limits = true;
        self
    }

    /// A certificate authority, installed and not running.
    pub(crate) fn authority(mut self) -> Self {
        self.extras.authority = true;
        self
    }

    /// What applications of all kinds are made with.
    pub(crate) fn tools(mut self) -> Self {
        self.extras.tools = true;
        self
    }

    /// Boots the server; `None` when there is no program to test.
    pub(crate) fn boot(self) -> Option<Vps> {
        let binary = image::binary()?;
        let vps = Vps { server: image::boot(&binary, self.extras), users: self.users };
        for (path, text) in &self.files {
            vps.write(path, text.as_str());
        }
        for user in &vps.users {
            vps.run(["useradd", "--create-home", user]).ok();
            let rule = format!("{user} ALL=(root) NOPASSWD: /usr/local/bin/hostkit\n");
            vps.write(&format!("/etc/sudoers.d/test-{user}"), rule);
        }
        for user in &self.administrators {
            vps.run(["usermod", "--append", "--groups", "sudo", user]).ok();
        }
        Some(vps)
    }
}

/// A booted server with HostKit on it. It is taken down when the value is dropped.
pub(crate) struct Vps {
    server: Server,
    users: BTreeSet<String>,
}

impl Vps {
    /// A server with nothing special about it.
    pub(crate) fn boot() -> Option<Self> {
        Self::with().boot()
    }

    /// A server with something special about it.
    pub(crate) fn with() -> Builder {
        Builder::default()
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn has_user(&self, name: &str) -> bool {
        self.users.contains(name)
    }

    // --- doing ------------------------------------------------------------------------------------

    /// `hostkit ARGS`.
    pub(crate) fn hostkit<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Call<'_> {
        let args = args.into_iter().map(|word| word.as_ref().to_owned());
        Call::new(self, std::iter::once("hostkit".to_owned()).chain(args))
    }

    /// Any other command, as root.
    pub(crate) fn run<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Call<'_> {
        Call::new(self, argv)
    }

    /// A line for the shell, as root; for damage and preparations.
    pub(crate) fn sh(&self, line: &str) -> Call<'_> {
        Call::new(self, ["sh", "-euc", line])
    }

    /// A Python script, as root.
    pub(crate) fn python<S: AsRef<str>>(&self, script: &str, args: impl IntoIterator<Item = S>) -> Call<'_> {
        let args = args.into_iter().map(|word| word.as_ref().to_owned());
        Call::new(self, ["python3".to_owned(), "-".to_owned()].into_iter().chain(args)).stdin(script)
    }

    /// Writes a file, with the directories above it.
    pub(crate) fn write(&self, path: &str, text: impl Into<Vec<u8>>) {
        let line = r#"mkdir -p "$(dirname "$0")" && cat >"$0""#;
        self.run(["sh", "-euc", line, path]).stdin(text).ok();
    }

    /// Puts a source tree into a directory that was not there.
    pub(crate) fn put(&self, directory: &str, source: &Source) {
        image::send(&self.server, directory, source);
    }

    /// Deploys a source as a CI job does, over standard input; the new release's name.
    pub(crate) fn deploy(&self, name: &str, source: &Source) -> String {
        // A test deploys more often than a person does.
        let words = ["--json", "deploy", name, "--source", "-", "--override-ratelimit"];
        let call = self.hostkit(words).stdin(source.tar_gz());
        let envelope = call.ok().json();
        envelope["data"]["release"].as_str().expect("a deploy says which release it made").to_owned()
    }

    /// Provisions a project and deploys its first release; the release's name.
    pub(crate) fn live(&self, name: &str, source: &Source) -> String {
        self.hostkit(["provision", name]).ok();
        self.deploy(name, source)
    }

    pub(crate) fn reboot(&self) {
        self.server.reboot();
    }

    pub(crate) fn cut_power(&self) {
        self.server.cut();
    }

    // --- looking ----------------------------------------------------------------------------------

    /// What a visitor of `host` gets, from outside, through nginx.
    pub(crate) fn fetch(&self, host: &str, path: &str) -> Answer {
        web::get(&self.server.address, host, path)
    }

    /// What a visitor of the project gets.
    pub(crate) fn visit(&self, project: &str, path: &str) -> Answer {
        self.fetch(&format!("{project}.{DOMAIN}"), path)
    }

    /// The project's front page must be a success that says this, now.
    pub(crate) fn expect_answer(&self, project: &str, text: &str) {
        let answer = self.visit(project, "/");
        assert!(
            answer.says(text),
            "expected `{text}` from {project}.{DOMAIN}, got {answer}\n{}",
            self.diagnosis()
        );
    }

    /// The same, some time soon: for what comes up by itself.
    pub(crate) fn wait_for_answer(&self, project: &str, text: &str) {
        self.wait_for(&format!("`{text}` from {project}"), || self.visit(project, "/").says(text));
    }

    /// Waits until a unit is in a state such as `active`.
    pub(crate) fn wait_for_unit(&self, unit: &str, state: &str) {
        self.wait_for(&format!("{unit} to be {state}"), || {
            self.run(["systemctl", "is-active", unit]).run().stdout.trim() == state
        });
    }

    /// Waits, at most half a minute, until `is_so`.
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        self.wait_up_to(30, what, is_so);
    }

    /// Waits, at most so many seconds, until `is_so`.
    pub(crate) fn wait_up_to(&self, seconds: u64, what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !is_so() {
            assert!(Instant::now() < end, "waited {seconds} s for {what}\n{}", self.diagnosis());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The state of the server, without what changes by itself.
    pub(crate) fn snapshot(&self, scopes: &[&str]) -> Snapshot {
        Snapshot::take(self, scopes)
    }

    /// The releases of a project as `hostkit` lists them, newest first.
    pub(crate) fn releases(&self, name: &str) -> Vec<Value> {
        let envelope = self.hostkit(["--json", "releases", name]).ok().json();
        envelope["data"]["releases"].as_array().expect("`releases` lists releases").clone()
    }

    /// `doctor` must find nothing.
    pub(crate) fn expect_healthy(&self) {
        self.hostkit(["doctor"]).ok();
    }

    /// What may explain a failure: the last operations, journals and logs.
    pub(crate) fn diagnosis(&self) -> String {
        const LOOK: &str = "
            echo '----- hostkit history -----'; timeout 10 hostkit history 2>&1 | head -n 15
            echo '----- journal -----'
            journalctl --no-pager -q -o short-monotonic -n 30 -u 'hostkit-*' -u nginx.service 2>&1
            for log in /var/log/projects/*/*.log; do
                [ -s \"$log\" ] || continue
                echo \"----- $log -----\"; tail -n 12 \"$log\"
            done";
        let left = self.server.run(&["sh", "-c", LOOK].map(str::to_owned), Vec::new());
        String::from_utf8_lossy(&left.stdout).into_owned()
    }
}

/// The message of a failed `Output` or a snapshot must not be lost for want of a name.
impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
