//! Where a repository lies and which of its commits is meant: texts that go to `git` as arguments.

use std::{fmt, str::FromStr};

use super::fault::{Code, Fault};

/// The address of a repository: `https://…`, `ssh://…` or `git@host:path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    /// Whether it is reached over SSH, and so with the project's key.
    pub ssh: bool,
}

/// Which commit of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What its server shows first.
    Default,
    /// The newest of a branch.
    Branch(String),
    /// That of a tag.
    Tag(String),
    /// This one, by its whole name.
    Commit(String),
}

impl Wanted {
    /// A branch of this name.
    pub fn branch(name: &str) -> Result<Self, Fault> {
        check_name("branch", name).map(|()| Self::Branch(name.to_owned()))
    }

    /// A tag of this name.
    pub fn tag(name: &str) -> Result<Self, Fault> {
        check_name("tag", name).map(|()| Self::Tag(name.to_owned()))
    }

    /// A commit, in hexadecimal.
    pub fn commit(name: &str) -> Result<Self, Fault> {
        let whole = matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit());
        if !whole {
            return Err(Fault::new(
                Code::InvalidValue,
                format!("`{}` is not the whole name of a commit", shown(name)),
            )
            .next("give all 40 digits: git rev-parse HEAD"));
        }
        Ok(Self::Commit(name.to_ascii_lowercase()))
    }

    /// What is fetched.
    pub fn refspec(&self) -> String {
        match self {
            Self::Default => "HEAD".to_owned(),
            Self::Branch(name) => format!("refs/heads/{name}"),
            Self::Tag(name) => format!("refs/tags/{name}"),
            Self::Commit(name) => name.clone(),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("its first branch"),
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Tag(name) => write!(f, "tag {name}"),
            Self::Commit(name) => write!(f, "commit {name}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Address {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let refuse = |why: &str| {
            Fault::new(Code::InvalidSource, format!("`{}` {why}", shown(text)))
                .next("give an address such as https://example.com/shop.git or git@example.com:shop.git")
        };
        if text.len() > 1024 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refuse("is not the address of a repository"));
        }
        let (ssh, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("ssh://") {
            (true, rest)
        } else if let Some((scheme, _)) = text.split_once("://") {
            return Err(refuse(&format!("is reached over `{}`; only https and ssh are", shown(scheme))));
        } else if let Some((host, path)) = text.split_once(':')
            && !host.contains('/')
            && !path.starts_with(':')
        {
            // `git@host:path`, as git writes it; `ext::command` is something else.
            check_host(host).map_err(refuse)?;
            if path.is_empty() || path.starts_with('-') {
                return Err(refuse("names no repository"));
            }
            return Ok(Self { text: text.to_owned(), ssh: true });
        } else {
            return Err(refuse("is not the address of a repository"));
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !ssh && authority.contains('@')
            || authority.split('@').next().is_some_and(|user| user.contains(':') && authority.contains('@'))
        {
            return Err(refuse_password());
        }
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => host,
            Some(_) => return Err(refuse("names no port")),
            None => authority,
        };
        check_host(host).map_err(refuse)?;
        if path.is_empty() || path.starts_with('-') {
            return Err(refuse("names no repository"));
        }
        Ok(Self { text: text.to_owned(), ssh })
    }
}

/// The address is an argument, which everybody on the host can see: it is not repeated, either.
fn refuse_password() -> Fault {
    Fault::new(
        Code::InvalidSource,
        "the address holds a name or a password, which everybody on this host could see",
    )
    .next("hostkit git key NAME    # shows a key that the repository can let in, over ssh")
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (user, host) = host.split_once('@').map_or((None, host), |(user, host)| (Some(user), host));
    let plain = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    if !plain(host) {
        return Err("names no host");
    }
    if user.is_some_and(|user| !plain(user)) {
        return Err("names no user");
    }
    Ok(())
}

/// What `git check-ref-format` takes for the name of a branch.
fn check_name(what: &str, name: &str) -> Result<(), Fault> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let bad = name.is_empty()
        || name.len() > 250
        || name.starts_with(['-', '/'])
        || name.ends_with(['/', '.'])
        || name.contains("..")
        || name.contains("//")
        || name.contains("@{")
        || name == "@"
        || name.chars().any(odd)
        || name.split('/').any(|part| part.starts_with('.') || part.strip_suffix(".lock").is_some());
    if bad {
        return Err(Fault::new(Code::InvalidValue, format!("`{}` is not the name of a {what}", shown(name))));
    }
    Ok(())
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_ssh_are_taken_and_nothing_that_git_could_take_for_more() {
        for (text, ssh) in [
            ("https://github.com/a/b.git", false),
            ("https://git.example:8443/a", false),
            ("ssh://git@example.com:2222/a/b.git", true),
            ("git@github.com:a/b.git", true),
            ("example.com:b", true),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_or_else(|e| panic!("{text}: {e}")).ssh, ssh);
        }
        for text in [
            "",
            "http://example.com/a",
            "git://example.com/a",
            "file:///etc",
            "/srv/a.git",
            "../a",
            "ext::id",
            "ext::id %S",
            "--upload-pack=id",
            "-oProxyCommand=id:a",
            "ssh://-oProxyCommand=id/a",
            "ssh://a@-b/c",
            "https:///a",
            "https://example.com",
            "https://example.com/-a",
            "https://e x/a",
            "git@host:",
            "git@:a",
            "git@host:-a",
            "https://h\n/a",
            "https://h:port/a",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        let secret = "https://me:hunter2@example.com/a".parse::<Address>().unwrap_err();
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn names_are_what_git_takes_for_names() {
        for name in ["main", "feature/x-1", "v1.2.3", "ünï"] {
            assert!(Wanted::branch(name).is_ok() && Wanted::tag(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "-x",
            "--upload-pack=id",
            "a..b",
            "a b",
            "a^",
            "a:b",
            ".a",
            "a/.b",
            "a.lock",
            "a/",
            "/a",
            "a//b",
            "@",
            "a@{1}",
            "x\u{7}",
        ] {
            assert!(Wanted::branch(name).is_err(), "{name}");
        }
        assert!(Wanted::commit("abc123").is_err() && Wanted::commit(&"g".repeat(40)).is_err());
        assert_eq!(Wanted::commit(&"A".repeat(40)).unwrap().refspec(), "a".repeat(40));
    }
}
