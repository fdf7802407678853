//! The log of a pipeline, of GitHub's or GitLab's: what belongs together can be folded, and what failed is
//! marked.
//!
//! Such a log obeys lines that begin with certain signs, whoever writes them. What an application writes is
//! kept from being obeyed: on GitHub by a word that only this process knows, on GitLab because nothing of
//! it can move the cursor.

use super::{Failed, plain::Plain, say, tame};
use crate::{
    event::{Event, Ui},
    system::vault,
};

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
}

/// A log that understands some lines itself.
#[derive(Debug)]
pub struct Pipeline {
    service: Service,
    plain: Plain,
    /// What is folded at the moment, and what ends it.
    open: Option<Group>,
    count: usize,
}

#[derive(Debug)]
struct Group {
    what: String,
    /// What makes GitHub listen again, or GitLab's name of the section.
    word: String,
}

impl Pipeline {
    pub(super) fn new(service: Service) -> Self {
        Self { service, plain: Plain::new(), open: None, count: 0 }
    }

    /// What an application writes is folded, and nobody listens to it.
    fn open(&mut self, what: &str) {
        if self.open.as_ref().is_some_and(|group| group.what == what) {
            return;
        }
        self.close();
        self.count += 1;
        let word = match self.service {
            // Without a word that nobody can guess, an application could make GitHub listen again.
            Service::Github => match vault::password() {
                Ok(word) => word.reveal().to_owned(),
                Err(_) => return,
            },
            Service::Gitlab => format!("hostkit_{}", self.count),
        };
        match self.service {
            Service::Github => say(&format!("::group::{what}\n::stop-commands::{word}")),
            Service::Gitlab => say(&section("start", &word, what)),
        }
        self.open = Some(Group { what: what.to_owned(), word });
    }

    fn close(&mut self) {
        let Some(Group { word, .. }) = self.open.take() else { return };
        match self.service {
            Service::Github => say(&format!("::{word}::\n::endgroup::")),
            Service::Gitlab => say(&section("end", &word, "")),
        }
    }

    pub(super) fn end(&mut self, failed: Option<Failed<'_>>) {
        self.close();
        if let (Service::Github, Some(Failed { code, message, why, next })) = (self.service, failed) {
            let why = why.map(|why| format!("\nwhy: {why}")).unwrap_or_default();
            let next = next.map(|next| format!("\nnext: {next}")).unwrap_or_default();
            say(&format!("::error title={code}::{}", escaped(&format!("{message}{why}{next}"))));
        }
        self.plain.end();
    }
}

fn section(what: &str, name: &str, title: &str) -> String {
    // GitLab takes the time from its own clock when it is 0.
    format!("\u{1b}[0Ksection_{what}:0:{name}\r\u{1b}[0K{title}")
}

/// A message as GitHub reads it.
fn escaped(message: &str) -> String {
    let quoted = message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    tame(&quoted)
}

impl Ui for Pipeline {
    fn emit(&mut self, event: Event<'_>) {
        match event {
            Event::Output { what, .. } => {
                self.open(what);
                // The time in front of it keeps it from being a command even without the word.
                self.plain.emit(event);
            }
            Event::Warned { message } if self.service == Service::Github => {
                self.close();
                say(&format!("::warning::{}", escaped(message)));
            }
            Event::Began { .. } => self.plain.emit(event),
            event => {
                self.close();
                self.plain.emit(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_that_github_reads_as_it_was() {
        assert_eq!(escaped("100 %\nof it\r"), "100 %25%0Aof it%0D");
    }

    #[test]
    fn a_section_is_what_gitlab_folds() {
        assert_eq!(section("end", "hostkit_1", ""), "\u{1b}[0Ksection_end:0:hostkit_1\r\u{1b}[0K");
    }
}
