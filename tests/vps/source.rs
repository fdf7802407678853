//! Source trees for deploys: the examples, changed copies of them, apps written for one test, and
//! archives that no honest tool would make.

use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

/// A source tree: relative paths, each with its mode and content.
#[derive(Clone, Default)]
pub(crate) struct Source {
    files: BTreeMap<String, (u32, Vec<u8>)>,
}

impl Source {
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// One of the directories in `examples/`.
    pub(crate) fn example(name: &str) -> Self {
        Self::directory(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name))
    }

    /// What is in a directory of this machine.
    pub(crate) fn directory(place: &Path) -> Self {
        let mut source = Self::empty();
        source.read(place, "");
        source
    }

    /// A page that nginx serves.
    pub(crate) fn page(text: &str) -> Self {
        Self::empty().file("index.html", format!("<p>{text}</p>\n"))
    }

    /// A Node app; `body` answers a request and sees `request`, `response`, `env` and `fs`.
    pub(crate) fn node(body: &str) -> Self {
        Self::empty().file("package.json", r#"{"name":"probe","version":"1.0.0","main":"index.js"}"#).file(
            "index.js",
            format!(
                "const fs = require('fs'), env = process.env;\n\
                 require('http').createServer((request, response) => {{\n{body}\n}}).listen(env.PORT, env.HOST);\n"
            ),
        )
    }

    /// Adds or replaces a file.
    pub(crate) fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.to_owned(), (0o644, content.as_ref().to_vec()));
        self
    }

    /// Adds or replaces a file that can be executed.
    pub(crate) fn program(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.to_owned(), (0o755, content.as_ref().to_vec()));
        self
    }

    /// Leaves a file out, if it is there.
    pub(crate) fn without(mut self, path: &str) -> Self {
        self.files.remove(path);
        self
    }

    /// The same tree saying another version: every `Version 1` becomes `Version N`.
    pub(crate) fn version(mut self, number: u32) -> Self {
        let mut found = false;
        for (_, content) in self.files.values_mut() {
            if let Ok(text) = std::str::from_utf8(content) {
                found |= text.contains("Version 1");
                *content = text.replace("Version 1", &format!("Version {number}")).into_bytes();
            }
        }
        assert!(found, "nothing in this source says which version it is");
        self
    }

    /// The tree as an archive.
    pub(crate) fn tar_gz(&self) -> Vec<u8> {
        let mut archive = Archive::default();
        for (path, (mode, content)) in &self.files {
            archive = archive.file(path, *mode, content);
        }
        archive.tar_gz()
    }

    fn read(&mut self, directory: &Path, below: &str) {
        let entries = std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        for entry in entries {
            let entry = entry.expect("a directory that was opened can be read");
            let name = entry.file_name().into_string().expect("examples have plain names");
            let path = format!("{below}{name}");
            if entry.path().is_dir() {
                self.read(&entry.path(), &format!("{path}/"));
            } else {
                let content = std::fs::read(entry.path()).expect("examples can be read");
                let mode = entry.metadata().expect("examples can be read").permissions().mode();
                self.files.insert(path, (if mode & 0o100 == 0 { 0o644 } else { 0o755 }, content));
            }
        }
    }
}

/// An archive written entry by entry, each exactly as told.
#[derive(Default)]
pub(crate) struct Archive {
    tar: Vec<u8>,
}

impl Archive {
    /// An archive that would be a fine source but for what is added next.
    pub(crate) fn page() -> Self {
        Self::default().file("index.html", 0o644, b"<p>fine</p>\n")
    }

    pub(crate) fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(path, EntryType::Regular, mode, "", content)
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, 0o777, target, &[])
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Link, 0o644, target, &[])
    }

    pub(crate) fn fifo(self, path: &str) -> Self {
        self.entry(path, EntryType::Fifo, 0o644, "", &[])
    }

    pub(crate) fn device(self, path: &str) -> Self {
        self.entry(path, EntryType::Char, 0o666, "", &[])
    }

    fn entry(mut self, path: &str, kind: EntryType, mode: u32, target: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        if kind == EntryType::Char {
            header.set_device_major(1).expect("a GNU header has device numbers");
            header.set_device_minor(3).expect("a GNU header has device numbers");
        }
        // The crate's own setters refuse what we want to write: the bytes go in as they are.
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        let mut builder = Builder::new(&mut self.tar);
        builder.append(&header, content).expect("writing to memory");
        // Dropping the builder would write the end of the archive.
        std::mem::forget(builder);
        self
    }

    /// The archive, compressed.
    pub(crate) fn tar_gz(mut self) -> Vec<u8> {
        self.tar.extend([0; 1024]);
        gzip(&self.tar)
    }
}

/// A small archive that unpacks to `mebibytes` of zeros.
pub(crate) fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path("zeros").expect("a plain path");
    header.set_mode(0o644);
    header.set_size((mebibytes as u64) << 20);
    header.set_cksum();
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(header.as_bytes()).expect("writing to memory");
    let zeros = vec![0; 1 << 20];
    for _ in 0..mebibytes {
        gz.write_all(&zeros).expect("writing to memory");
    }
    gz.write_all(&[0; 1024]).expect("writing to memory");
    gz.finish().expect("writing to memory")
}

/// Bytes, compressed.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).expect("writing to memory");
    gz.finish().expect("writing to memory")
}
