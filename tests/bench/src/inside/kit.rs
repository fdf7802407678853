//! The floor's texts. They are taken from projects that HostKit made, with places for their values, so
//! that both sides always write the same, and a changed template changes both.

use std::{fs, path::Path};

use super::{HOSTKIT, run};
use crate::{
    Error,
    floor::{FINGERPRINT, KIT, NAME, PORT, RECORDS},
};

/// A project that was provisioned and no more.
pub(super) const EMPTY: &str = "sample-empty";
/// A project with a Node app.
pub(super) const NODE: &str = "sample-node";
/// The Node example, version 1 and 2.
pub(super) const SOURCES: [&str; 2] = ["/root/bench/node-1", "/root/bench/node-2"];

/// Makes the sample projects, and the kit from them.
pub(super) fn prepare() -> Result<(), Error> {
    fs::create_dir_all(KIT)?;
    fs::create_dir_all(RECORDS)?;
    second_version()?;
    run(&[HOSTKIT, "project", "create", EMPTY])?;
    run(&[HOSTKIT, "project", "create", NODE, "--source", SOURCES[0]])?;
    let empty = Sample::of(EMPTY)?;
    empty.keep("site-empty", &site(EMPTY))?;
    empty.keep("env-empty", &env(EMPTY))?;
    empty.keep("logrotate", &format!("/etc/logrotate.d/hostkit-{EMPTY}"))?;
    let node = Sample::of(NODE)?;
    node.keep("site-proxy", &site(NODE))?;
    node.keep("env-node", &env(NODE))?;
    node.keep("unit", &format!("/etc/systemd/system/hostkit-{NODE}.service"))?;
    // What the installation has left to write is not a measurement's.
    run(&["/bin/sync"])?;
    Ok(())
}

/// The same app, saying another version.
fn second_version() -> Result<(), Error> {
    fs::create_dir_all(SOURCES[1])?;
    for entry in fs::read_dir(SOURCES[0])? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?.replace("Version 1", "Version 2");
        fs::write(Path::new(SOURCES[1]).join(entry.file_name()), text)?;
    }
    Ok(())
}

fn site(name: &str) -> String {
    format!("/etc/nginx/sites-available/hostkit-{name}")
}

fn env(name: &str) -> String {
    format!("/home/{name}/.env")
}

/// The port of a project of HostKit's.
pub(super) fn port(name: &str) -> Result<u16, Error> {
    let text = fs::read_to_string(env(name))?;
    let port = text.lines().find_map(|line| line.strip_prefix("PORT=")).ok_or("no PORT in .env")?;
    Ok(port.trim_matches(['"', '\'']).parse()?)
}

/// A project whose texts become the kit.
struct Sample {
    name: &'static str,
    port: u16,
}

impl Sample {
    fn of(name: &'static str) -> Result<Self, Error> {
        Ok(Self { name, port: port(name)? })
    }

    /// Keeps a text with places where this project's values are.
    fn keep(&self, kind: &str, path: &str) -> Result<(), Error> {
        let text = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        let mut kept = text.replace(self.name, NAME);
        // Only where it is the port: the same digits may stand elsewhere.
        for (before, after) in [("PORT='", "'"), ("127.0.0.1:", " ")] {
            let port = self.port;
            kept = kept.replace(&format!("{before}{port}{after}"), &format!("{before}{PORT}{after}"));
        }
        if let Some(fingerprint) = fingerprint(&kept).map(str::to_owned) {
            kept = kept.replace(&fingerprint, FINGERPRINT);
        }
        fs::write(Path::new(KIT).join(kind), kept)?;
        Ok(())
    }
}

/// What a site answers on the status socket: the one thing it returns with status 200.
pub(super) fn fingerprint(site: &str) -> Option<&str> {
    let (_, rest) = site.split_once("return 200 \"")?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_of_a_site_is_found() {
        assert_eq!(fingerprint("server {\n    return 200 \"ab12\";\n}"), Some("ab12"));
        assert_eq!(fingerprint("return 503 \"not yet\";"), None);
    }
}
