//! Running programs: absolute path, empty environment, no standard input, a deadline. No shell, ever.
//!
//! A program that reads or writes what a project could have made runs as the project: see [`Tool::by`].

use std::{
    ffi::OsStr,
    fmt,
    io::{self, IsTerminal, Read},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use super::process;
use crate::domain::fault::{Code, Fault};

/// The only places programs are taken from.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Starts a program in a session of its own; part of every Debian system, like the next.
const SETSID: &str = "/usr/bin/setsid";
/// Starts a program as another account, on a terminal of its own.
const RUNUSER: &str = "/usr/sbin/runuser";
/// How much of a program's complaints goes into an error, in bytes.
const TAIL: usize = 1024;
/// How long a program may take unless its caller knows better.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often a program that works for long is looked after.
const PACE: Duration = Duration::from_millis(10);

/// A program on this host, and who it is run as.
#[derive(Clone)]
pub struct Tool {
    name: &'static str,
    path: PathBuf,
    account: Option<(u32, u32)>,
    env: Vec<(&'static str, String)>,
    patience: Duration,
}

/// A value of the environment may be a password.
impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool")
            .field("path", &self.path)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// What a program left.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it answered.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

/// Where the program called `name` is, if it is installed.
pub fn locate(name: &str) -> Option<PathBuf> {
    which::which_in(name, Some(PATH), "/").ok()
}

impl Tool {
    /// Finds a program, or says which Debian package brings it.
    pub fn find(name: &'static str, package: &str) -> Result<Self> {
        let path = locate(name).ok_or_else(|| {
            Fault::new(Code::ProgramMissing, format!("the program `{name}` is not installed"))
                .next(format!("apt-get install {package}"))
        })?;
        Ok(Self::at(name, path))
    }

    /// A program that lies where `PATH` does not lead, such as one version of several.
    pub fn at(name: &'static str, path: PathBuf) -> Self {
        Self { name, path, account: None, env: Vec::new(), patience: PATIENCE }
    }

    /// The same program run as this account and group: in no other group, and never to become more
    /// than that, whatever it executes.
    pub fn by(mut self, uid: u32, gid: u32) -> Self {
        self.account = Some((uid, gid));
        self
    }

    /// The same program with this in its environment. The value is shown nowhere.
    pub fn env(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    /// The same program, that may take so long.
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// A command with the environment and streams every program gets.
    fn command(&self) -> Command {
        let mut command = if self.account.is_some() {
            // Another process of that account may use what this one has. The terminal of whoever called
            // is not to be among it: in a session of its own nothing can be typed into that.
            let mut command = Command::new(SETSID);
            command.arg("--wait").arg(&self.path);
            command
        } else {
            Command::new(&self.path)
        };
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some((uid, gid)) = self.account {
            // The standard library also gives up the supplementary groups.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts a command. A child gets what the thread has that makes it, and a thread that has given
    /// up new privileges cannot have them back: so it is one that ends at once.
    fn spawn(&self, command: &mut Command) -> Result<Child> {
        let starting = || format!("starting `{}`", self.path.display());
        if self.account.is_none() {
            return command.spawn().with_context(starting);
        }
        std::thread::scope(|scope| {
            let bound = scope.spawn(|| {
                prctl::set_no_new_privs()?;
                command.spawn()
            });
            bound.join().expect("starting a program does not panic").with_context(starting)
        })
    }

    /// Starts it with these streams; it works until [`Running::finish`].
    pub fn start<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        stdin: impl Into<Stdio>,
        stdout: impl Into<Stdio>,
    ) -> Result<Running> {
        let mut command = self.command();
        command.args(args).stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        let mut child = self.spawn(&mut command)?;
        let said = child.stderr.take().context("its standard error")?;
        Ok(Running {
            name: self.name,
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            said: Some(std::thread::spawn(move || end_of(said))),
            child,
        })
    }

    /// Starts it with everything it says going into one pipe, in the order it is said.
    pub fn start_merged<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Result<(Child, io::PipeReader)> {
        let (reader, writer) = io::pipe().context("making a pipe")?;
        let mut command = self.command();
        command.args(args).stdout(writer.try_clone().context("making a pipe")?).stderr(writer);
        // The command holds the pipe's other end until it is dropped.
        Ok((self.spawn(&mut command)?, reader))
    }

    /// Starts it with this process's standard input, in a process group of its own, so that nobody who
    /// interrupts this process interrupts it; and leaves it alone.
    pub fn leave<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<()> {
        let mut command = self.command();
        command.args(args).stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::null());
        self.spawn(command.process_group(0)).map(drop)
    }

    /// Becomes the program: it has this process's terminal and ends for it. Returns only to say why
    /// it could not.
    pub fn become_it<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> anyhow::Error {
        let mut command = match self.account.and_then(|(uid, _)| users::get_user_by_uid(uid)) {
            // With a terminal of its own, whose input and output are handed on.
            Some(user) if io::stdin().is_terminal() => {
                let plain = Self { account: None, path: RUNUSER.into(), ..self.clone() };
                let mut command = plain.command();
                command.args(["--pty", "-u"]).arg(user.name()).arg("--").arg(&self.path);
                command
            }
            _ => self.command(),
        };
        command.args(args).stdin(Stdio::inherit());
        if self.account.is_some()
            && let Err(error) = prctl::set_no_new_privs()
        {
            return anyhow::Error::new(error).context("giving up new privileges");
        }
        anyhow::Error::new(command.exec()).context(format!("starting `{}`", self.path.display()))
    }

    /// Runs it and returns what it left, however it ended.
    pub fn output<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran> {
        let mut command = self.command();
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.spawn(&mut command)?;
        within(self.patience, child).with_context(|| format!("running `{}`", self.name))
    }

    /// Runs it, and fails with what it said when it fails.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran> {
        let ran = self.output(args)?;
        if !ran.status.success() {
            bail!("`{}` failed ({}): {}", self.name, ran.status, tail(&ran.stderr));
        }
        Ok(ran)
    }
}

/// A program that has been started. Dropping it ends it.
#[derive(Debug)]
#[must_use = "dropping it ends it"]
pub struct Running {
    name: &'static str,
    child: Child,
    said: Option<JoinHandle<io::Result<Vec<u8>>>>,
    /// Where it reads from, if that was to be a pipe. Closed by [`Self::finish`].
    pub stdin: Option<ChildStdin>,
    /// Where it writes to, if that was to be a pipe.
    pub stdout: Option<ChildStdout>,
}

impl Running {
    /// Waits until it has ended, and fails with what it said when it failed. Stops waiting, and ends
    /// it, when somebody asks this process to stop.
    pub fn finish(self) -> Result<()> {
        self.finish_unless(|status| !status.success())
    }

    /// The same, for a program that says with its status more than whether it failed.
    pub fn finish_unless(mut self, failed: impl FnOnce(ExitStatus) -> bool) -> Result<()> {
        drop(self.stdin.take());
        drop(self.stdout.take());
        let status = loop {
            if let Some(status) = self.child.try_wait().context("waiting for a program")? {
                break status;
            }
            process::keep_going()?;
            std::thread::sleep(PACE);
        };
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_else(|| Ok(Vec::new()))?;
        if !failed(status) {
            return Ok(());
        }
        bail!("`{}` failed ({status}): {}", self.name, tail(&String::from_utf8_lossy(&said)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended and was waited for is not there to be ended, and says so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of all that a program says, however much that is.
fn end_of(mut said: ChildStderr) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match said.read(&mut piece) {
            Ok(0) => return Ok(kept),
            Ok(n) => kept.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if kept.len() > 4 * TAIL {
            kept.drain(..kept.len() - TAIL);
        }
    }
}

/// The end of what a program said, on as few lines as it has.
pub fn tail(text: &str) -> &str {
    let text = text.trim();
    let mut from = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Waits for a child and collects its output; kills it when it takes longer than `patience`.
fn within(patience: Duration, mut child: Child) -> Result<Ran> {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a process number")?);
    let (ended, wait) = mpsc::channel::<()>();
    let mut stderr = child.stderr.take().context("its standard error")?;
    let mut stdout = child.stdout.take().context("its standard output")?;
    std::thread::scope(|threads| {
        let watch = threads.spawn(move || {
            let late = wait.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                // Not reaped yet, so the number is still the child's.
                let _ = kill(pid, Signal::SIGKILL);
            }
            late
        });
        let errors = threads.spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).map(|_| text)
        });
        let mut text = Vec::new();
        stdout.read_to_end(&mut text)?;
        let said = errors.join().expect("reading does not panic")?;
        let status = child.wait()?;
        drop(ended);
        if watch.join().expect("waiting does not panic") {
            bail!("no end after {} s; it was killed", patience.as_secs());
        }
        let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ran { status, stdout: lossy(text), stderr: lossy(said) })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(mut running: Running) -> String {
        let mut text = String::new();
        running.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        running.finish().unwrap();
        text
    }

    #[test]
    fn a_program_of_an_account_has_its_groups_no_privileges_and_none_of_our_environment() {
        // Without privilege one can only become oneself, and keeps one's groups.
        let root = nix::unistd::geteuid().is_root();
        let (uid, gid) = if root {
            (65534, 65533)
        } else {
            (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
        };
        let grep = Tool::find("grep", "grep").unwrap().by(uid, gid);
        let wanted = if root { "^(Uid|Gid|Groups|NoNewPrivs)" } else { "^(Uid|Gid|NoNewPrivs)" };
        let status = grep.start(["-E", wanted, "/proc/self/status"], Stdio::null(), Stdio::piped());
        let status = said(status.unwrap());
        let words: Vec<String> = status.split_ascii_whitespace().map(str::to_owned).collect();
        let (u, g) = (uid.to_string(), gid.to_string());
        let groups: &[&str] = if root { &["Groups:"] } else { &[] };
        let expected =
            [&["Uid:", &u, &u, &u, &u, "Gid:", &g, &g, &g, &g], groups, &["NoNewPrivs:", "1"]].concat();
        assert_eq!(words, expected);
        let env = Tool::find("env", "coreutils").unwrap().by(uid, gid).env("PGPASSWORD", "s3cret");
        assert!(!format!("{env:?}").contains("s3cret"));
        let seen = said(env.start([""; 0], Stdio::null(), Stdio::piped()).unwrap());
        assert_eq!(seen, format!("LC_ALL=C\nPATH={PATH}\nPGPASSWORD=s3cret\n"));
        // The thread that gave them up is gone: this process may still become what it was.
        assert!(!prctl::get_no_new_privs().unwrap());
    }

    #[test]
    fn a_program_of_an_account_has_no_terminal_to_type_into() {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let session = |tool: Tool| -> i32 {
            let status = said(tool.start(["/proc/self/stat"], Stdio::null(), Stdio::piped()).unwrap());
            // The fields after the name: state, parent, group, session, terminal.
            let rest = status.rsplit_once(") ").unwrap().1.to_owned();
            let fields: Vec<i32> = rest.split(' ').skip(1).take(4).map(|f| f.parse().unwrap()).collect();
            if fields[2] != nix::unistd::getsid(None).unwrap().as_raw() {
                assert_eq!(fields[3], 0, "it has a controlling terminal");
            }
            fields[2]
        };
        let ours = nix::unistd::getsid(None).unwrap().as_raw();
        let cat = || Tool::find("cat", "coreutils").unwrap();
        assert_eq!(session(cat()), ours, "the control");
        assert_ne!(session(cat().by(uid, gid)), ours);
    }

    #[test]
    fn what_flows_through_a_program_may_be_long_and_its_complaints_too() {
        let cat = Tool::find("cat", "coreutils").unwrap();
        let mut running = cat.start(["-"], Stdio::piped(), Stdio::piped()).unwrap();
        let mut stdin = running.stdin.take().unwrap();
        let feed = std::thread::spawn(move || io::Write::write_all(&mut stdin, &vec![b'x'; 1 << 20]));
        assert_eq!(said(running).len(), 1 << 20);
        feed.join().unwrap().unwrap();
        let missing: Vec<String> = (0..5000).map(|n| format!("/nowhere/{n}")).collect();
        let error = cat.start(&missing, Stdio::null(), Stdio::null()).unwrap().finish().unwrap_err();
        let error = error.to_string();
        assert!(error.contains("/nowhere/4999") && error.len() < 2 * TAIL, "{error}");
    }
}
