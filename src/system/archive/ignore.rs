//! Files that are left out of what is packed: `.gitignore` and `.hostkitignore`, as git reads them.
//!
//! A pattern without a slash fits a name at any depth below its file; one with a slash fits a path from
//! there. A later pattern takes back an earlier one, `!` brings back what was left out, and what lies in
//! a directory that is left out is not looked at.

/// The names of the files, in the order in which they count.
pub(super) const GIT: &str = ".gitignore";
pub(super) const OWN: &str = ".hostkitignore";

/// The largest file that is read, in bytes.
pub(super) const LIMIT: usize = 256 * 1024;

/// One line of such a file.
#[derive(Debug)]
struct Pattern {
    /// The parts between slashes.
    parts: Vec<Vec<u8>>,
    /// Whether it brings back.
    negated: bool,
    /// Whether it fits directories only.
    directories: bool,
}

/// The patterns of one directory.
#[derive(Debug, Default)]
struct Level {
    /// The length of the directory's path, the slash behind it included.
    base: usize,
    patterns: Vec<Pattern>,
}

/// The patterns of the directories from the root to the one at hand.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    levels: Vec<Level>,
}

impl Ignored {
    /// Enters a directory with what its files say.
    pub(super) fn enter(&mut self, path: &[u8], texts: &[Vec<u8>]) {
        let base = if path.is_empty() { 0 } else { path.len() + 1 };
        let lines = texts.iter().flat_map(|text| text.split(|byte| *byte == b'\n'));
        self.levels.push(Level { base, patterns: lines.filter_map(Pattern::parse).collect() });
    }

    /// Leaves the directory that was entered last.
    pub(super) fn leave(&mut self) {
        self.levels.pop();
    }

    /// Whether this path is left out: the last pattern that fits decides.
    pub(super) fn leaves_out(&self, path: &[u8], directory: bool) -> bool {
        for level in self.levels.iter().rev() {
            let below = &path[level.base..];
            let parts: Vec<&[u8]> = below.split(|byte| *byte == b'/').collect();
            let fits =
                |pattern: &&Pattern| (directory || !pattern.directories) && fits(&pattern.parts, &parts);
            if let Some(pattern) = level.patterns.iter().rev().find(fits) {
                return !pattern.negated;
            }
        }
        false
    }
}

impl Pattern {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut line = line.strip_suffix(b"\r").unwrap_or(line);
        // Blanks at the end mean nothing, unless the last is escaped.
        while line.ends_with(b" ") && !line.ends_with(b"\\ ") {
            line = &line[..line.len() - 1];
        }
        if line.is_empty() || line.starts_with(b"#") {
            return None;
        }
        let negated = line.starts_with(b"!");
        let line = if negated { &line[1..] } else { line };
        let directories = line.ends_with(b"/");
        let line = line.strip_suffix(b"/").unwrap_or(line);
        let anchored = line.contains(&b'/');
        let line = line.strip_prefix(b"/").unwrap_or(line);
        let mut parts: Vec<Vec<u8>> = line.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        if !anchored {
            parts.insert(0, b"**".to_vec());
        }
        // More than any path has would only cost time.
        (!line.is_empty() && parts.len() <= 64).then_some(Self { parts, negated, directories })
    }
}

/// Whether the parts of a pattern fit the names of a path; `**` fits any number of them. Only the last
/// `**` is ever tried again: whatever fits further on also fits where an earlier one ended sooner.
fn fits(pattern: &[Vec<u8>], names: &[&[u8]]) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    while here < names.len() {
        match pattern.get(at) {
            Some(part) if part == b"**" => {
                // At the end it fits everything inside, but not the directory itself.
                if at + 1 == pattern.len() {
                    return true;
                }
                again = Some((at + 1, here));
                at += 1;
                continue;
            }
            Some(part) if glob(part, names[here]) => {
                (at, here) = (at + 1, here + 1);
                continue;
            }
            _ => {}
        }
        let Some((part, from)) = again else { return false };
        again = Some((part, from + 1));
        (at, here) = (part, from + 1);
    }
    at == pattern.len()
}

/// Whether a pattern fits one name: `*`, `?`, `[a-z]` and `\` mean what they mean to git.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    // Where to go on when what was tried since the last `*` does not fit.
    let mut again: Option<(usize, usize)> = None;
    while here < name.len() {
        if pattern.get(at) == Some(&b'*') {
            again = Some((at + 1, here));
            at += 1;
        } else if let Some(length) = one(&pattern[at..], name[here]) {
            at += length;
            here += 1;
        } else if let Some((star, from)) = again {
            again = Some((star, from + 1));
            (at, here) = (star, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How long the beginning of a pattern is that fits this byte; `None` when it does not.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => {
            let negated = rest.first().is_some_and(|first| matches!(first, b'!' | b'^'));
            let skipped = usize::from(negated);
            // A bracket right at the beginning is one of the characters.
            let end = rest.iter().skip(skipped + 1).position(|byte| *byte == b']')? + skipped + 1;
            let mut class = &rest[skipped..end];
            let mut found = false;
            while let Some((first, more)) = class.split_first() {
                class = more;
                if let [b'-', last, more @ ..] = class {
                    found |= (*first..=*last).contains(&byte);
                    class = more;
                } else {
                    found |= *first == byte;
                }
            }
            (found != negated).then_some(end + 2)
        }
        [first, ..] => (*first == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str, path: &str) -> bool {
        let mut ignored = Ignored::default();
        ignored.enter(b"", &[text.as_bytes().to_vec()]);
        let (path, directory) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        ignored.leaves_out(path.as_bytes(), directory)
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        for (text, path, expected) in [
            ("node_modules", "node_modules/", true),
            ("node_modules/", "web/node_modules/", true),
            ("node_modules/", "node_modules", false),
            ("/dist", "web/dist/", false),
            ("/dist", "dist/", true),
            ("web/dist", "web/dist/", true),
            ("web/dist", "a/web/dist/", false),
            ("*.log", "logs/a.log", true),
            ("*.log\n!keep.log", "keep.log", false),
            ("# *.log", "a.log", false),
            ("\\#x", "#x", true),
            ("**/cache", "a/b/cache/", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**", "a/", false),
            ("a/**", "a/x", true),
            (".env*", ".env.local", true),
            (".env*\n!.env.example", ".env.example", false),
            ("[a-c]?.txt", "b1.txt", true),
            ("[!a-c]1.txt", "b1.txt", false),
            ("[]x]", "]", true),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--b--", false),
            ("x \r", "x", true),
            ("x\\ ", "x ", true),
            ("/*\n!/src", "src/", false),
            ("/*\n!/src", "other", true),
            ("/", "a", false),
        ] {
            assert_eq!(out(text, path), expected, "{text:?} {path:?}");
        }
    }

    #[test]
    fn a_file_further_down_counts_first_and_only_there() {
        let mut ignored = Ignored::default();
        ignored.enter(b"", &[b"*.txt\n".to_vec()]);
        ignored.enter(b"docs", &[b"!a.txt\n/b\n".to_vec()]);
        assert!(!ignored.leaves_out(b"docs/a.txt", false) && ignored.leaves_out(b"docs/z.txt", false));
        assert!(ignored.leaves_out(b"docs/b", false) && !ignored.leaves_out(b"docs/x/b", false));
        ignored.leave();
        assert!(ignored.leaves_out(b"docs/a.txt", false) && !ignored.leaves_out(b"b", false));
    }

    #[test]
    fn a_pattern_that_could_take_for_ever_does_not() {
        let text = "**/".repeat(30) + "a*a*a*a*a*a*a*b";
        let path = "a/".repeat(30) + &"a".repeat(200);
        assert!(!out(&text, &path));
    }
}
