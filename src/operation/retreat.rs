//! Going back past a migration: what it means for the database, and who has to say yes to it.

use anyhow::{Result, bail};

use crate::{
    domain::{
        backup::BackupId,
        fault::{Code, Fault},
        name::ProjectName,
        release::ReleaseId,
    },
    operation::backup::retreat::Loss,
    store::ReleaseRow,
};

/// What becomes of the database when the code goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// It stays as it is; past a migration somebody has to have agreed to that.
    Stays {
        /// Whether somebody has.
        agreed: bool,
    },
    /// It goes back too, and what was written since is lost; somebody has to have agreed to that.
    GoesBack {
        /// Whether somebody has.
        agreed: bool,
    },
}

/// The migrations that lie between two releases.
#[derive(Clone, Debug)]
pub struct Retreat {
    /// The release that is to be live.
    pub to: ReleaseId,
    /// Releases that changed the database on the way back, the oldest first.
    pub passed: Vec<ReleaseRow>,
    /// Releases on the way forward whose changes were taken back with the database.
    pub missing: Vec<ReleaseRow>,
}

impl Retreat {
    /// From the live release to another one.
    pub fn between(releases: &[ReleaseRow], from: &ReleaseId, to: &ReleaseId) -> Self {
        let mut rows: Vec<&ReleaseRow> = releases.iter().filter(|row| row.phase.changed()).collect();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        let pick =
            |is: &dyn Fn(&ReleaseRow) -> bool| rows.iter().filter(|r| is(r)).map(|r| (*r).clone()).collect();
        Self {
            to: to.clone(),
            passed: pick(&|row| !row.phase.undone && *to < row.id && row.id <= *from),
            missing: pick(&|row| row.phase.undone && *from < row.id && row.id <= *to),
        }
    }

    /// The database as it was before the first of them.
    pub fn checkpoint(&self) -> Option<&BackupId> {
        self.passed.iter().find_map(|row| row.phase.checkpoint.as_ref())
    }

    /// What somebody has to agree to, in words; nothing when there is nothing.
    pub fn question(&self, loss: Option<&Loss>) -> Option<String> {
        let list = |rows: &[ReleaseRow]| {
            let lines = rows.iter().map(|row| format!("\n  {}  {}", row.id, row.phase.tools()));
            lines.collect::<String>()
        };
        let to = &self.to;
        if !self.missing.is_empty() {
            let list = list(&self.missing);
            return Some(format!(
                "migrations that `{to}` expects were taken back with the database; deploy it again to run them{list}"
            ));
        }
        if self.passed.is_empty() {
            return None;
        }
        let mut text = format!("the database was changed since `{to}`{}", list(&self.passed));
        match loss {
            None => text.push_str("\nit stays as it is now, and that release was built before"),
            Some(loss) => text.push_str(&loss.words()),
        }
        Some(text)
    }

    /// Refuses what nobody has agreed to.
    pub fn require(&self, name: &ProjectName, data: Data, loss: Option<&Loss>) -> Result<()> {
        let agreed = match data {
            Data::Stays { agreed } | Data::GoesBack { agreed } => agreed,
        };
        let Some(question) = self.question(loss).filter(|_| !agreed) else { return Ok(()) };
        let to = &self.to;
        let fault = Fault::new(Code::ConfirmationNeeded, question);
        if !self.missing.is_empty() {
            bail!(fault.next(format!("hostkit rollback {name} {to} --yes")))
        }
        let with =
            format!("hostkit rollback {name} {to} --with-db --yes    # what was written since is lost");
        match data {
            Data::Stays { .. } => bail!(
                fault
                    .next(format!("hostkit rollback {name} {to} --yes    # the code alone goes back"))
                    .next(with)
            ),
            Data::GoesBack { .. } => bail!(fault.next(with)),
        }
    }

    /// The checkpoint to take the database back to, or why there is none.
    pub fn require_checkpoint(&self, name: &ProjectName) -> Result<&BackupId> {
        if self.passed.is_empty() {
            let message =
                format!("no migration ran between `{}` and what is live; the database can stay", self.to);
            bail!(Fault::new(Code::WrongState, message).next(format!("hostkit rollback {name} {}", self.to)))
        }
        self.checkpoint().ok_or_else(|| {
            Fault::new(Code::BackupNotFound, "no checkpoint was made before the database was changed")
                .next(format!("hostkit backup list {name}"))
                .into()
        })
    }
}
