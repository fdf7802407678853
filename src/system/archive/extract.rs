//! Reading an archive into a staging directory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;

use tar::EntryType;

use super::links;
use super::manifest::{Entry, Kind, Manifest};
use super::members::{Member, Members, describe};
use super::path::{InnerPath, text, too_much};
use super::staging::{Staging, Writer};
use super::stream::{Gauge, Stream, cut_short};
use super::{Limits, quoted, refuse};
use crate::domain::fault::{Code, Fault};

const FILE: u32 = 0o640;
const EXECUTABLE: u32 = 0o750;
const DIRECTORY: u32 = 0o750;

/// Writes a tar archive, plain or gzipped, into an empty staging directory.
///
/// Either all of it is taken or the upload is refused; after an error the staging directory holds a
/// part of the tree and is to be thrown away. Nothing is ever written outside of it.
pub fn extract(reader: impl Read, into: &Staging, limits: &Limits) -> anyhow::Result<Manifest> {
    let (stream, gauge) = Stream::open(reader, limits)?;
    let mut archive = tar::Archive::new(stream);
    let mut tree = Tree::new(into, limits);
    let mut members = Members::of(&mut archive, gauge.clone())?;
    while let Some((member, mut content)) = members.next()? {
        tree.take(&member, &mut content, &gauge)?;
    }
    // Two blocks of zeros end an archive; one that just stops has lost an unknown rest.
    if gauge.ended() && gauge.total() > 0 {
        return Err(cut_short().into());
    }
    archive.into_inner().finish()?;
    tree.finish()
}

/// What stands at a path so far.
struct Node {
    kind: Kind,
    /// A directory that was made because something lies in it, and may still be named itself.
    implied: bool,
}

/// The tree as far as it has been read.
struct Tree<'a> {
    staging: &'a Staging,
    writer: Writer<'a>,
    limits: &'a Limits,
    nodes: BTreeMap<String, Node>,
    names: usize,
    dropped: BTreeSet<String>,
    setgid: BTreeSet<String>,
}

impl<'a> Tree<'a> {
    fn new(staging: &'a Staging, limits: &'a Limits) -> Self {
        Self {
            staging,
            writer: Writer::new(staging),
            limits,
            nodes: BTreeMap::new(),
            names: 0,
            dropped: BTreeSet::new(),
            setgid: BTreeSet::new(),
        }
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
        if let Some(node) = self.nodes.get_mut(path)
            && matches!(node.kind, Kind::Directory { .. })
            && node.implied
        {
            node.implied = false;
            return Ok(());
        }
        self.parents(path)?;
        self.claim(path, Kind::Directory { mode: DIRECTORY }, false)?;
        self.writer.directory(path, DIRECTORY)
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
        self.claim(path, Kind::File { mode, size: member.size, sha256: [0; 32] }, false)?;
        let (size, digest) = self.writer.file(path, mode, content, |error| gauge.fault(error).into())?;
        if size != member.size {
            return Err(cut_short().into());
        }
        if let Some(Node { kind: Kind::File { sha256, .. }, .. }) = self.nodes.get_mut(path) {
            *sha256 = digest;
        }
        Ok(())
    }

    /// Notes a link. It is made at the end, so that nothing can be written through it.
    fn link(&mut self, path: &str, member: &Member) -> anyhow::Result<()> {
        refuse_content(path, member)?;
        let target = text(&member.target, self.limits)?.to_owned();
        self.parents(path)?;
        self.claim(path, Kind::Link { target }, false)
    }

    /// Makes the directories on the way to a path.
    fn parents(&mut self, path: &str) -> anyhow::Result<()> {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            match self.nodes.get(parent) {
                Some(Node { kind: Kind::Directory { .. }, .. }) => {}
                Some(_) => {
                    let why = format!("lies in {}, which is not a directory", quoted(parent));
                    return Err(refuse(path, why).into());
                }
                None => {
                    self.claim(parent, Kind::Directory { mode: DIRECTORY }, true)?;
                    self.writer.directory(parent, DIRECTORY)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a path that nothing has taken before.
    fn claim(&mut self, path: &str, kind: Kind, implied: bool) -> anyhow::Result<()> {
        if self.nodes.contains_key(path) {
            return Err(refuse(path, "is in the archive twice").into());
        }
        self.names += path.len();
        if let Kind::Link { target } = &kind {
            self.names += target.len();
        }
        if self.nodes.len() >= self.limits.entries {
            return Err(too_much(&format!("it holds more than {} entries", self.limits.entries), path).into());
        }
        if self.names > self.limits.names {
            return Err(too_much("its paths are too long altogether", path).into());
        }
        self.nodes.insert(path.to_owned(), Node { kind, implied });
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<Manifest> {
        self.make_links()?;
        if self.nodes.values().all(|node| matches!(node.kind, Kind::Directory { .. })) {
            return Err(Fault::new(Code::InvalidSource, "the archive holds no files").into());
        }
        let mut notes: Vec<_> =
            self.dropped.iter().map(|path| format!("{} was left out", quoted(path))).collect();
        notes.extend(self.setgid.iter().map(|path| {
            let path = if path.is_empty() { "." } else { path };
            format!("the directory {} does not keep its setuid or setgid bit", quoted(path))
        }));
        let entries = self.nodes.into_iter().map(|(path, node)| Entry { path, kind: node.kind });
        Ok(Manifest::new(entries.collect(), notes))
    }

    fn make_links(&mut self) -> anyhow::Result<()> {
        let links: HashMap<&str, &str> = self
            .nodes
            .iter()
            .filter_map(|(path, node)| match &node.kind {
                Kind::Link { target } => Some((path.as_str(), target.as_str())),
                _ => None,
            })
            .collect();
        let mut inner = Vec::new();
        for (path, target) in self.nodes.keys().filter_map(|path| links.get_key_value(path.as_str())) {
            if !links::is_interpreter(path, &links) {
                links::check_target(path, target)?;
                inner.push((*path, *target));
            }
            self.writer.link(path, target)?;
        }
        for (path, target) in inner {
            links::check_resolves(self.staging.root(), path, target)?;
        }
        Ok(())
    }
}

/// Refuses content where there can be none: programs differ in whether they skip it.
fn refuse_content(path: &str, member: &Member) -> Result<(), Fault> {
    if member.size != 0 {
        return Err(refuse(path, "is no file but claims to have content"));
    }
    Ok(())
}
