//! Having somebody edit a text, as themselves: an editor can start a shell, and must not start root's.
//!
//! A child of this program does all of it with the caller's permissions: it makes the private file,
//! runs the editor, reads the file and removes it. So root touches nothing in a place of theirs.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use zeroize::Zeroizing;

use super::{exec, invoker::Caller, source::take, vault};
use crate::domain::{
    fault::{Code, Fault},
    secret::Secret,
};

/// Where everybody may make a private directory.
const PLACE: &str = "/tmp";
/// What is tried when nobody says which editor they like.
const EDITORS: [&str; 4] = ["sensible-editor", "editor", "nano", "vi"];

/// What the caller says about editors.
#[derive(Clone, Debug, Default)]
pub struct Taste {
    /// The editor, with its arguments.
    pub editor: Option<String>,
    /// The terminal's kind.
    pub term: Option<String>,
}

/// The text after `caller` has edited it; at most a little more than `limit` bytes of it. `verb` is the
/// hidden command that calls [`serve`].
pub fn edit(verb: &str, text: &Secret, caller: &Caller, taste: &Taste, limit: usize) -> Result<Secret> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args([verb, "--"]).args(words(taste)?).env_clear().env("PATH", exec::PATH);
    command.env("LANG", "C.UTF-8").env("TERM", taste.term.as_deref().unwrap_or("dumb"));
    if let Some(user) = users::get_user_by_uid(caller.uid) {
        command.env("HOME", users::os::unix::UserExt::home_dir(&user)).env("USER", user.name());
    }
    if caller.privileged && caller.uid != 0 {
        // The standard library also gives up the supplementary groups.
        command.uid(caller.uid).gid(caller.gid);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("starting an editor")?;
    let mut stdin = child.stdin.take().context("its standard input")?;
    let fed = stdin.write_all(text.reveal().as_bytes());
    drop(stdin);
    let mut stdout = child.stdout.take().context("its standard output")?;
    let edited = take(&mut stdout, limit)?;
    drop(stdout);
    let status = child.wait().context("waiting for the editor")?;
    fed.context("giving the editor its text")?;
    if !status.success() {
        return Err(Fault::new(Code::Interrupted, "the editor failed; nothing was taken over")
            .next("EDITOR=nano sudo --preserve-env=EDITOR hostkit env edit NAME")
            .into());
    }
    let edited = std::str::from_utf8(&edited)
        .map_err(|_| Fault::new(Code::InvalidValue, "what was edited is not UTF-8"))?;
    Ok(Secret::new(edited))
}

/// The editor that is asked for, word by word. No shell reads it.
fn words(taste: &Taste) -> Result<Vec<String>> {
    let Some(editor) = taste.editor.as_deref().filter(|editor| !editor.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    let refused =
        || Fault::new(Code::InvalidValue, "`EDITOR` cannot be understood").next("export EDITOR=nano");
    Ok(shell_words::split(editor).map_err(|_| refused())?)
}

/// The child's work: standard input is the text, standard output what became of it.
pub fn serve(words: &[std::ffi::OsString]) -> bool {
    match work(words) {
        Ok(()) => true,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error:#}");
            false
        }
    }
}

/// A directory that nobody else can look into; it goes with this value.
struct Private(PathBuf);

impl Drop for Private {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn work(words: &[std::ffi::OsString]) -> Result<()> {
    let mut text = Zeroizing::new(Vec::new());
    io::stdin().read_to_end(&mut text).context("reading the text")?;
    let mark: String = vault::random::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let private = Private(Path::new(PLACE).join(format!("hostkit-{mark}")));
    DirBuilder::new().mode(0o700).create(&private.0).context("making a private directory")?;
    let path = private.0.join("env");
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    made.and_then(|mut file| file.write_all(&text)).context("writing a private file")?;
    let (program, arguments) = match words.split_first() {
        Some((first, rest)) => (exec::locate(&first.to_string_lossy()), rest),
        None => (EDITORS.iter().find_map(|name| exec::locate(name)), words),
    };
    let program = program.context("there is no such editor; name one in `EDITOR`")?;
    // Standard input and output are taken; the editor wants the terminal.
    let terminal =
        || OpenOptions::new().read(true).write(true).open("/dev/tty").context("opening the terminal");
    let mut command = Command::new(program);
    command.args(arguments).arg(&path).stdin(terminal()?).stdout(terminal()?).stderr(terminal()?);
    let status = command.status().context("running the editor")?;
    ensure!(status.success(), "the editor ended with {status}");
    // An editor may write a new file in the place of the old one.
    text.clear();
    let file = File::open(&path).and_then(|mut file| file.read_to_end(&mut text));
    file.context("reading what was edited")?;
    io::stdout().write_all(&text).context("handing on what was edited")
}
