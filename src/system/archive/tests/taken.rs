//! Archives that are taken, and what becomes of them on disk.

use proptest::prelude::*;

use super::*;

#[test]
fn modes_and_owners_are_ours_and_not_the_archives() {
    let archive = Tar::default()
        .raw(b'5', b"d", 0o2777, "", 0, b"")
        .raw(b'0', b"d/run", 0o777, "", 2, b"#!")
        .raw(b'0', b"d/read", 0o666, "", 0, b"")
        .raw(b'0', b"d/group", 0o010, "", 0, b"")
        .raw(b'2', b"l", 0o777, "d/run", 0, b"")
        .end();
    let place = Place::new();
    let root = rustix::process::getuid().is_root();
    let me = place.root().metadata().unwrap();
    let (uid, gid) = if root { (4321, 4322) } else { (me.uid(), me.gid()) };
    let staging = Staging::new(fs::File::open(place.root()).unwrap().into(), uid, gid);
    let manifest = extract(&archive[..], &staging, &Limits::default()).unwrap();
    for (path, mode) in [("d", 0o750), ("d/run", 0o750), ("d/read", 0o640), ("d/group", 0o640), ("l", 0o777)]
    {
        let found = place.root().join(path).symlink_metadata().unwrap();
        assert_eq!(found.mode() & 0o7777, mode, "{path}");
        assert_eq!((found.uid(), found.gid()), (uid, gid), "{path}");
    }
    assert_eq!(manifest.notes, ["the directory `d` does not keep its setuid or setgid bit"]);
    assert_eq!((manifest.files, manifest.bytes), (3, 2));
}

#[test]
fn modes_are_right_whatever_becomes_of_them_first() {
    let place = Place::new();
    fs::set_permissions(place.root(), fs::Permissions::from_mode(0o2700)).unwrap();
    place.extract(&Tar::default().file("d/f", "").end(), &Limits::default()).unwrap();
    // Made in a set-group-ID directory, it would be one too.
    assert_eq!(place.root().join("d").metadata().unwrap().mode() & 0o7777, 0o750);
    // As if a umask had taken away the rest.
    let made = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE;
    let file = rustix::fs::open(place.root().join("f"), made, rustix::fs::Mode::RUSR).unwrap();
    place.staging().own(&file, 0o750).unwrap();
    assert_eq!(place.root().join("f").metadata().unwrap().mode() & 0o7777, 0o750);
}

#[test]
fn the_manifest_says_what_is_there() {
    let archive = Tar::default().dir("./").file("./b/c", "hello").link("a", "b/c").end();
    let place = Place::new();
    let manifest = place.extract(&gzip(&archive), &Limits::default()).unwrap();
    assert_eq!(
        manifest.to_text(),
        "hostkit-manifest 1\nlink b/c a\ndirectory 0750 b\n\
         file 0640 5 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 b/c\n"
    );
    assert_eq!(fs::read_to_string(place.root().join("a")).unwrap(), "hello");
}

#[test]
fn directories_may_come_after_what_lies_in_them() {
    let archive = Tar::default().file("a/b/c", "").dir("a/b").dir("a/").end();
    assert_eq!(Place::new().extract(&archive, &Limits::default()).unwrap().entries.len(), 3);
}

#[test]
fn links_inside_are_kept_as_they_are() {
    let archive = Tar::default()
        .link("d/up", "../f")
        .link("d/dir", "..")
        .link("self", ".")
        .link("chain", "d/up")
        .file("f", "x")
        .end();
    let place = Place::new();
    place.extract(&archive, &Limits::default()).unwrap();
    assert_eq!(fs::read_link(place.root().join("d/up")).unwrap().to_str(), Some("../f"));
    assert_eq!(fs::read_to_string(place.root().join("chain")).unwrap(), "x");
}

#[test]
fn a_virtual_environment_keeps_its_interpreter() {
    let archive = Tar::default()
        .link(".venv/bin/python", "python3")
        .link(".venv/bin/python3", "/usr/bin/python3")
        .link(".venv/bin/python3.11", "python3")
        .link("x/venv/bin/python", "/usr/bin/python3.11")
        .file("f", "")
        .end();
    let place = Place::new();
    place.extract(&archive, &Limits::default()).unwrap();
    let target = fs::read_link(place.root().join(".venv/bin/python3")).unwrap();
    assert_eq!(target.to_str(), Some("/usr/bin/python3"));
}

#[test]
fn repositories_are_left_out_with_a_note() {
    let archive = Tar::default()
        .file(".git/config", "x")
        .link(".git/hooks/evil", "/etc")
        .file("sub/.git", "gitdir: x")
        .file(".gitignore", "")
        .end();
    let place = Place::new();
    let manifest = place.extract(&archive, &Limits::default()).unwrap();
    assert_eq!(manifest.notes, ["`.git` was left out", "`sub/.git` was left out"]);
    assert_eq!(manifest.entries.len(), 1);
    assert!(!place.root().join(".git").exists());
}

#[test]
fn long_names_of_both_kinds_are_understood() {
    let name = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let target = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let gnu = Tar::default().long(b'L', &name).file("cut", "x").long(b'K', &target).link("l", "cut").end();
    let pax = Tar::default()
        .pax(b'g', &[("comment", "0123456789")])
        .pax(b'x', &[("path", &name), ("mtime", "1.5"), ("size", "1")])
        .file("cut", "x")
        .pax(b'x', &[("linkpath", &target)])
        .link("l", "cut")
        .end();
    for archive in [gnu, pax] {
        let place = Place::new();
        place.extract(&archive, &Limits::default()).unwrap();
        assert_eq!(fs::read_to_string(place.root().join("l")).unwrap(), "x");
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z\\\\ \n\u{e9}-]{1,12}"
}

proptest! {
    #[test]
    fn a_manifest_is_read_back_as_it_was(
        entries in proptest::collection::vec((name(), name(), any::<u64>(), any::<[u8; 32]>(), 0..3u8), 0..8)
    ) {
        let entries = entries.into_iter().map(|(path, target, size, sha256, kind)| {
            let kind = match kind {
                0 => Kind::Directory { mode: 0o750 },
                1 => Kind::File { mode: 0o640, size: size >> 8, sha256 },
                _ => Kind::Link { target },
            };
            Entry { path, kind }
        });
        let manifest = Manifest::new(entries.collect(), Vec::new());
        prop_assert_eq!(Manifest::parse(&manifest.to_text()).unwrap(), manifest);
    }

    #[test]
    fn no_bytes_panic_or_escape(noise in proptest::collection::vec((0..3000usize, any::<u8>()), 1..6)) {
        let mut archive = Tar::default().long(b'L', "x").file("a", "content").link("l", "x").dir("d").end();
        for (at, byte) in noise {
            let at = at % archive.len();
            archive[at] = byte;
        }
        let _ = Place::new().extract(&archive, &Limits::default());
    }
}

#[test]
fn a_damaged_manifest_is_an_error() {
    for text in [
        "",
        "x",
        "hostkit-manifest 1\nfile 0640 1 00 a",
        "hostkit-manifest 1\nlink a",
        "hostkit-manifest 1\nlink \\x a",
    ] {
        assert!(Manifest::parse(text).is_err(), "{text:?}");
    }
}
