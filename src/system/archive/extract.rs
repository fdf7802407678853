//! Reading an archive into a staging directory.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::num::NonZero;
use std::thread;

use tar::EntryType;

use super::crew::{self, Crew};
use super::manifest::{Kind, Manifest};
use super::members::{Member, Members, describe};
use super::nodes::Nodes;
use super::path::{InnerPath, text};
use super::staging::Staging;
use super::stream::{Gauge, Stream, cut_short};
use super::{Limits, batch, links, quoted, refuse};
use crate::domain::fault::Fault;

const FILE: u32 = 0o640;
const EXECUTABLE: u32 = 0o750;
const DIRECTORY: u32 = 0o750;

/// Writes a tar archive, plain or gzipped, into an empty staging directory.
///
/// Either all of it is taken or the upload is refused; after an error the staging directory holds a
/// part of the tree and is to be thrown away. Nothing is ever written outside of it.
pub fn extract(reader: impl Read, into: &Staging, limits: &Limits) -> anyhow::Result<Manifest> {
    // More threads than these would only wait for each other in the kernel.
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(4);
    extract_with(threads, reader, into, limits)
}

/// [`extract`] with this many threads, which make no difference to what comes of it.
pub(super) fn extract_with(
    threads: usize,
    reader: impl Read,
    into: &Staging,
    limits: &Limits,
) -> anyhow::Result<Manifest> {
    crew::with(threads, into, |crew| {
        let mut tree = Tree::new(into, limits, crew);
        let read = tree.read(reader);
        tree.finish(read)
    })
}

/// The tree as far as it has been read.
struct Tree<'a> {
    staging: &'a Staging,
    crew: Crew<'a>,
    limits: &'a Limits,
    nodes: Nodes<'a>,
    dropped: BTreeSet<String>,
    setgid: BTreeSet<String>,
}

impl<'a> Tree<'a> {
    fn new(staging: &'a Staging, limits: &'a Limits, crew: Crew<'a>) -> Self {
        Self {
            staging,
            crew,
            limits,
            nodes: Nodes::new(limits),
            dropped: BTreeSet::new(),
            setgid: BTreeSet::new(),
        }
    }

    /// Reads the archive to its end, or until something cannot be written.
    fn read(&mut self, reader: impl Read) -> anyhow::Result<()> {
        let (stream, gauge) = Stream::open(reader, self.limits)?;
        let mut archive = tar::Archive::new(stream);
        let mut members = Members::of(&mut archive, gauge.clone())?;
        while let Some((member, mut content)) = members.next()? {
            self.take(&member, &mut content, &gauge)?;
            if self.crew.failed() {
                return Ok(());
            }
        }
        // Two blocks of zeros end an archive; one that just stops has lost an unknown rest.
        if gauge.ended() && gauge.total() > 0 {
            return Err(cut_short().into());
        }
        Ok(archive.into_inner().finish()?)
    }

    fn take(&mut self, member: &Member, content: &mut impl Read, gauge: &Gauge) -> anyhow::Result<()> {
        let path = InnerPath::parse(&member.path, self.limits)?;
        // A repository is not a part of the application, and its configuration can run programs.
        if let Some(git) = path.up_to(".git") {
            if self.dropped.len() < 16 {
                self.dropped.insert(git.to_owned());
            }
            return Ok(());
        }
        let InnerPath { text: path, trailing_slash } = path;
        match member.kind {
            EntryType::Directory => self.directory(&path, member),
            EntryType::Regular | EntryType::Symlink if path.is_empty() => {
                Err(refuse(".", "is the archive itself and must be a directory").into())
            }
            EntryType::Regular | EntryType::Symlink if trailing_slash => {
                Err(refuse(&path, "is named like a directory but is none").into())
            }
            EntryType::Regular => self.file(&path, member, content, gauge),
            EntryType::Symlink => self.link(&path, member),
            EntryType::Link => Err(refuse(&path, "is a hard link, which is not accepted")
                .next("pack it with `tar --hard-dereference`")
                .into()),
            kind => {
                let why = format!("{}, which is not accepted", describe(kind));
                Err(refuse(&path, why).next("only files, directories and links inside the source are").into())
            }
        }
    }

    fn directory(&mut self, path: &str, member: &Member) -> anyhow::Result<()> {
        refuse_content(path, member)?;
        if member.mode & 0o6000 != 0 && self.setgid.len() < 16 {
            self.setgid.insert(path.to_owned());
        }
        if path.is_empty() {
            return Ok(());
        }
        if self.nodes.was_implied(path) {
            return Ok(());
        }
        self.parents(path)?;
        self.nodes.claim(path, Kind::Directory { mode: DIRECTORY })?;
        self.crew.directory(path, DIRECTORY)
    }

    fn file(
        &mut self,
        path: &str,
        member: &Member,
        content: &mut impl Read,
        gauge: &Gauge,
    ) -> anyhow::Result<()> {
        if member.mode & 0o6000 != 0 {
            return Err(refuse(path, "is set to run as its owner or group (setuid, setgid)")
                .next(format!("chmod a-s {}", quoted(path)))
                .into());
        }
        if member.size > self.limits.file {
            let limit = self.limits.file >> 20;
            return Err(refuse(path, format!("is larger than {limit} MiB")).into());
        }
        let mode = if member.mode & 0o100 == 0 { FILE } else { EXECUTABLE };
        self.parents(path)?;
        self.nodes.claim(path, Kind::File { mode, size: member.size, sha256: [0; 32] })?;
        let unreadable = |error: &io::Error| gauge.fault(error).into();
        let count = match usize::try_from(member.size) {
            Ok(size) if size <= batch::BYTES => {
                self.crew.small(path, mode, size, content).map_err(|error| unreadable(&error))? as u64
            }
            _ => {
                let (count, digest) = self.crew.large(path, mode, content, unreadable)?;
                self.nodes.seal(path, digest);
                count
            }
        };
        if count != member.size {
            return Err(cut_short().into());
        }
        for (path, digest) in self.crew.sealed() {
            self.nodes.seal(&path, digest);
        }
        Ok(())
    }

    /// Notes a link. It is made at the end, so that nothing can be written through it.
    fn link(&mut self, path: &str, member: &Member) -> anyhow::Result<()> {
        refuse_content(path, member)?;
        let target = text(&member.target, self.limits)?.to_owned();
        self.parents(path)?;
        Ok(self.nodes.claim(path, Kind::Link { target })?)
    }

    /// Makes the directories on the way to a path.
    fn parents(&mut self, path: &str) -> anyhow::Result<()> {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            match self.nodes.kind(parent) {
                Some(Kind::Directory { .. }) => {}
                Some(_) => {
                    let why = format!("lies in {}, which is not a directory", quoted(parent));
                    return Err(refuse(path, why).into());
                }
                None => {
                    self.nodes.imply(parent, DIRECTORY)?;
                    self.crew.directory(parent, DIRECTORY)?;
                }
            }
        }
        Ok(())
    }

    /// Ends what [`Tree::read`] began, which came to this.
    fn finish(mut self, read: anyhow::Result<()>) -> anyhow::Result<Manifest> {
        let (mut writer, sealed) = self.crew.finish(read)?;
        for (path, digest) in sealed {
            self.nodes.seal(&path, digest);
        }
        links::make(self.nodes.links(), self.staging.root(), &mut writer)?;
        let mut notes: Vec<_> =
            self.dropped.iter().map(|path| format!("{} was left out", quoted(path))).collect();
        notes.extend(self.setgid.iter().map(|path| {
            let path = if path.is_empty() { "." } else { path };
            format!("the directory {} does not keep its setuid or setgid bit", quoted(path))
        }));
        Ok(self.nodes.into_manifest(notes)?)
    }
}

/// Refuses content where there can be none: programs differ in whether they skip it.
fn refuse_content(path: &str, member: &Member) -> Result<(), Fault> {
    if member.size != 0 {
        return Err(refuse(path, "is no file but claims to have content"));
    }
    Ok(())
}
