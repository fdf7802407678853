//! Static sites: the directory that holds `index.html`.

use super::draft::Draft;
use super::{Framework, Runtime};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;

/// Where a site may be, in the order in which they count; the source itself first.
pub(super) const ROOTS: &[&str] = &["", "public", "dist", "build"];

/// The page of a directory.
pub(super) fn index(root: &str) -> String {
    if root.is_empty() { "index.html".to_owned() } else { format!("{root}/index.html") }
}

/// The directory a site is in.
pub(super) fn find(files: &dyn Files) -> Option<&'static str> {
    ROOTS.iter().copied().find(|root| files.is_file(&index(root)))
}

/// Pages that are there.
#[expect(clippy::unnecessary_wraps, reason = "a row like all others")]
pub(super) fn site(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    let Some(found) = find(files) else { return Ok(None) };
    let mut draft = Draft::new(Framework::Static, Runtime::Static).serves(found, false);
    draft.recipe.framework.clear();
    draft.notes.why(format!("{} is there", index(found)));
    for other in ROOTS.iter().filter(|root| **root != found && files.is_file(&index(root))) {
        draft.notes.warn(format!(
            "{} is served and not {}; send only that directory if it is the site",
            index(found),
            index(other)
        ));
    }
    Ok(Some(draft))
}

/// The fault for a source that was to be a site and has no page.
pub(super) fn missing() -> Fault {
    let looked: Vec<_> = ROOTS.iter().map(|root| index(root)).collect();
    Fault::new(
        Code::NothingDetected,
        format!("a static site needs a page to begin with; looked for {}", looked.join(", ")),
    )
    .next("build the site first, and send what the build makes")
    .next("or say what makes it, in hostkit.toml: build = \"…\", output = \"…\"")
}
