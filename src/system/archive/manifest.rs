//! The list of what a tree holds, kept beside a release to check it against.

use std::{borrow::Cow, fmt::Write as _};

use crate::domain::fault::{Code, Fault};

const HEX: &[u8; 16] = b"0123456789abcdef";
const FIRST_LINE: &str = "hostkit-manifest 1";

/// Everything a tree holds, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Every file, directory and link but the root, sorted by path.
    pub entries: Vec<Entry>,
    /// How many regular files there are.
    pub files: u64,
    /// The bytes in all files together.
    pub bytes: u64,
    /// What was installed into the tree, and what decided that.
    pub installed: Option<Installed>,
    /// What was not taken over as it was sent. Not a part of the text form.
    pub notes: Vec<String>,
}

/// Directories of a tree that an installer has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What stands for all that decided what was installed: lower-case letters and digits.
    pub key: String,
    /// The directories.
    pub paths: Vec<String>,
}

/// One path and what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path, relative to the root of the tree.
    pub path: String,
    /// What stands there.
    pub kind: Kind,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory {
        /// Its permissions.
        mode: u32,
    },
    /// A regular file.
    File {
        /// Its permissions.
        mode: u32,
        /// Its length in bytes.
        size: u64,
        /// The SHA-256 of its content.
        sha256: [u8; 32],
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        target: String,
    },
}

impl Manifest {
    /// A manifest of entries that are sorted by path.
    pub fn new(entries: Vec<Entry>, notes: Vec<String>) -> Self {
        let (mut files, mut bytes) = (0, 0);
        for entry in &entries {
            if let Kind::File { size, .. } = entry.kind {
                files += 1;
                bytes += size;
            }
        }
        Self { entries, files, bytes, installed: None, notes }
    }

    /// One line per entry; [`Manifest::parse`] reads it back.
    pub fn to_text(&self) -> String {
        let mut out = String::with_capacity(128 * self.entries.len() + 256);
        line(&mut out, format_args!("{FIRST_LINE}\n"));
        if let Some(Installed { key, paths }) = &self.installed {
            let paths: String = paths.iter().map(|path| format!(" {}", escape(path))).collect();
            out.push_str(&format!("installed {key}{paths}\n"));
        }
        for Entry { path, kind } in &self.entries {
            let path = escape(path);
            match kind {
                Kind::Directory { mode } => line(&mut out, format_args!("directory {mode:04o} {path}\n")),
                Kind::File { mode, size, sha256 } => {
                    line(&mut out, format_args!("file {mode:04o} {size} "));
                    // Digit by digit: there may be half a million of these lines.
                    for byte in sha256 {
                        out.push(char::from(HEX[usize::from(byte >> 4)]));
                        out.push(char::from(HEX[usize::from(byte & 15)]));
                    }
                    line(&mut out, format_args!(" {path}\n"));
                }
                Kind::Link { target } => line(&mut out, format_args!("link {} {path}\n", escape(target))),
            }
        }
        out
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut lines = text.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(Fault::new(Code::Internal, "this is not a manifest of this version"));
        }
        let mut entries = Vec::new();
        let mut installed = None;
        for (number, line) in (2..).zip(lines).filter(|(_, line)| !line.is_empty()) {
            if let Some(words) = line.strip_prefix("installed ") {
                let mut words = words.split(' ');
                let key = words.next().unwrap_or_default().to_owned();
                installed = words.map(unescape).collect::<Option<_>>().map(|paths| Installed { key, paths });
                continue;
            }
            let entry = entry(line).ok_or_else(|| {
                Fault::new(Code::Internal, format!("line {number} of the manifest is damaged"))
            })?;
            entries.push(entry);
        }
        Ok(Self { installed, ..Self::new(entries, Vec::new()) })
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split(' ');
    let mode = |text: &str| u32::from_str_radix(text, 8).ok();
    let kind = match fields.next()? {
        "directory" => Kind::Directory { mode: mode(fields.next()?)? },
        "file" => Kind::File {
            mode: mode(fields.next()?)?,
            size: fields.next()?.parse().ok()?,
            sha256: digest(fields.next()?)?,
        },
        "link" => Kind::Link { target: unescape(fields.next()?)? },
        _ => return None,
    };
    let path = unescape(fields.next()?)?;
    fields.next().is_none().then_some(Entry { path, kind })
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String cannot fail");
}

/// Keeps fields apart: no blanks and no line ends are left in a path.
fn escape(path: &str) -> Cow<'_, str> {
    if !path.contains(['\\', ' ', '\n']) {
        return Cow::Borrowed(path);
    }
    path.replace('\\', "\\\\").replace(' ', "\\s").replace('\n', "\\n").into()
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '\\' => match rest.next()? {
                '\\' => '\\',
                's' => ' ',
                'n' => '\n',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}
