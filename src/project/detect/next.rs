//! Next.js applications, built before they come here.

use super::{DefaultStart, Notes};
use crate::domain::fault::{Code, Fault};
use crate::domain::files::Files;

const CLI: &str = "node_modules/next/dist/bin/next";
const BUILD: &str = ".next/BUILD_ID";

pub(super) fn default_start(files: &dyn Files, notes: &mut Notes) -> Result<DefaultStart, Fault> {
    if files.is_file("server.js") {
        notes.why("server.js is there, as in the standalone output of Next.js");
        standalone(files, "", notes);
        return Ok(DefaultStart::in_app(&["node", "server.js"]));
    }
    if files.is_file(".next/standalone/server.js") {
        notes.why(".next/standalone/server.js is there");
        standalone(files, ".next/standalone/", notes);
        return Ok(DefaultStart::in_app(&["node", ".next/standalone/server.js"]));
    }
    if files.is_file(BUILD) && files.is_file(CLI) {
        notes.why(format!("{BUILD} and {CLI} are there"));
        return Ok(DefaultStart::in_app(&["node", CLI, "start", "-H", "127.0.0.1", "-p", "${PORT}"]));
    }
    let missing = if files.is_file(BUILD) {
        format!("a build is there ({BUILD}), but not {CLI} to serve it")
    } else {
        "its build output is not in the source, and nothing is built here yet".to_owned()
    };
    Err(Fault::new(
        Code::InvalidSource,
        format!("this Next.js application cannot be started: {missing}; looked for server.js, .next/standalone/server.js, and {BUILD} with {CLI}"),
    )
    .next("set output: 'standalone' in next.config, run `next build`, and send .next/standalone with .next/static in it")
    .next("or run `next build`, and send the project with .next and node_modules"))
}

/// Warns about what the standalone output leaves to whoever copies it.
fn standalone(files: &dyn Files, dir: &str, notes: &mut Notes) {
    if !files.is_file(&format!("{dir}{BUILD}")) {
        notes.warn(format!("{dir}{BUILD} is not there: server.js does not look like a build of Next.js"));
    } else if !files.is_dir(&format!("{dir}.next/static")) {
        notes.warn(format!(
            "{dir}.next/static is not there: styles and scripts will be missing; copy it from .next/static"
        ));
    }
    // Its server reads HOSTNAME, and listens everywhere without it.
    notes.warn("the standalone server listens on every address unless HOSTNAME=127.0.0.1 is in .env");
}
