//! A project's own files as they go into a backup and come out of one: by `tar`, under the project's
//! account, so that nothing is read or written that the project could not.

use std::{
    io::{Read, Write},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, Result};

use super::{feed, flow};
use crate::system::exec::Tool;

/// `tar`, as an account or, where files are nobody's in particular, as ourselves.
fn tar(account: Option<(u32, u32)>) -> Result<Tool> {
    let tar = Tool::find("tar", "tar")?;
    Ok(match account {
        Some((uid, gid)) => tar.by(uid, gid),
        None => tar,
    })
}

/// Writes what is below a directory.
pub(super) fn pack(tree: &Path, account: Option<(u32, u32)>, out: &mut dyn Write) -> Result<()> {
    let words = ["--create", "--file=-", "--format=posix", "--one-file-system", "--sort=name", "--directory"];
    let arguments = words.iter().map(AsRef::as_ref).chain([tree.as_os_str(), ".".as_ref()]);
    let mut running = tar(account)?.start(arguments, Stdio::null(), Stdio::piped())?;
    let mut stdout = running.stdout.take().context("its standard output")?;
    flow(&mut stdout, out)?;
    drop(stdout);
    // 1: a file changed while it was read, which files of a living application do.
    running.finish_unless(|status| !matches!(status.code(), Some(0 | 1)))
}

/// Puts into a directory what [`pack`] wrote.
pub(super) fn unpack(tree: &Path, account: Option<(u32, u32)>, from: &mut dyn Read) -> Result<()> {
    let words = [
        "--extract",
        "--file=-",
        "--no-same-owner",
        "--same-permissions",
        "--delay-directory-restore",
        "--directory",
    ];
    let arguments = words.iter().map(AsRef::as_ref).chain([tree.as_os_str()]);
    feed(tar(account)?.start(arguments, Stdio::piped(), Stdio::null())?, from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_tree_comes_back_with_modes_links_and_odd_names_and_a_bad_archive_says_so() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = from.path();
        std::fs::create_dir(at.join("deep")).unwrap();
        std::fs::write(at.join("deep/-rf \n é"), "text").unwrap();
        std::fs::set_permissions(at.join("deep"), PermissionsExt::from_mode(0o2700)).unwrap();
        std::fs::hard_link(at.join("deep/-rf \n é"), at.join("again")).unwrap();
        symlink("/etc/shadow", at.join("link")).unwrap();
        let mut packed = Vec::new();
        pack(at, None, &mut packed).unwrap();
        unpack(to.path(), None, &mut packed.as_slice()).unwrap();
        assert_eq!(std::fs::read_to_string(to.path().join("deep/-rf \n é")).unwrap(), "text");
        assert_eq!(std::fs::metadata(to.path().join("deep")).unwrap().mode() & 0o7777, 0o2700);
        assert_eq!(std::fs::metadata(to.path().join("again")).unwrap().nlink(), 2);
        assert_eq!(std::fs::read_link(to.path().join("link")).unwrap(), Path::new("/etc/shadow"));
        let error = unpack(to.path(), None, &mut &b"this is no archive"[..]).unwrap_err();
        assert!(format!("{error:#}").contains("tar"), "{error:#}");
    }

    #[test]
    fn nothing_is_put_outside_of_the_tree() {
        let (outside, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = outside.path().join("stolen");
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, "way", outside.path()).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        header.as_mut_bytes()[..10].copy_from_slice(b"way/stolen");
        header.set_cksum();
        archive.append(&header, &b"x"[..]).unwrap();
        let bytes = archive.into_inner().unwrap();
        let _ = unpack(to.path(), None, &mut bytes.as_slice());
        assert!(!target.exists());
    }
}
