//! Other formats than tar and gzip, and what is left out of a directory.

use std::io::{Cursor, Write};
use std::path::Path;

use flate2::{Compression, Crc, write::DeflateEncoder};

use super::*;
use crate::system::archive::zip;

/// One entry of a zip archive, as a test wants it.
#[derive(Clone)]
struct Entry {
    name: &'static str,
    content: Vec<u8>,
    mode: u32,
    packed: Option<Vec<u8>>,
    size: Option<u32>,
    crc: Option<u32>,
    flags: u16,
    local: Option<&'static str>,
}

fn entry(name: &'static str, content: &str) -> Entry {
    let content = content.as_bytes().to_vec();
    Entry { name, content, mode: 0o100_644, packed: None, size: None, crc: None, flags: 0, local: None }
}

/// A zip archive of these entries.
fn zipped(entries: &[Entry]) -> Vec<u8> {
    let (mut whole, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let mut crc = Crc::new();
        crc.update(&entry.content);
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(&entry.content).unwrap();
        let packed = entry.packed.clone().unwrap_or_else(|| deflate.finish().unwrap());
        let at = u32::try_from(whole.len()).unwrap();
        let size = entry.size.unwrap_or_else(|| entry.content.len().try_into().unwrap());
        let mut common = Vec::new();
        for number in [20, entry.flags, 8, 0, 0] {
            common.extend_from_slice(&number.to_le_bytes());
        }
        for number in [entry.crc.unwrap_or(crc.sum()), packed.len().try_into().unwrap(), size] {
            common.extend_from_slice(&number.to_le_bytes());
        }
        let local = entry.local.unwrap_or(entry.name);
        whole.extend_from_slice(b"PK\x03\x04");
        whole.extend_from_slice(&common);
        whole.extend_from_slice(&[u8::try_from(local.len()).unwrap(), 0, 0, 0]);
        whole.extend_from_slice(local.as_bytes());
        whole.extend_from_slice(&packed);
        directory.extend_from_slice(b"PK\x01\x02\x14\x03");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[u8::try_from(entry.name.len()).unwrap(), 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        directory.extend_from_slice(&(entry.mode << 16).to_le_bytes());
        directory.extend_from_slice(&at.to_le_bytes());
        directory.extend_from_slice(entry.name.as_bytes());
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let (start, size) = (u32::try_from(whole.len()).unwrap(), u32::try_from(directory.len()).unwrap());
    whole.extend(directory);
    whole.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    whole.extend([count, count].concat());
    whole.extend([size.to_le_bytes(), start.to_le_bytes()].concat());
    whole.extend_from_slice(&[3, 0]);
    whole.extend_from_slice(b"why");
    whole
}

fn as_tar(zip: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut tar = Vec::new();
    zip::to_tar(Cursor::new(zip), &mut tar, &Limits::default())?;
    Ok(tar)
}

fn assert_no_zip(zip: &[u8], word: &str) {
    let error = as_tar(zip).unwrap_err();
    let fault = error.downcast_ref::<Fault>().unwrap_or_else(|| panic!("{error:#}"));
    assert_eq!(fault.code, Code::InvalidSource);
    assert!(fault.message.contains(word), "{fault} does not say {word}");
}

#[test]
fn a_zip_archive_is_what_its_directory_says() {
    let long = "a".repeat(100_000);
    let link = Entry { mode: 0o120_777, ..entry("bin/now", "run") };
    let run = Entry { mode: 0o100_755, ..entry("bin/run", &long) };
    let zip = zipped(&[entry("index.html", "hello"), entry("bin/", ""), run, link, entry("__MACOSX/x", "")]);
    assert!(crate::system::archive::is_zip(&zip));
    let place = Place::new();
    let manifest = place.extract(&as_tar(&zip).unwrap(), &Limits::default()).unwrap();
    let paths: Vec<_> = manifest.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["bin", "bin/now", "bin/run", "index.html"]);
    assert_eq!(std::fs::read_to_string(place.root().join("bin/now")).unwrap(), long);
    assert!(matches!(&manifest.entries[2].kind, Kind::File { mode: 0o750, .. }));
}

#[test]
fn a_zip_archive_that_says_two_things_is_refused() {
    let one = || entry("a", "content");
    let mut hidden = zipped(&[one()]);
    hidden.truncate(hidden.len() - 1);
    assert_no_zip(&hidden, "its end is missing");
    assert_no_zip(&zipped(&[Entry { size: Some(3), ..one() }]), "longer than the directory says");
    assert_no_zip(&zipped(&[Entry { size: Some(30), ..one() }]), "shorter than the directory says");
    assert_no_zip(&zipped(&[Entry { crc: Some(1), ..one() }]), "checksum");
    assert_no_zip(&zipped(&[Entry { flags: 1, ..one() }]), "encrypted");
    assert_no_zip(&zipped(&[Entry { mode: 0o010_644, ..entry("a/pipe", "") }]), "`a/pipe` is a named pipe");
    assert_no_zip(&zipped(&[Entry { mode: 0o060_644, ..entry("disk", "") }]), "`disk` is a device");
    assert_no_zip(&zipped(&[entry("a/../../b", "x")]), "`a/../../b` cannot be taken");
    assert_no_zip(&zipped(&[Entry { local: Some("b"), ..one() }]), "not what the directory says");
    assert_no_zip(&zipped(&[Entry { packed: Some(vec![0xff; 9]), ..one() }]), "damaged");
    assert_no_zip(&zipped(&[Entry { size: Some(u32::MAX - 1), ..one() }]), "grows more than");
    // What leaves the tree is refused further on, like in any other archive.
    for name in ["../x", "/x", "a/../../x"] {
        let tar = as_tar(&zipped(&[entry(name, "")]));
        assert!(tar.is_err() || Place::new().extract(&tar.unwrap(), &Limits::default()).is_err(), "{name}");
    }
    let out = as_tar(&zipped(&[Entry { mode: 0o120_777, ..entry("l", "/etc/passwd") }])).unwrap();
    assert!(Place::new().extract(&out, &Limits::default()).is_err());
}

#[test]
fn an_archive_compressed_with_zstd_is_read_and_bounded() {
    let tar = Tar::default().file("index.html", "hello").end();
    let packed = zstd::encode_all(&tar[..], 3).unwrap();
    let place = Place::new();
    assert_eq!(place.extract(&packed, &Limits::default()).unwrap().files, 1);
    assert_refused(&packed[..packed.len() / 2], "cut short");
    let bomb = zstd::encode_all(&vec![0; 64 << 20][..], 3).unwrap();
    assert_refused(&bomb, "grows more than");
}

fn packed(dir: &Path, leaving: Leaving) -> PackReport {
    pack(dir, leaving, &mut Vec::new()).unwrap()
}

#[test]
fn what_is_ignored_is_not_sent_unless_it_is_what_was_built() {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        (".gitignore", "dist/\n*.log\n!keep.log\n"),
        (".hostkitignore", "docs\n"),
        ("index.js", ""),
        ("a.log", ""),
        ("keep.log", ""),
        ("dist/index.html", ""),
        ("docs/x.md", ""),
        ("web/.gitignore", "/own\n"),
        ("web/own/x", ""),
        ("web/sub/own", ""),
        (".git/config", ""),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let source = packed(dir.path(), Leaving::Ignored);
    assert_eq!(source.skipped, [".git", "a.log", "dist", "docs", "web/own"]);
    let built = packed(dir.path(), Leaving::OwnIgnored);
    assert_eq!(built.skipped, [".git", "docs"]);
}
