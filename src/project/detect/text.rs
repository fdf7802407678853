//! Looking for one setting in a file whose language is not understood.

use crate::domain::shared_dir::SharedDir;

/// What stands as a string behind `key:` or `key =` in a configuration written in JavaScript. Lines that
/// are comments do not count; anything but a plain string is not seen.
pub(super) fn setting<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let value = value(text, key)?;
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    value[1..].split_once(quote).map(|(inside, _)| inside).filter(|inside| !inside.contains('\n'))
}

/// Whether `key: true` or `key: false` stands there, and which.
pub(super) fn flag(text: &str, key: &str) -> Option<bool> {
    let value = value(text, key)?;
    match value {
        _ if value.starts_with("true") => Some(true),
        _ if value.starts_with("false") => Some(false),
        _ => None,
    }
}

fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.match_indices(key).find_map(|(at, _)| {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let before = text[line..at].trim_start();
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
        if before.starts_with("//") || before.starts_with('*') || before.ends_with(word) {
            return None;
        }
        let after = text[at + key.len()..].trim_start_matches(['\'', '"']).trim_start();
        Some(after.strip_prefix([':', '='])?.trim_start())
    })
}

/// What stands behind `key:` at the beginning of a line of YAML.
pub(super) fn yaml<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().trim_matches(['\'', '"']))
}

/// A directory of the release that a file names, or else the usual one.
pub(super) fn directory(named: Option<&str>, usual: &str) -> String {
    let inside = |dir: &str| dir.trim_start_matches("./").parse::<SharedDir>().ok();
    named.and_then(inside).map_or_else(|| usual.to_owned(), |dir| dir.as_str().to_owned())
}

/// The name that `NAME = CLASS(` gives an object in Python, at the beginning of a line.
pub(super) fn object<'t>(text: &'t str, class: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        // `app: FastAPI = FastAPI(` says its type as well.
        let name = name.split(':').next().unwrap_or_default();
        if name.starts_with([' ', '\t']) {
            return None;
        }
        let name = name.trim();
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let value = value.trim_start();
        let value = value.rsplit_once(&format!(".{class}(")).map_or(value, |_| class);
        let called = value == class || value.strip_prefix(class).is_some_and(|rest| rest.starts_with('('));
        (plain && called).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_and_a_comment_is_none() {
        for (text, expected) in [
            ("export default { output: 'standalone' }", Some("standalone")),
            ("  \"output\" : \"export\",", Some("export")),
            ("// output: 'export'\n output: `server`", Some("server")),
            ("module.exports.output = 'x'", None),
            ("output: process.env.X", None),
            ("myoutput: 'a'", None),
        ] {
            assert_eq!(setting(text, "output"), expected, "{text}");
        }
        assert_eq!(flag("export default { ssr: false } satisfies Config", "ssr"), Some(false));
        assert_eq!(yaml("a: 1\nyarnPath: .yarn/yarn.cjs\n", "yarnPath"), Some(".yarn/yarn.cjs"));
    }

    #[test]
    fn the_object_of_a_class_is_named() {
        assert_eq!(object("import x\napp = FastAPI(title='a')\n", "FastAPI"), Some("app"));
        assert_eq!(object("api: FastAPI = fastapi.FastAPI()", "FastAPI"), Some("api"));
        assert_eq!(object("    app = Flask(__name__)", "Flask"), None);
        assert_eq!(object("app = Flasky()", "Flask"), None);
    }
}
