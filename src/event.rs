//! What operations say while they work. Listeners choose the words.

use serde::{Deserialize, Serialize};

use crate::plan::{Action, Plan};

/// Something that happened, or is about to.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// This will be done.
    Planned {
        /// The steps.
        plan: &'a Plan,
    },
    /// Work that takes a while has begun: receiving, checking, restarting.
    Began {
        /// What, in a word or two.
        what: &'a str,
        /// On what.
        detail: &'a str,
    },
    /// A piece of work is done.
    Stepped {
        /// What was done.
        action: Action,
        /// What it is called: its kind, or what is done with it.
        kind: &'a str,
        /// Its name.
        name: &'a str,
        /// How long it took, in milliseconds.
        ms: u64,
    },
    /// Work other than a step is done.
    Finished {
        /// What, in a word or two.
        what: &'a str,
        /// With what result.
        detail: &'a str,
        /// How long it took, in milliseconds.
        ms: u64,
    },
    /// A line that the application's own programs wrote: of a build, of a migration. Whoever shows it
    /// makes it harmless first: nothing in it is to be believed or obeyed.
    Output {
        /// The work it comes from, as its `Began` and `Finished` name it.
        what: &'a str,
        /// The line, without its end.
        line: &'a str,
    },
    /// An operation that was interrupted is being undone.
    Recovering {
        /// Its number.
        operation: i64,
        /// What it was.
        verb: &'a str,
    },
    /// The current operation failed and is being undone.
    Undoing,
    /// Something the user should know.
    Warned {
        /// What, as a sentence.
        message: &'a str,
    },
}

/// An event that somebody else heard and wrote down.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are those of `Event`")]
pub enum Heard {
    /// See [`Event::Began`].
    Began { what: String, detail: String },
    /// See [`Event::Stepped`].
    Stepped { action: Action, kind: String, name: String, ms: u64 },
    /// See [`Event::Finished`].
    Finished { what: String, detail: String, ms: u64 },
    /// See [`Event::Output`].
    Output { what: String, line: String },
    /// See [`Event::Recovering`].
    Recovering { operation: i64, verb: String },
    /// See [`Event::Undoing`].
    Undoing,
    /// See [`Event::Warned`].
    Warned { message: String },
    /// One that is not for others, or of another version of HostKit.
    #[serde(other)]
    Other,
}

impl Heard {
    /// Tells it on.
    pub fn tell(&self, ui: &mut dyn Ui) {
        ui.emit(match self {
            Self::Began { what, detail } => Event::Began { what, detail },
            Self::Stepped { action, kind, name, ms } => {
                Event::Stepped { action: *action, kind, name, ms: *ms }
            }
            Self::Finished { what, detail, ms } => Event::Finished { what, detail, ms: *ms },
            Self::Output { what, line } => Event::Output { what, line },
            Self::Recovering { operation, verb } => Event::Recovering { operation: *operation, verb },
            Self::Undoing => Event::Undoing,
            Self::Warned { message } => Event::Warned { message },
            Self::Other => return,
        });
    }
}

/// Somebody who listens to events.
pub trait Ui {
    /// Hears an event. Never fails: a listener that has gone must not stop an operation.
    fn emit(&mut self, event: Event<'_>);
}

/// Nobody listens.
#[derive(Debug)]
pub struct Silent;

impl Ui for Silent {
    fn emit(&mut self, _: Event<'_>) {}
}
