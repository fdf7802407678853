//! What a build wrote: shown as it comes, and kept beside the project's logs.

use std::{io::Write, time::Instant};

use anyhow::Result;

use super::{super::stage::millis, Terms};
use crate::{
    domain::{fault::Fault, release::ReleaseId, secret::Secret, veil::Veil},
    event::{Event, Ui},
    operation::{secrets, session::Session},
    project::ProjectSpec,
    system::{Attr, fs::Growing},
};

/// How many logs of builds a project keeps.
pub const KEPT: usize = 20;
/// How much of what a build writes is kept, in bytes.
const LARGEST: usize = 16 << 20;
/// A shorter secret would hide half the log.
const SHORTEST: usize = 4;

/// The log of one build, as it is being written.
pub(super) struct Diary {
    file: Growing,
    written: usize,
    /// What must not be shown: the lines of secrets.
    hidden: Veil,
}

impl Diary {
    /// Begins the log of a release's build; the oldest logs go.
    pub(super) fn open(
        session: &mut Session<'_>,
        spec: &ProjectSpec,
        id: &ReleaseId,
        terms: &Terms,
    ) -> Result<Self> {
        let mut hidden = Vec::new();
        for key in &terms.secrets {
            let value = secrets::get(session, &spec.name, key, false)?;
            // As it is written in a line, and as a tool may write it into one.
            let lines = value.reveal().lines().map(str::trim).filter(|line| line.len() >= SHORTEST);
            hidden.extend(lines.map(Secret::new));
        }
        let place = spec.name.build_logs();
        let logs = session.host.root.list(&place)?;
        for old in logs.iter().rev().skip(KEPT - 1) {
            session.host.root.remove(&place.join(old))?;
        }
        let attr = Attr { uid: 0, gid: spec.uid, mode: 0o640 };
        let file = session.host.root.append(&spec.name.build_log(id), attr)?;
        Ok(Self { file, written: 0, hidden: Veil::over_these(hidden) })
    }

    /// Notes a command that is run.
    pub(super) fn command(&mut self, line: &str) {
        self.write(&format!("$ {line}"));
    }

    /// Hears a line of a command's output.
    pub(super) fn hear(&mut self, ui: &mut dyn Ui, what: &str, line: &str) {
        let line = self.hidden.over(line);
        ui.emit(Event::Output { what, line: &line });
        if self.written < LARGEST {
            self.write(&line);
            if self.written >= LARGEST {
                self.write("… (the rest is not kept)");
            }
        }
    }

    /// A log that cannot be written is no reason to stop a build.
    fn write(&mut self, line: &str) {
        let _ = self.file.write_all(format!("{line}\n").as_bytes());
        self.written += line.len() + 1;
    }

    /// Writes how it ended.
    pub(super) fn close(mut self, session: &mut Session<'_>, began: Instant, error: Option<&anyhow::Error>) {
        let ms = millis(began);
        let seconds = format!("{}.{} s", ms / 1000, ms % 1000 / 100);
        let end = match error {
            None => format!("{DONE}{seconds}"),
            Some(error) => {
                let code = error.downcast_ref::<Fault>().map_or("INTERNAL", |fault| fault.code.text());
                let why = self.hidden.over(&format!("{error:#}").replace('\n', "; "));
                format!("{FAILED}{seconds}: {code}: {why}")
            }
        };
        self.write(&end);
        if let Err(error) = self.file.sync() {
            session.ui.emit(Event::Warned { message: &format!("the log of the build is not kept: {error}") });
        }
    }
}

/// How the last line of a log begins that ended well.
pub(super) const DONE: &str = "# built in ";
/// How the last line of one begins that did not.
pub(super) const FAILED: &str = "# failed after ";
