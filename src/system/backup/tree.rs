//! A project's own files as they go into a backup and come out of one: by `tar`, under the project's
//! account, so that nothing is read or written that the project could not.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use super::{feed, flow};
use crate::{
    domain::fault::{Code, Fault},
    system::{exec::Tool, process},
};

/// `tar`, as an account or, where files are nobody's in particular, as ourselves.
fn tar(account: Option<(u32, u32)>) -> Result<Tool> {
    Ok(as_account(Tool::find("tar", "tar")?, account))
}

fn as_account(tool: Tool, account: Option<(u32, u32)>) -> Tool {
    match account {
        Some((uid, gid)) => tool.by(uid, gid),
        None => tool,
    }
}

/// Writes what is below a directory.
pub(super) fn pack(tree: &Path, account: Option<(u32, u32)>, out: &mut dyn Write) -> Result<()> {
    refuse_deep(tree, account)?;
    // Holes are kept as holes: what a file does not take on the disk need not be read.
    let words = [
        "--create",
        "--file=-",
        "--format=posix",
        "--sparse",
        "--one-file-system",
        "--sort=name",
        "--directory",
    ];
    let arguments = words.iter().map(AsRef::as_ref).chain([tree.as_os_str(), ".".as_ref()]);
    let mut running = tar(account)?.start(arguments, Stdio::null(), Stdio::piped())?;
    let mut stdout = running.stdout.take().context("its standard output")?;
    flow(&mut stdout, out)?;
    drop(stdout);
    // 1: a file changed while it was read, which files of a living application do.
    running.finish_unless(|status| !matches!(status.code(), Some(0 | 1))).map_err(|error| named(tree, error))
}

/// The longest path that can be made again, in bytes.
const LONGEST: usize = 4000;
/// How deep a longer one lies at least: no name is longer than 255 bytes.
const DEEP: &str = "15";

/// Refuses what lies so deep that its path can be read piece by piece and not be made again.
fn refuse_deep(tree: &Path, account: Option<(u32, u32)>) -> Result<()> {
    let find = as_account(Tool::find("find", "findutils")?, account);
    let words: [&OsStr; 6] = [
        tree.as_os_str(),
        "-xdev".as_ref(),
        "-mindepth".as_ref(),
        DEEP.as_ref(),
        "-printf".as_ref(),
        "%P\\0".as_ref(),
    ];
    let mut running = find.start(words, Stdio::null(), Stdio::piped())?;
    let mut paths = BufReader::new(running.stdout.take().context("its standard output")?);
    let mut path = Vec::new();
    while paths.by_ref().take(1 << 20).read_until(0, &mut path)? > 0 {
        process::keep_going()?;
        if path.len() > LONGEST {
            let shown: String =
                String::from_utf8_lossy(&path).chars().take(60).flat_map(char::escape_debug).collect();
            let place = tree.display();
            bail!(
                Fault::new(
                    Code::WrongState,
                    format!("what lies in `{place}` below `{shown}…` has a path of more than {LONGEST} bytes, and could not be put back")
                )
                .next("move it up, or remove it")
            );
        }
        path.clear();
    }
    // What cannot be looked into is named by the program that has to read it.
    running.finish_unless(|_| false)
}

/// What `tar` could not read, by name.
fn named(tree: &Path, error: anyhow::Error) -> anyhow::Error {
    let said = format!("{error:#}");
    let complaint = said.lines().find_map(|line| {
        let (path, why) = line.split_once("tar: ")?.1.split_once(": Cannot ")?;
        Some((path.trim_start_matches("./").to_owned(), why.split_once(": ")?.1.to_owned()))
    });
    let Some((path, why)) = complaint else { return error };
    let place = tree.display();
    Fault::new(Code::WrongState, format!("`{place}/{path}` cannot be read by the project: {why}"))
        .next(format!("ls -l {place}"))
        .next("let the project's account read it, or move it elsewhere")
        .into()
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
    fn a_file_of_holes_takes_no_room_in_the_archive_and_comes_back_with_its_holes() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::File::create(from.path().join("disk")).unwrap().set_len(20 << 30).unwrap();
        let mut packed = Vec::new();
        pack(from.path(), None, &mut packed).unwrap();
        assert!(packed.len() < 1 << 20, "{} bytes", packed.len());
        unpack(to.path(), None, &mut packed.as_slice()).unwrap();
        let meta = std::fs::metadata(to.path().join("disk")).unwrap();
        assert!(meta.len() == 20 << 30 && meta.blocks() < 100, "{} in {} blocks", meta.len(), meta.blocks());
    }

    #[test]
    fn what_could_not_be_put_back_is_refused_when_it_is_packed() {
        use rustix::fs::{Mode, OFlags, mkdirat, openat};
        let dir = tempfile::tempdir().unwrap();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        let mut at = rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap();
        for _ in 0..20 {
            pack(dir.path(), None, &mut Vec::new()).unwrap();
            mkdirat(&at, "d".repeat(200), Mode::from_raw_mode(0o755)).unwrap();
            at = openat(&at, "d".repeat(200), flags, Mode::empty()).unwrap();
        }
        let error = pack(dir.path(), None, &mut Vec::new()).unwrap_err();
        assert_eq!(error.downcast_ref::<Fault>().unwrap().code, Code::WrongState, "{error:#}");
        // The temporary directory is removed by a program that goes as deep.
        let path = dir.keep();
        assert!(std::process::Command::new("rm").arg("-rf").arg(path).status().unwrap().success());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let said = "`tar` failed (exit status: 2): tar: ./a b/secret: Cannot open: Permission denied\ntar: Exiting with failure status due to previous errors";
        let error = named(Path::new("/home/blog/shared"), anyhow::anyhow!("{said}"));
        let fault = error.downcast_ref::<Fault>().unwrap();
        assert!(fault.message.contains("`/home/blog/shared/a b/secret`"), "{fault}");
        assert!(fault.message.contains("Permission denied"), "{fault}");
        assert!(named(Path::new("/x"), anyhow::anyhow!("no room")).downcast_ref::<Fault>().is_none());
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
