//! Who may read what of a sealed tree.
//!
//! Root owns everything and the project's group reads it. A part may be for the web server too, which is in
//! no such group. Only it gets as far as the tree at all, so what it may read is for everybody: the
//! directories on the way may be passed through, and what lies in that part may be read; but no text of a
//! program that php-fpm runs, and nothing that is hidden.

/// The mode of a directory.
pub(super) fn of_directory(path: &str, public: Option<&str>) -> u32 {
    let Some(root) = public else { return 0o750 };
    if is_below(root, path) || is_below(path, root) && !is_hidden(path) { 0o751 } else { 0o750 }
}

/// The mode of a file.
pub(super) fn of_file(path: &str, executable: bool, public: Option<&str>) -> u32 {
    let own = if executable { 0o750 } else { 0o640 };
    let is_program = path.rsplit_once('.').is_some_and(|(_, end)| {
        let end = end.to_ascii_lowercase();
        end.starts_with("php") || end == "phtml" || end == "inc"
    });
    let shown = public.is_some_and(|root| is_below(path, root)) && !is_program && !is_hidden(path);
    if shown { own | 0o004 } else { own }
}

/// Whether `path` is `root` or lies in it.
fn is_below(path: &str, root: &str) -> bool {
    root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with('.') && part != ".well-known")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_public_part_only_the_group_reads() {
        assert_eq!(of_directory("public", None), 0o750);
        assert_eq!(of_file("public/style.css", false, None), 0o640);
        assert_eq!(of_file("bin/serve", true, None), 0o750);
    }

    #[test]
    fn the_public_part_is_read_and_the_way_there_passed_through() {
        let public = Some("web/public");
        for way in ["", "web", "web/public", "web/public/css", "web/public/.well-known"] {
            assert_eq!(of_directory(way, public), 0o751, "{way}");
        }
        for closed in ["config", "web/src", "web/publicity", "web/public/.git"] {
            assert_eq!(of_directory(closed, public), 0o750, "{closed}");
        }
        assert_eq!(of_file("web/public/css/a.css", false, public), 0o644);
        assert_eq!(of_file("web/public/.well-known/a", false, public), 0o644);
        for closed in
            ["a.css", "web/a.css", "web/public/.env", "web/public/.git/config", "web/public/index.php"]
        {
            assert_eq!(of_file(closed, false, public), 0o640, "{closed}");
        }
    }

    #[test]
    fn where_all_of_it_is_public_programs_and_hidden_files_are_not() {
        assert_eq!(of_file("style.css", false, Some("")), 0o644);
        assert_eq!(of_directory("css", Some("")), 0o751);
        for closed in ["index.php", "a.PHTML", "wp-config.php7", "db.inc", ".env", ".git/config"] {
            assert_eq!(of_file(closed, false, Some("")), 0o640, "{closed}");
        }
    }
}
