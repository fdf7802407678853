//! Archives built by hand, and a place to extract them to that shows any escape.

#![allow(clippy::unwrap_used)]

mod formats;
mod hostile;
mod packing;
mod taken;
mod together;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use super::*;

/// A tar archive put together block by block, so that it can say anything.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn add(self, kind: u8, path: &str, content: &[u8]) -> Self {
        self.raw(kind, path.as_bytes(), 0o644, "", content.len() as u64, content)
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.add(b'0', path, content.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.add(b'5', path, b"")
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.raw(b'2', path.as_bytes(), 0o777, target, 0, b"")
    }

    /// A PAX header with these records.
    fn pax(self, kind: u8, records: &[(&str, &str)]) -> Self {
        let mut content = String::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..rest + 9).find(|n| n.to_string().len() + rest == *n).unwrap();
            content.extend([&length.to_string(), " ", key, "=", value, "\n"]);
        }
        self.add(kind, "pax", content.as_bytes())
    }

    /// A GNU long name (`L`) or long link target (`K`).
    fn long(self, kind: u8, name: &str) -> Self {
        self.add(kind, "././@LongLink", format!("{name}\0").as_bytes())
    }

    fn raw(mut self, kind: u8, path: &[u8], mode: u32, target: &str, size: u64, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(mode);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A staging directory with a neighbour that must not change.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("staging")).unwrap();
        fs::create_dir(dir.path().join("victim")).unwrap();
        fs::write(dir.path().join("victim/secret"), "secret").unwrap();
        fs::set_permissions(dir.path().join("victim"), fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    fn staging(&self) -> Staging {
        let root = fs::File::open(self.root()).unwrap();
        Staging::new(root.into(), rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
    }

    fn extract(&self, archive: &[u8], limits: &Limits) -> anyhow::Result<Manifest> {
        let result = extract(archive, &self.staging(), limits);
        self.assert_nothing_escaped();
        result
    }

    fn assert_nothing_escaped(&self) {
        let mut names: Vec<_> =
            fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["staging", "victim"]);
        let victim = self.dir.path().join("victim");
        assert_eq!(victim.metadata().unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(victim.join("secret")).unwrap(), "secret");
    }
}

/// The fault with which an archive is refused.
fn refusal(archive: &[u8]) -> Fault {
    refusal_within(archive, &Limits::default())
}

fn refusal_within(archive: &[u8], limits: &Limits) -> Fault {
    let error = Place::new().extract(archive, limits).expect_err("this archive must be refused");
    let fault = error.downcast::<Fault>().expect("a refusal is a fault");
    assert_eq!(fault.code, Code::InvalidSource);
    assert!(fault.message.len() < 500, "too long: {}", fault.message);
    assert!(!fault.message.contains(char::is_control), "unprintable: {:?}", fault.message);
    fault
}

fn assert_refused(archive: &[u8], words: &str) {
    let message = refusal(archive).message;
    assert!(message.contains(words), "{message:?} does not say {words:?}");
}

#[test]
fn a_full_disk_has_a_code_of_its_own() {
    for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
        let error = write_failed(errno.into(), "a");
        assert_eq!(error.downcast_ref::<Fault>().unwrap().code, Code::DiskFull);
    }
    assert!(write_failed(rustix::io::Errno::IO.into(), "a").downcast_ref::<Fault>().is_none());
}
