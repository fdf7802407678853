//! Packing a directory, and what comes out at the other end.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn packed(dir: &Path) -> anyhow::Result<(Vec<u8>, PackReport)> {
    let mut out = Vec::new();
    let report = pack(dir, Leaving::Ignored, &mut out)?;
    Ok((out, report))
}

fn fault(dir: &Path) -> Fault {
    packed(dir).unwrap_err().downcast::<Fault>().unwrap()
}

#[test]
fn the_same_tree_makes_the_same_archive() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, order) in [(&one, ["a", "b", "c"]), (&two, ["c", "a", "b"])] {
        for name in order {
            fs::write(dir.path().join(name), name).unwrap();
        }
    }
    fs::set_permissions(two.path().join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(packed(one.path()).unwrap(), packed(two.path()).unwrap());
}

#[test]
fn repositories_stay_behind_and_links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join(".git/objects")).unwrap();
    fs::create_dir_all(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/.git"), "gitdir: x").unwrap();
    fs::write(dir.path().join("sub/f"), "x").unwrap();
    symlink("/etc", dir.path().join("etc")).unwrap();
    let (archive, report) = packed(dir.path()).unwrap();
    assert_eq!(report.skipped, [".git", "sub/.git"]);
    assert_eq!((report.files, report.directories, report.links, report.bytes), (1, 1, 1, 1));
    assert_refused(&archive, "`etc` is a link to the absolute path `/etc`");
}

#[test]
fn sources_that_are_not_there_are_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let missing = fault(&dir.path().join("missing"));
    assert_eq!(missing.code, Code::InvalidSource);
    assert!(missing.message.contains("missing`: it does not exist"), "{missing}");
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(fault(&dir.path().join("file")).message.contains("it is not a directory"));
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert!(fault(&dir.path().join("empty")).message.contains("holds no files"));
}

#[test]
fn pipes_sockets_and_setuid_files_are_refused_by_name() {
    let with = |make: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        make(&dir.path().join("d/odd"));
        fault(dir.path()).message
    };
    let pipe = with(&|path| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RWXU).unwrap();
    });
    assert!(pipe.contains("`d/odd` is a named pipe"), "{pipe}");
    let socket = with(&|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()));
    assert!(socket.contains("`d/odd` is a socket"), "{socket}");
    let setuid = with(&|path| {
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o4755)).unwrap();
    });
    assert!(setuid.contains("`d/odd` is set to run as its owner"), "{setuid}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_noticed() {
    /// Changes a file when the first block of the archive is written.
    struct Meddler<'a>(&'a dyn Fn());
    impl std::io::Write for Meddler<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            (self.0)();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for (length, words) in [(9, "grew"), (1, "shrank")] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
        let meddle = || fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        let error = pack(dir.path(), Leaving::Ignored, Meddler(&meddle)).unwrap_err();
        let message = &error.downcast_ref::<Fault>().unwrap().message;
        assert_eq!(message, &format!("`file` {words} while it was read"));
    }
}

#[test]
fn a_receiver_that_goes_away_is_no_fault_of_the_source() {
    struct Gone;
    impl std::io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = pack(dir.path(), Leaving::Ignored, Gone).unwrap_err();
    assert!(error.downcast_ref::<Fault>().is_none());
}

/// A tree as a map: content and executable bit of files, `None` for a link to the root.
fn tree() -> impl Strategy<Value = BTreeMap<String, Option<(Vec<u8>, bool)>>> {
    // Files are `f…`, links `l…`, directories `d…`: so no path is two things.
    let name = "[a-z\u{e9} '-]{0,3}";
    let long = prop_oneof![9 => Just(0usize), 1 => 90..200usize];
    let path = (proptest::collection::vec(name, 0..4), name, long).prop_map(|(dirs, name, long)| {
        let mut names: Vec<_> = dirs.iter().map(|dir| format!("d{dir}")).collect();
        names.push(format!("f{name}{}", "x".repeat(long)));
        names.join("/")
    });
    let content = prop_oneof![
        4 => (proptest::collection::vec(any::<u8>(), 0..1500), any::<bool>()).prop_map(Some),
        1 => Just(None),
    ];
    proptest::collection::btree_map(path, content, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_packed_is_what_is_extracted(tree in tree()) {
        let source = tempfile::tempdir().unwrap();
        for (path, content) in &tree {
            let full = source.path().join(path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            if let Some((content, executable)) = content {
                fs::write(&full, content).unwrap();
                fs::set_permissions(&full, fs::Permissions::from_mode(if *executable { 0o755 } else { 0o600 })).unwrap();
            } else {
                let up = "../".repeat(path.matches('/').count());
                symlink(format!("{up}."), full).unwrap();
            }
        }
        let (archive, report) = packed(source.path()).unwrap();
        let place = Place::new();
        let manifest = place.extract(&gzip(&archive), &Limits::default()).unwrap();
        prop_assert_eq!((manifest.files, manifest.bytes), (report.files, report.bytes));
        prop_assert_eq!(manifest.entries.len() as u64, report.files + report.directories + report.links);
        for (path, content) in &tree {
            let found = place.root().join(path);
            let Some((content, executable)) = content else {
                prop_assert_eq!(found.canonicalize().unwrap(), place.root().canonicalize().unwrap());
                continue;
            };
            prop_assert_eq!(&fs::read(&found).unwrap(), content);
            prop_assert_eq!(found.metadata().unwrap().mode() & 0o7777, if *executable { 0o750 } else { 0o640 });
        }
        prop_assert_eq!(packed(&place.root()).unwrap().0, archive);
    }
}
