//! `env edit`: the project's variables in an editor, which runs as the caller.

use std::io::Write;

use anyhow::Result;
use clap::Args;

use super::{
    Verb,
    answer::Answer,
    context::Context,
    env::{EDIT, How, alter},
    policy::Policy,
    values::too_large,
    variables::looked,
};
use crate::{
    domain::{
        env::EnvText,
        fault::{Code, Fault},
        name::ProjectName,
        secret::Secret,
    },
    operation::environment::{Terms, view},
    system::{editor, source},
    ui::say,
};

/// Edit the project's variables: with `$VISUAL`, `$EDITOR` or the system's editor
#[derive(Args, Clone, Debug)]
pub(crate) struct EditArgs {
    /// The project
    name: ProjectName,
    #[command(flatten)]
    how: How,
}

impl Verb for EditArgs {
    const NAME: &'static str = "env edit";
    const POLICY: Policy = Policy::Owner;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit env edit blog", "hostkit env edit blog --no-restart"];

    fn project(&self) -> Option<&ProjectName> {
        Some(&self.name)
    }
    fn run(self, cx: &mut Context) -> Result<Answer> {
        let name = &self.name;
        if !cx.may_ask {
            return Err(Fault::new(Code::ConfirmationNeeded, "an editor needs a terminal")
                .next(format!("hostkit env export {name} --reveal > FILE"))
                .next(format!("hostkit env import {name} FILE --replace"))
                .into());
        }
        let caller = cx.caller()?;
        let taste = cx.taste();
        let what = (name, Self::NAME, "the project's variables were opened in an editor");
        let mut seen = looked(cx, true, what, |session| view(session, name))?;
        let mut text = Secret::new(seen.part.to_string());
        loop {
            text = editor::edit(EDIT, &text, &caller, &taste, EnvText::LIMIT)?;
            let terms = Terms { seen: Some(seen.seen.clone()), ..self.how.terms(Self::NAME) };
            let done = take(cx, name, &self.how, &terms, &text);
            let Err(error) = done else { return done };
            // What somebody wrote is not thrown away over a slip.
            let fault = error.chain().find_map(|e| e.downcast_ref::<Fault>());
            let Some(fault) = fault.filter(|f| matches!(f.code, Code::InvalidValue | Code::WrongState))
            else {
                return Err(error);
            };
            say(&format!("error: {fault}"));
            let _ = write!(std::io::stderr(), "Edit again? [Y/n] ");
            if source::ask()?.to_ascii_lowercase().starts_with('n') {
                return Err(error);
            }
            // Whoever goes on has been told that somebody else changed it.
            seen = cx.look(|session| view(session, name))?;
        }
    }
}

fn take(cx: &mut Context, name: &ProjectName, how: &How, terms: &Terms, text: &Secret) -> Result<Answer> {
    if text.reveal().len() > EnvText::LIMIT {
        return Err(too_large("the environment").into());
    }
    let edited = EnvText::parse(text.reveal())?;
    alter(cx, name, how, terms, |_, rules| Ok(rules.brought(&edited)))
}
