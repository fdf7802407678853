//! Static sites: the directory that holds `index.html`.

use super::Notes;
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

/// The directory to serve; `None` is the source itself.
pub(super) fn root(files: &dyn Files, notes: &mut Notes) -> Result<Option<String>, Fault> {
    let Some(found) = find(files) else {
        let looked: Vec<_> = ROOTS.iter().map(|root| index(root)).collect();
        return Err(Fault::new(
            Code::NothingDetected,
            format!("a static site needs a page to begin with; looked for {}", looked.join(", ")),
        )
        .next("build the site first, and send what the build makes"));
    };
    notes.why(format!("{} is there", index(found)));
    let unused = ROOTS.iter().filter(|root| **root != found && files.is_file(&index(root)));
    for other in unused {
        notes.warn(format!(
            "{} is served and not {}; send only that directory if it is the site",
            index(found),
            index(other)
        ));
    }
    Ok((!found.is_empty()).then(|| found.to_owned()))
}
