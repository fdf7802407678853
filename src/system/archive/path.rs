//! The grammar of paths inside an archive.

use super::{Limits, quoted, refuse};
use crate::domain::fault::{Code, Fault};

/// A path that stays inside whatever it is joined to: names joined by `/`, empty for the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InnerPath {
    pub(super) text: String,
    /// Whether it was written with a slash at its end, as directories are.
    pub(super) trailing_slash: bool,
}

impl InnerPath {
    /// Checks the bytes an archive gives for a path. A leading `./` means nothing and goes.
    pub(super) fn parse(raw: &[u8], limits: &Limits) -> Result<Self, Fault> {
        let text = text(raw, limits)?;
        if text.is_empty() {
            return Err(refuse(text, "is an entry without a name"));
        }
        if text.starts_with('/') {
            return Err(refuse(text, "is an absolute path"));
        }
        let mut names = Vec::new();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => return Err(refuse(text, "leads out of the archive with `..`")),
                _ if name.len() > limits.component => {
                    return Err(refuse(text, format!("holds a name longer than {} bytes", limits.component)));
                }
                _ => names.push(name),
            }
        }
        if names.len() > limits.depth {
            return Err(refuse(text, format!("is more than {} directories deep", limits.depth)));
        }
        Ok(Self { text: names.join("/"), trailing_slash: text.ends_with('/') })
    }

    /// Whether any name in it is exactly this one; gives the path up to there.
    pub(super) fn up_to(&self, name: &str) -> Option<&str> {
        let mut end = 0;
        for part in self.text.split('/') {
            end += part.len();
            if part == name {
                return Some(&self.text[..end]);
            }
            end += 1;
        }
        None
    }
}

/// Bytes of a path or of the target of a link as text: short enough, UTF-8, nothing unprintable.
pub(super) fn text<'a>(raw: &'a [u8], limits: &Limits) -> Result<&'a str, Fault> {
    let shown = || String::from_utf8_lossy(&raw[..raw.len().min(200)]).into_owned();
    if raw.len() > limits.path {
        return Err(refuse(&shown(), format!("is a path longer than {} bytes", limits.path)));
    }
    let text = std::str::from_utf8(raw).map_err(|_| refuse(&shown(), "is a path that is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(refuse(text, "holds control characters"));
    }
    Ok(text)
}

/// Splits a path into the directory and the name in it.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The fault for an archive that holds too much of something.
pub(super) fn too_much(what: &str, path: &str) -> Fault {
    Fault::new(
        Code::InvalidSource,
        format!("the archive is refused: {what} (the limit is passed at {})", quoted(path)),
    )
}
