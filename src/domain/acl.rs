//! What a Redis user may do, as the words of `ACL SETUSER`, and when two lists of words mean the same.
//!
//! Redis keeps no list of words: it works out anew which words describe what a user may do, in an order
//! that changes with every start, and says `-restore -migrate …` for `-@dangerous`. So two descriptions
//! are compared by what they come to with the commands that the server has. That also finds a user who
//! was described to an older server and whom a newer one lets do more.

use std::collections::{BTreeMap, BTreeSet};

/// The commands of a server, by category; a subcommand is called `acl|whoami`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands(BTreeMap<String, BTreeSet<String>>);

impl Commands {
    /// The commands of each category.
    pub fn new(categories: BTreeMap<String, BTreeSet<String>>) -> Self {
        Self(categories)
    }

    /// Every command there is.
    pub fn all(&self) -> BTreeSet<&str> {
        self.0.values().flatten().map(String::as_str).collect()
    }

    /// The categories' names.
    pub fn categories(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.0.iter().map(|(name, commands)| (name.as_str(), commands))
    }

    fn category(&self, name: &str) -> impl Iterator<Item = String> {
        let all = (name == "all").then(|| self.0.values().flatten()).into_iter().flatten();
        all.chain(self.0.get(name).into_iter().flatten()).cloned()
    }

    /// A command with its subcommands.
    fn family(&self, name: &str) -> impl Iterator<Item = String> {
        let below = format!("{name}|");
        let related = move |c: &&String| c.starts_with(&below);
        self.0.values().flatten().filter(related).cloned().chain([name.to_owned()])
    }
}

/// What a user may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Whether anybody can log in as this user.
    pub on: bool,
    /// Whether any password will do.
    pub no_password: bool,
    /// SHA-256 sums of the passwords, in hexadecimal.
    pub passwords: BTreeSet<String>,
    keys: BTreeSet<String>,
    channels: BTreeSet<String>,
    commands: BTreeSet<String>,
    /// Words that HostKit never says: selectors, and whatever a newer server adds.
    other: Vec<String>,
}

impl Grant {
    /// What the words come to, one after the other, on a server that has these commands.
    pub fn of<W: AsRef<str>>(words: &[W], commands: &Commands) -> Self {
        let mut grant = Self::default();
        for word in words {
            grant.add(word.as_ref(), commands);
        }
        grant
    }

    /// All but the commands, for when no server is there to say what they are.
    pub fn outline<W: AsRef<str>>(words: &[W]) -> Self {
        Self { commands: BTreeSet::new(), ..Self::of(words, &Commands::default()) }
    }

    fn add(&mut self, word: &str, commands: &Commands) {
        match word {
            "reset" => *self = Self::default(),
            "on" => self.on = true,
            "off" => self.on = false,
            "nopass" => {
                self.no_password = true;
                self.passwords.clear();
            }
            "resetpass" => {
                self.no_password = false;
                self.passwords.clear();
            }
            "allkeys" => self.add("~*", commands),
            "allchannels" => self.add("&*", commands),
            "resetkeys" => self.keys.clear(),
            "resetchannels" => self.channels.clear(),
            "allcommands" => self.add("+@all", commands),
            "nocommands" => self.add("-@all", commands),
            // How values are checked when they are restored, which no project's user may.
            "sanitize-payload" | "skip-sanitize-payload" => {}
            _ => self.add_prefixed(word, commands),
        }
    }

    fn add_prefixed(&mut self, word: &str, commands: &Commands) {
        if let Some(hash) = word.strip_prefix('#') {
            self.no_password = false;
            self.passwords.insert(hash.to_owned());
        } else if word.starts_with(['~', '%']) {
            self.keys.insert(word.to_owned());
        } else if word.starts_with('&') {
            self.channels.insert(word.to_owned());
        } else if let Some(category) = word.strip_prefix("+@") {
            self.commands.extend(commands.category(category));
        } else if let Some(category) = word.strip_prefix("-@") {
            for command in commands.category(category) {
                self.commands.remove(&command);
            }
            if category == "all" {
                self.commands.clear();
            }
        } else if let Some(command) = word.strip_prefix('+') {
            self.commands.extend(commands.family(command));
        } else if let Some(command) = word.strip_prefix('-') {
            let below = format!("{command}|");
            self.commands.retain(|c| c != command && !c.starts_with(&below));
        } else {
            self.other.push(word.to_owned());
        }
    }
}

/// The words of a user in the text of a file of users, if the user is in it.
pub fn find(text: &str, user: &str) -> Option<Vec<String>> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let same = words.next() == Some("user") && words.next() == Some(user);
        same.then(|| whole(words))
    })
}

/// Puts a selector, which stands in parentheses and has words of its own, together again.
fn whole<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in words {
        match all.last_mut() {
            Some(open) if open.starts_with('(') && !open.ends_with(')') => *open += &format!(" {word}"),
            _ => all.push(word.to_owned()),
        }
    }
    all
}

/// The text of a file of users with this user's words, or without the user.
pub fn put(text: &str, user: &str, words: Option<&[String]>) -> String {
    let mut lines: Vec<String> =
        text.lines().filter(|l| !l.trim().is_empty() && find(l, user).is_none()).map(str::to_owned).collect();
    if let Some(words) = words {
        lines.push(format!("user {user} {}", words.join(" ")));
    }
    // As Redis writes them.
    lines.sort();
    lines.into_iter().map(|l| l + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Commands {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Commands::new(
            [
                ("all-of-it".to_owned(), set(&["get", "select", "acl", "acl|whoami", "acl|list", "keys"])),
                ("dangerous".to_owned(), set(&["acl|list", "keys"])),
            ]
            .into(),
        )
    }

    fn same(a: &str, b: &str) -> bool {
        let of = |t: &str| Grant::of(&t.split(' ').collect::<Vec<_>>(), &commands());
        of(a) == of(b)
    }

    #[test]
    fn two_descriptions_are_the_same_when_they_come_to_the_same() {
        assert!(same("on +@all -@dangerous", "on +@all -keys -acl|list"));
        assert!(same("reset on ~* resetchannels &a &b", "on allkeys &b &a"));
        assert!(same("+@all -acl +acl|whoami", "-@all +get +select +keys +acl|whoami"));
        assert!(same("off on", "on sanitize-payload"));
    }

    #[test]
    fn a_difference_in_what_is_allowed_is_one() {
        assert!(!same("+@all -@dangerous", "+@all -keys"));
        assert!(!same("on", "off"));
        assert!(!same("on #aa", "on #aa #bb"));
        assert!(!same("on #aa", "on nopass"));
        assert!(!same("+@all -select +select|5", "+@all -select +select|6"));
        assert!(!same("+@all -select +select|5", "+@all"));
        assert!(!same("~*", "~a:*"));
        assert!(!same("&a", "&*"));
        assert!(!same("on", "on (~* +get)"));
        assert!(!same("-@all +select|5", "-@all +select|5 -@all"));
    }

    #[test]
    fn a_user_is_found_in_a_file_and_put_into_it() {
        let text = "user default off\n\nuser blog on ~*\nuser blogger on\n";
        assert_eq!(find(text, "blog"), Some(vec!["on".to_owned(), "~*".to_owned()]));
        assert_eq!(find(text, "nobody"), None);
        assert_eq!(find("user a on (~x +get) &y", "a").unwrap_or_default(), ["on", "(~x +get)", "&y"]);
        let put_in = put(text, "blog", Some(&["off".to_owned()]));
        assert_eq!(put_in, "user blog off\nuser blogger on\nuser default off\n");
        assert_eq!(put(&put_in, "blog", None), "user blogger on\nuser default off\n");
    }
}
