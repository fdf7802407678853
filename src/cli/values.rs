//! Values as callers give them: on the command line, on standard input, or typed unseen.

use std::{ffi::OsString, fmt, io::Write};

use anyhow::{Context as _, Result};

use super::context::Context;
use crate::{
    domain::{
        env::{EnvKey, EnvText, mask},
        fault::{Code, Fault},
        secret::Secret,
    },
    system::source,
};

/// `KEY=VALUE` or `KEY`, as it was typed. What is wrong with it is said without its value.
#[derive(Clone)]
pub(super) struct Pair {
    name: String,
    /// `None` when there is no `=`; an error when the value is no text.
    value: Option<Result<Secret, ()>>,
}

impl Pair {
    pub(super) fn of(typed: OsString) -> Self {
        let lossy = typed.to_string_lossy();
        let (name, value) = match lossy.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&*lossy, None),
        };
        let text = typed.to_str().is_some();
        let value = value.map(|value| if text { Ok(Secret::new(value)) } else { Err(()) });
        Self { name: name.to_owned(), value }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Variables with their values.
pub(super) type Values = Vec<(EnvKey, Secret)>;

/// The values of these variables, and what to warn of: as typed behind the `=`, from standard input, or asked for. `again` is
/// how to give a value that was not given.
pub(super) fn gather(
    cx: &Context,
    pairs: &[Pair],
    stdin: bool,
    again: &str,
) -> Result<(Values, Vec<String>)> {
    let mut found = Values::new();
    let mut warnings = Vec::new();
    let bare = pairs.iter().filter(|pair| pair.value.is_none()).count();
    if stdin && (bare != 1 || pairs.len() != 1) {
        return Err(Fault::new(Code::Usage, "`--stdin` gives one variable its value: name it, without `=`")
            .next(again)
            .into());
    }
    for pair in pairs {
        let key: EnvKey = pair.name.parse()?;
        let again = again.replace("KEY", key.as_str());
        if found.iter().any(|(other, _)| *other == key) {
            return Err(Fault::new(Code::InvalidValue, format!("`{key}` is given twice")).next(again).into());
        }
        let value = match &pair.value {
            Some(Ok(value)) => {
                if mask::is_secret(&key, value.reveal()) {
                    warnings.push(format!(
                        "the value of `{key}` was on the command line, where others can see it; next time: {again}"
                    ));
                }
                value.clone()
            }
            Some(Err(())) => return Err(no_text(&key).into()),
            None if stdin => one_line_less(read_stdin(&key)?),
            None if cx.may_ask => {
                // A terminal that is gone answers nothing.
                let _ = write!(std::io::stderr(), "{key}: ");
                source::ask_unseen()?
            }
            None => {
                return Err(Fault::new(Code::ConfirmationNeeded, format!("`{key}` has no value"))
                    .next(again)
                    .into());
            }
        };
        found.push((key, value));
    }
    Ok((found, warnings))
}

fn no_text(key: &EnvKey) -> Fault {
    Fault::new(Code::InvalidValue, format!("the value of `{key}` is not UTF-8"))
        .next("encode it, with `base64` for example, and have the application decode it")
}

fn read_stdin(key: &EnvKey) -> Result<Secret> {
    let bytes = source::read_stdin(EnvText::LIMIT).context("reading the value")?;
    if bytes.len() > EnvText::LIMIT {
        return Err(too_large(&format!("the value of `{key}`")).into());
    }
    Ok(Secret::new(std::str::from_utf8(&bytes).map_err(|_| no_text(key))?))
}

/// Without the newline that `echo` adds.
fn one_line_less(value: Secret) -> Secret {
    match value.reveal().strip_suffix('\n') {
        Some(line) => Secret::new(line),
        None => value,
    }
}

/// What is refused because of its size.
pub(super) fn too_large(what: &str) -> Fault {
    let limit = EnvText::LIMIT / 1024;
    Fault::new(Code::InvalidValue, format!("{what} is larger than {limit} KiB"))
        .next("put large values into a file in the project's `shared` directory")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_pair_shows_its_name_and_never_its_value() {
        let pair = Pair::of("A=hunter2=x".into());
        assert!(!format!("{pair:?}").contains("hunter2"));
        assert_eq!(pair.value.unwrap().unwrap().reveal(), "hunter2=x");
        assert!(Pair::of("A".into()).value.is_none());
        assert_eq!(Pair::of("A=".into()).value.unwrap().unwrap().reveal(), "");
        assert!(Pair::of(OsString::from_vec(b"A=\xff".to_vec())).value.unwrap().is_err());
    }
}
