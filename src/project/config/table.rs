//! Reading TOML value by value, so that every error knows its place.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::domain::fault::Fault;
use crate::project::place::Source;

/// The part of a TOML value that decides how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    String,
    List,
    Other,
}

/// A table, with its name for messages; the top of the file has none.
#[derive(Debug)]
pub(super) struct Table<'a> {
    source: Source<'a>,
    name: &'a str,
    entries: &'a DeTable<'a>,
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Value<'a> {
    source: Source<'a>,
    key: &'a str,
    content: &'a Spanned<DeValue<'a>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(source: Source<'a>, name: &'a str, entries: &'a DeTable<'a>) -> Self {
        Self { source, name, entries }
    }

    /// Refuses the first key that is none of these.
    pub(super) fn allow(&self, known: &[&str]) -> Result<(), Fault> {
        let unknown = self.entries.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
        let name = key.get_ref();
        let advice = match closest(name, known) {
            Some(best) => format!("did you mean `{best}`?"),
            None => format!("the keys are {}", known.join(", ")),
        };
        let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
        Err(self.source.fault(key.span(), &format!("unknown key `{shown}`{place}; {advice}")))
    }

    /// Every key with its value, in the order of the keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        let source = self.source;
        self.entries.iter().map(move |(key, content)| {
            let key = key.get_ref().as_ref();
            (key, Value { source, key, content })
        })
    }

    pub(super) fn get(&self, key: &'a str) -> Option<Value<'a>> {
        self.entries.get(key).map(|content| Value { source: self.source, key, content })
    }
}

impl<'a> Value<'a> {
    pub(super) fn shape(&self) -> Shape {
        match self.content.get_ref() {
            DeValue::String(_) => Shape::String,
            DeValue::Array(_) => Shape::List,
            _ => Shape::Other,
        }
    }

    pub(super) fn string(&self) -> Result<&'a str, Fault> {
        self.content.get_ref().as_str().ok_or_else(|| self.mismatch("a string"))
    }

    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        self.content.get_ref().as_bool().ok_or_else(|| self.mismatch("true or false"))
    }

    /// A whole number; one that is too large for the type is given as the largest.
    pub(super) fn integer(&self) -> Result<i64, Fault> {
        let number = self.content.get_ref().as_integer().ok_or_else(|| self.mismatch("a whole number"))?;
        Ok(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
    }

    pub(super) fn list(&self) -> Result<Vec<Self>, Fault> {
        let items = self.content.get_ref().as_array().ok_or_else(|| self.mismatch("a list"))?;
        Ok(items.iter().map(|content| Self { source: self.source, key: self.key, content }).collect())
    }

    pub(super) fn table(&self, wanted: &str) -> Result<Table<'a>, Fault> {
        let entries = self.content.get_ref().as_table().ok_or_else(|| self.mismatch(wanted))?;
        Ok(Table::new(self.source, self.key, entries))
    }

    /// The fault for a value of the wrong type.
    pub(super) fn mismatch(&self, wanted: &str) -> Fault {
        let found = match self.content.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.fault(&format!("`{}` must be {wanted}, not {found}", self.key))
    }

    pub(super) fn fault(&self, message: &str) -> Fault {
        self.source.fault(self.content.span(), message)
    }

    pub(super) fn relabel(&self, fault: Fault) -> Fault {
        self.source.relabel(self.content.span(), fault)
    }
}

/// The known word that was probably meant.
pub(in crate::project) fn closest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    // Longer words than these are no typos, and cost time to compare.
    if word.len() > 40 {
        return None;
    }
    let distance = |candidate: &str| strsim::damerau_levenshtein(word, candidate);
    let best = known.iter().copied().min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= 2.max(word.len() / 3)).then_some(best)
}
