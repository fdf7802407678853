//! States of different rounds made comparable: numbers that are never given out twice, and release names,
//! become the same words in each.

use crate::snapshot::Snapshot;

// Files that hold the number have another digest with every number; the accounts are compared as
// text.
const WITH_NUMBER: [&str; 6] = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"];

/// The state with the account number of a project replaced by a word.
pub(super) fn without_numbers(state: &Snapshot, name: &str) -> Snapshot {
    let entry = format!("passwd {name}:");
    let uid = state.lines().find_map(|line| line.strip_prefix(&entry)?.split(':').nth(1));
    let Some(uid) = uid.map(str::to_owned) else { return state.clone() };
    state.map(|line| {
        let hashed = WITH_NUMBER.iter().any(|file| line.starts_with(&format!("file /etc/{file} ")));
        // The hour of a project's backups is chosen by its number.
        if line.starts_with("file ") && line.contains("_backup.timer ") && !line.contains(" link ") {
            return line.rsplit_once(' ').map(|(stem, _)| stem.to_owned());
        }
        // nginx knows no accounts, but numbers that may be the same.
        let other = line.starts_with("nginx ");
        (!hashed).then(|| if other { line.to_owned() } else { without(line, &uid) })
    })
}

/// The line with a number replaced by a word wherever it stands alone; years in the names of
/// certificates are not account numbers.
fn without(line: &str, number: &str) -> String {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(number) {
        let (head, tail) = (&rest[..at], &rest[at + number.len()..]);
        let before = if head.is_empty() { out.chars().next_back() } else { head.chars().next_back() };
        let alone = !joins(before) && !joins(tail.chars().next());
        out.push_str(head);
        out.push_str(if alone { "UID" } else { number });
        rest = tail;
    }
    out + rest
}

/// The state with the releases of a project named by their rank, and without their contents and those that
/// were pruned.
pub(super) fn by_rank(state: &Snapshot, name: &str) -> Snapshot {
    let below = format!("file /home/{name}/releases/");
    let mut ids: Vec<String> = state.lines().filter_map(|line| id_of(line.strip_prefix(&below)?)).collect();
    ids.sort();
    ids.dedup();
    state.map(|line| {
        let mut line = line.to_owned();
        if line.starts_with(&below) && !line.contains(" dir") {
            // Path, mode and owner stay; the digest of a file that says its version does not.
            line = line.rsplit_once(' ').map_or(line.clone(), |(stem, _)| stem.to_owned());
        }
        for (rank, id) in ids.iter().enumerate() {
            line = line.replace(id.as_str(), &format!("R{rank}"));
        }
        let pruned = line.starts_with("registry") && has_id(&line);
        (!pruned).then_some(line)
    })
}

/// The release name at the beginning of a path.
fn id_of(path: &str) -> Option<String> {
    let word = path.trim_start_matches('.').get(..15)?;
    is_id(word).then(|| word.to_owned())
}

fn has_id(line: &str) -> bool {
    (0..line.len()).any(|at| line.get(at..at + 15).is_some_and(is_id))
}

fn is_id(word: &str) -> bool {
    word.len() == 15
        && word.bytes().enumerate().all(|(i, b)| if i == 8 { b == b'-' } else { b.is_ascii_digit() })
}
