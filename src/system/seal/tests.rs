//! Sealing, on real files.
#![allow(clippy::unwrap_used, reason = "tests may fail")]

use std::{
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
};

use super::*;
use crate::domain::layout::HostPath;

const GROUP: u32 = 2345;
const BUILDER: u32 = 41_234;

/// A directory with these files, and programs where the content begins so.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4777)).unwrap();
        }
        std::os::unix::fs::chown(&path, Some(BUILDER), Some(BUILDER)).unwrap();
    }
    dir
}

fn open(dir: &Path) -> OwnedFd {
    std::fs::File::open(dir).unwrap().into()
}

fn how(kin: Option<&Kin>) -> Seal<'_> {
    let outside =
        Outside { place: HostPath::fixed("/home/p/releases/r"), shared: HostPath::fixed("/home/p/shared") };
    Seal { gid: GROUP, outside, kin, public: None }
}

fn sealed(dir: &tempfile::TempDir, kin: Option<&Kin>) -> Result<Manifest> {
    seal(&open(dir.path()), &how(kin))
}

fn refusal(dir: &tempfile::TempDir) -> String {
    let error = sealed(dir, None).unwrap_err();
    let fault = error.downcast_ref::<Fault>().unwrap_or_else(|| panic!("{error:#}"));
    assert_eq!(fault.code, Code::BuildFailed);
    fault.message.clone()
}

fn facts(dir: &tempfile::TempDir, path: &str) -> (u32, u32, u32, u64) {
    let meta = std::fs::symlink_metadata(dir.path().join(path)).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.nlink())
}

#[test]
fn everything_becomes_roots_and_plain_and_is_written_down() {
    let dir = tree(&[("a/b/code.js", "1"), ("bin/tool", "#!/bin/true"), ("empty", "")]);
    symlink("b/code.js", dir.path().join("a/link")).unwrap();
    let manifest = sealed(&dir, None).unwrap();
    for (path, mode) in [("a", 0o750), ("a/b", 0o750), ("a/b/code.js", 0o640), ("bin/tool", 0o750)] {
        let (uid, gid, found, _) = facts(&dir, path);
        assert_eq!((uid, gid, found), (0, GROUP, mode), "{path}");
    }
    let paths: Vec<&str> = manifest.entries.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["a", "a/b", "a/b/code.js", "a/link", "bin", "bin/tool", "empty"]);
    assert_eq!((manifest.files, manifest.bytes), (3, 12));
    assert_eq!(Manifest::parse(&manifest.to_text()).unwrap(), manifest);
}

#[test]
fn a_file_with_two_names_becomes_two_files() {
    let dir = tree(&[("one", "same")]);
    std::fs::hard_link(dir.path().join("one"), dir.path().join("two")).unwrap();
    sealed(&dir, None).unwrap();
    // The last name it is left with is its own.
    assert_eq!((facts(&dir, "one").3, facts(&dir, "two").3), (1, 1));
    assert_eq!(std::fs::read(dir.path().join("two")).unwrap(), b"same");
    assert_eq!(facts(&dir, "two").0, 0);
}

#[test]
fn an_access_list_is_no_way_back_in() {
    let dir = tree(&[("a/code.js", "1")]);
    // user::rwx, user:41234:rwx, group::r-x, mask::rwx, other::r-x
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 7, BUILDER), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)]
    {
        list.extend(tag.to_le_bytes());
        list.extend(perm.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    for (path, name) in [
        ("a", "system.posix_acl_access"),
        ("a", "system.posix_acl_default"),
        ("a/code.js", "system.posix_acl_access"),
    ] {
        let set = rustix::fs::setxattr(dir.path().join(path), name, &list, rustix::fs::XattrFlags::empty());
        set.expect("the temporary directory's filesystem has access lists");
    }
    sealed(&dir, None).unwrap();
    for path in ["a", "a/code.js"] {
        let mut value = [0_u8; 256];
        for name in ["system.posix_acl_access", "system.posix_acl_default"] {
            let left = rustix::fs::getxattr(dir.path().join(path), name, &mut value);
            assert!(left.is_err(), "{path} keeps its {name}");
        }
    }
}

#[test]
fn what_no_release_holds_is_refused_by_name() {
    let fifo = tree(&[("code.js", "1")]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fifo.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    assert!(refusal(&fifo).contains("`pipe`, which is a named pipe"), "{}", refusal(&fifo));
    let socket = tree(&[("code.js", "1")]);
    let _bound = std::os::unix::net::UnixListener::bind(socket.path().join("sock")).unwrap();
    assert!(refusal(&socket).contains("socket"));
    let device = tree(&[("code.js", "1")]);
    let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, device.path().join("null"), kind, mode, rustix::fs::makedev(1, 3))
        .unwrap();
    assert!(refusal(&device).contains("`null`, which is a device"));
    for (name, why) in
        [(&b"a\nb"[..], "control character"), (b"a\x1b[2Jb", "control character"), (b"\xff", "not UTF-8")]
    {
        use std::os::unix::ffi::OsStrExt;
        let dir = tree(&[("code.js", "1")]);
        std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), "1").unwrap();
        let said = refusal(&dir);
        assert!(said.contains(why) && !said.contains(char::is_control), "{said:?}");
    }
    let deep = tree(&[(&format!("{}x", "d/".repeat(70)), "1")]);
    assert!(refusal(&deep).contains("more than 64 directories deep"));
}

#[test]
fn links_may_lead_to_the_tree_to_what_is_shared_and_to_python() {
    let dir = tree(&[("a/code.js", "1"), (".venv/bin/pip", "#!x")]);
    for (path, target) in [
        ("inner", "a/code.js"),
        ("a/up", "../a"),
        ("absolute", "/home/p/releases/r/a/code.js"),
        ("nowhere", "a/missing"),
        ("uploads", "../../shared/uploads"),
        (".venv/bin/python3", "/usr/bin/python3.11"),
        (".venv/bin/python", "python3"),
    ] {
        symlink(target, dir.path().join(path)).unwrap();
    }
    sealed(&dir, None).unwrap();
    for target in [
        "/etc/passwd",
        "../r2/code.js",
        "../../.env",
        "a/../../x",
        "/home/p/releases/r/../other",
        "/home/p/shared",
        "/usr/bin/python3",
        "/proc/self/root",
    ] {
        let dir = tree(&[("a/code.js", "1")]);
        symlink(target, dir.path().join("steal")).unwrap();
        assert!(refusal(&dir).contains("leads out of the release"), "{target}");
    }
    // Each harmless by its text, together not.
    let dir = tree(&[("a/code.js", "1")]);
    symlink(".", dir.path().join("a/here")).unwrap();
    symlink("a/here/../..", dir.path().join("steal")).unwrap();
    assert!(refusal(&dir).contains("leads out of the release"));
}

#[test]
fn a_file_that_the_kin_has_is_stored_once_and_no_other() {
    let old = tree(&[("same", "12345"), ("changed", "old"), ("moved", "x"), ("mode", "1")]);
    let manifest = sealed(&old, None).unwrap();
    let record = old.path().join("changed").metadata().unwrap();
    let kin = Kin::new(open(old.path()), manifest, (record.mtime() + 1, 0));
    let new = tree(&[("same", "12345"), ("changed", "new"), ("elsewhere", "x"), ("mode", "1")]);
    std::fs::set_permissions(new.path().join("mode"), PermissionsExt::from_mode(0o755)).unwrap();
    let manifest = sealed(&new, Some(&kin)).unwrap();
    let inode = |dir: &tempfile::TempDir, path: &str| std::fs::metadata(dir.path().join(path)).unwrap().ino();
    assert_eq!(inode(&old, "same"), inode(&new, "same"));
    for other in ["changed", "mode"] {
        assert_ne!(inode(&old, other), inode(&new, other), "{other}");
    }
    assert_eq!(std::fs::read(new.path().join("changed")).unwrap(), b"new");
    assert_eq!(facts(&old, "mode").2, 0o640);
    assert_eq!(facts(&new, "mode").2, 0o750);
    // Sealed once more, what was lent is known without being read.
    assert_eq!(sealed(&new, Some(&kin)).unwrap(), manifest);

    // What is not as it is recorded is not lent: somebody has changed the old one.
    std::fs::write(old.path().join("same"), "123456").unwrap();
    let third = tree(&[("same", "12345")]);
    sealed(&third, Some(&kin)).unwrap();
    assert_ne!(inode(&old, "same"), inode(&third, "same"));
    // Not even by its size can that always be seen.
    std::fs::write(old.path().join("moved"), "y").unwrap();
    let later = std::fs::FileTimes::new()
        .set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5));
    std::fs::File::options().write(true).open(old.path().join("moved")).unwrap().set_times(later).unwrap();
    let fourth = tree(&[("moved", "x")]);
    sealed(&fourth, Some(&kin)).unwrap();
    assert_eq!(std::fs::read(fourth.path().join("moved")).unwrap(), b"x");
}

#[test]
fn a_directory_is_cloned_as_links_or_as_copies() {
    let old = tree(&[("mods/a/x.js", "1"), ("mods/tool", "#!x")]);
    symlink("a/x.js", old.path().join("mods/link")).unwrap();
    sealed(&old, None).unwrap();
    let inode = |dir: &tempfile::TempDir, path: &str| std::fs::metadata(dir.path().join(path)).unwrap().ino();
    let linked = tree(&[]);
    clone(&open(old.path()), &open(linked.path()), "mods", Way::Link).unwrap();
    assert_eq!(inode(&old, "mods/a/x.js"), inode(&linked, "mods/a/x.js"));
    let copied = tree(&[]);
    clone(&open(old.path()), &open(copied.path()), "mods", Way::Copy(BUILDER)).unwrap();
    assert_ne!(inode(&old, "mods/a/x.js"), inode(&copied, "mods/a/x.js"));
    for (path, mode) in [("mods", 0o750), ("mods/a/x.js", 0o640), ("mods/tool", 0o750)] {
        let (uid, gid, found, _) = facts(&copied, path);
        assert_eq!((uid, gid, found), (BUILDER, BUILDER, mode), "{path}");
    }
    assert_eq!(std::fs::read_link(copied.path().join("mods/link")).unwrap(), Path::new("a/x.js"));
    assert_eq!(std::fs::read(copied.path().join("mods/a/x.js")).unwrap(), b"1");
}
