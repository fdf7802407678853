//! The processes of a project besides the one that answers requests, and when they run.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::{
    command::StartCommand,
    fault::{Code, Fault},
};

/// A process that answers no requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its name, as [`is_name`] has it.
    pub name: String,
    /// What it runs.
    pub command: StartCommand,
    /// When it is started, if it does not run all the time.
    #[serde(default)]
    pub at: Option<Cron>,
}

/// What takes over from what, when a release goes live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The new release runs beside the old one until it is healthy.
    #[default]
    Rolling,
    /// The old release is stopped first: the application cannot run twice.
    Restart,
}

/// Whether a process may be called this: it becomes a part of the name of a unit.
pub fn is_name(name: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=32).contains(&name.len()) && name.bytes().all(valid)
}

/// Minute, hour, day of the month, month and day of the week, as in a crontab; or a word like `@daily`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    calendars: Vec<String>,
}

/// The words that stand for all five fields.
const WORDS: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];
const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    /// The same times in systemd's words (`OnCalendar=`), in the host's time zone. There are two when a
    /// day of the month and a day of the week are given: a crontab means either.
    pub fn calendars(&self) -> &[String] {
        &self.calendars
    }

    /// Splits `MIN HOUR DAY MONTH WEEKDAY COMMAND`, or `@WORD COMMAND`, behind the times.
    pub(super) fn split(line: &str) -> Result<(Self, &str), Fault> {
        let fields = if line.starts_with('@') { 1 } else { 5 };
        let mut rest = line.trim_start();
        for _ in 0..fields {
            let end = rest.find([' ', '\t']).ok_or_else(|| refuse(line))?;
            rest = rest[end..].trim_start();
        }
        let cron = line[..line.len() - rest.len()].parse()?;
        Ok((cron, rest))
    }
}

impl FromStr for Cron {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let meant = WORDS.iter().find(|(word, _)| *word == text).map_or(text.as_str(), |(_, meant)| *meant);
        let refuse = || refuse(&text);
        let fields: Vec<&str> = meant.split(' ').collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else { return Err(refuse()) };
        let numbers = |field, least, most, names| numbers(field, least, most, names).ok_or_else(refuse);
        let (minute, hour) = (numbers(minute, 0, 59, &[])?, numbers(hour, 0, 23, &[])?);
        let (days, month) = (numbers(day, 1, 31, &[])?, numbers(month, 1, 12, MONTHS)?);
        let mut weekdays = numbers(weekday, 0, 7, DAYS)?;
        // Sunday has two numbers.
        if weekdays.contains(&7) && !weekdays.contains(&0) {
            weekdays.insert(0, 0);
        }
        weekdays.retain(|day| *day != 7);
        let list = |numbers: &[u8], whole: usize| match numbers.len() {
            all if all == whole => "*".to_owned(),
            _ => numbers.iter().map(|n| format!("{n:02}")).collect::<Vec<_>>().join(","),
        };
        let time = format!("{}:{}:00", list(&hour, 24), list(&minute, 60));
        let month = list(&month, 12);
        let on_days = format!("*-{month}-{} {time}", list(&days, 31));
        let names: Vec<&str> =
            weekdays.iter().filter_map(|day| DAYS.get(usize::from(*day)).copied()).collect();
        let on_weekdays = format!("{} *-{month}-* {time}", names.join(","));
        let calendars = match (days.len() == 31, weekdays.len() == 7) {
            (_, true) => vec![on_days],
            (true, false) => vec![on_weekdays],
            (false, false) => vec![on_days, on_weekdays],
        };
        Ok(Self { text, calendars })
    }
}

/// The numbers of one field: `*`, `5`, `1-5`, `*/10`, `1-30/2`, names, and lists of these.
fn numbers(field: &str, least: u8, most: u8, names: &[&str]) -> Option<Vec<u8>> {
    let number = |word: &str| {
        let named = names.iter().position(|name| *name == word.to_ascii_lowercase());
        let number = match named {
            // Months begin with 1, days of the week with 0.
            Some(at) => u8::try_from(at).ok()? + least,
            None if word.bytes().all(|b| b.is_ascii_digit()) => word.parse().ok()?,
            None => return None,
        };
        (least..=most).contains(&number).then_some(number)
    };
    let mut found = Vec::new();
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, step.parse::<u8>().ok().filter(|step| *step > 0)?),
            None => (item, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, if names.len() == 7 { 6 } else { most }),
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(range)?, if item.contains('/') { most } else { number(range)? }),
        };
        if first > last {
            return None;
        }
        found.extend((first..=last).step_by(step.into()));
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

fn refuse(text: &str) -> Fault {
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    Fault::new(Code::InvalidValue, format!("`{shown}` does not begin with the times of a crontab"))
        .next("give minute, hour, day, month and weekday: `*/5 * * * *`, `0 3 * * 1-5`, `@daily`")
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Cron {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_crontab_become_systemds() {
        for (text, calendars) in [
            ("* * * * *", &["*-*-* *:*:00"][..]),
            ("0 3 * * *", &["*-*-* 03:00:00"]),
            ("*/15 * * * *", &["*-*-* *:00,15,30,45:00"]),
            ("0  9-11 1 jan,JUL *", &["*-01,07-01 09,10,11:00:00"]),
            ("5 4 * * 1-5", &["mon,tue,wed,thu,fri *-*-* 04:05:00"]),
            ("0 0 * * 7", &["sun *-*-* 00:00:00"]),
            ("0 0 * * fri-sat", &["fri,sat *-*-* 00:00:00"]),
            ("0 0 * * */2", &["sun,tue,thu,sat *-*-* 00:00:00"]),
            ("0 0 13 * 5", &["*-*-13 00:00:00", "fri *-*-* 00:00:00"]),
            ("10/20 * * * *", &["*-*-* *:10,30,50:00"]),
            ("@weekly", &["sun *-*-* 00:00:00"]),
        ] {
            assert_eq!(text.parse::<Cron>().unwrap_or_else(|e| panic!("{text}: {e}")).calendars(), calendars);
        }
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "@reboot",
            "a b c d e",
            "+1 * * * *",
        ] {
            assert!(text.parse::<Cron>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_times_come_before_the_command() {
        let (cron, command) = Cron::split("0 3 * * 1-5  python tidy.py --all").unwrap();
        assert_eq!((cron.to_string().as_str(), command), ("0 3 * * 1-5", "python tidy.py --all"));
        assert_eq!(Cron::split("@daily ./tidy").unwrap().1, "./tidy");
        assert!(Cron::split("python tidy.py").is_err());
        assert!(Cron::split("0 3 * *").is_err());
    }
}
