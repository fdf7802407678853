//! Backups: their names, why they are made, and which of them are kept.

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::fault::{Code, Fault};

/// A backup's name: the UTC second it was begun in, as `YYYYMMDD-HHMMSS`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

const FORMAT: &str = "%Y%m%d-%H%M%S";

impl BackupId {
    /// The name of one that is begun now, later than all of `others`.
    pub fn next(now: Timestamp, others: impl IntoIterator<Item = Self>) -> Self {
        let newest = others.into_iter().map(|id| id.at()).max();
        let at = newest.map_or(now, |newest| now.max(newest + SignedDuration::from_secs(1)));
        Self(at.to_zoned(TimeZone::UTC).strftime(FORMAT).to_string())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was begun.
    pub fn at(&self) -> Timestamp {
        let civil = DateTime::strptime(FORMAT, &self.0).unwrap_or_default();
        civil.to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |at| at.timestamp())
    }
}

impl FromStr for BackupId {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let digits = |at: usize, b: u8| if at == 8 { b == b'-' } else { b.is_ascii_digit() };
        let shape = text.len() == 15 && text.bytes().enumerate().all(|(at, b)| digits(at, b));
        if shape && DateTime::strptime(FORMAT, text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        Err(Fault::new(Code::InvalidName, format!("`{shown}` is not a backup's name"))
            .next("backups are named like `20261120-080231`; `hostkit backup list NAME` lists them"))
    }
}

impl TryFrom<String> for BackupId {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything a project stores.
    Backup,
    /// The database alone: quickly made, and quickly gone back to.
    Checkpoint,
}

impl Scope {
    /// The word in file names and sentences.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// Why it was made, which decides how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Somebody wanted it. Kept until somebody deletes it.
    Manual,
    /// The timer did. The newest of each of 7 days and of each of 4 weeks are kept.
    Schedule,
    /// The data was about to be replaced by older data. Kept for 30 days.
    Restore,
    /// The database was about to be deleted. Kept for 14 days.
    Delete,
    /// A release was about to go live. Kept for 7 days.
    Deploy,
    /// The project was deleted. Kept as long as the project can be brought back, and 7 days after it was.
    Final,
}

impl Reason {
    /// The word in the file and in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::Restore => "restore",
            Self::Delete => "delete",
            Self::Deploy => "deploy",
            Self::Final => "final",
        }
    }

    /// How many days it is kept, where that is what decides.
    const fn days(self) -> Option<i64> {
        match self {
            Self::Manual | Self::Schedule => None,
            Self::Restore => Some(30),
            Self::Delete => Some(14),
            Self::Deploy | Self::Final => Some(7),
        }
    }
}

impl FromStr for Reason {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        [Self::Manual, Self::Schedule, Self::Restore, Self::Delete, Self::Deploy, Self::Final]
            .into_iter()
            .find(|reason| reason.word() == text)
            .ok_or_else(|| {
                Fault::new(Code::InvalidBackup, "the backup was made by a newer version of HostKit")
            })
    }
}

/// How many of the timer's backups are kept: one for each of so many days, and of so many weeks.
const DAYS: usize = 7;
const WEEKS: usize = 4;

/// Which of these need not be kept any longer.
///
/// Days and weeks are counted by the backups there are: when they stop being made, none goes.
pub fn spare(all: &[(BackupId, Reason)], now: Timestamp) -> Vec<BackupId> {
    let mut scheduled: Vec<&BackupId> =
        all.iter().filter(|(_, reason)| *reason == Reason::Schedule).map(|(id, _)| id).collect();
    scheduled.sort_unstable_by(|a, b| b.cmp(a));
    let mut kept: BTreeSet<&BackupId> = BTreeSet::new();
    let mut days = BTreeSet::new();
    let mut weeks = BTreeSet::new();
    for id in &scheduled {
        let date = id.at().to_zoned(TimeZone::UTC).date();
        let week = date.iso_week_date();
        let week = (week.year(), week.week());
        if days.len() < DAYS && days.insert(date) {
            kept.insert(id);
        }
        if weeks.len() < WEEKS && weeks.insert(week) {
            kept.insert(id);
        }
    }
    let lapsed =
        |id: &BackupId, days: i64| now.duration_since(id.at()) > SignedDuration::from_hours(24 * days);
    let spare = |(id, reason): &&(BackupId, Reason)| match reason.days() {
        Some(days) => lapsed(id, days),
        None => *reason == Reason::Schedule && !kept.contains(id),
    };
    all.iter().filter(spare).map(|(id, _)| id.clone()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn id(text: &str) -> BackupId {
        text.parse().unwrap()
    }

    /// One made at three in the morning of each of so many days up to 20 November 2026.
    fn nightly(days: i64, reason: Reason) -> Vec<(BackupId, Reason)> {
        let last = id("20261120-030000").at();
        let back = |n| BackupId::next(last - SignedDuration::from_hours(24 * n), []);
        (0..days).map(|n| (back(n), reason)).collect()
    }

    fn left(all: &[(BackupId, Reason)], now: &str) -> Vec<String> {
        let gone = spare(all, now.parse().unwrap());
        all.iter().filter(|(i, _)| !gone.contains(i)).map(|(i, _)| i.as_str()[..8].to_owned()).collect()
    }

    #[test]
    fn of_the_timers_backups_seven_days_and_four_weeks_are_kept() {
        let kept = left(&nightly(60, Reason::Schedule), "2026-11-20T08:00:00Z");
        let wanted = [
            "20261120", "20261119", "20261118", "20261117", "20261116", "20261115", "20261114",
            // The last of the two weeks before those.
            "20261108", "20261101",
        ];
        assert_eq!(kept, wanted);
    }

    #[test]
    fn of_several_on_one_day_the_last_is_kept() {
        let all = ["20261120-030000", "20261120-150000", "20261120-090000"];
        let all: Vec<_> = all.iter().map(|t| (id(t), Reason::Schedule)).collect();
        let gone = spare(&all, "2026-11-20T16:00:00Z".parse().unwrap());
        assert_eq!(gone, [id("20261120-030000"), id("20261120-090000")]);
    }

    #[test]
    fn none_goes_because_no_new_ones_came() {
        let all = nightly(7, Reason::Schedule);
        assert_eq!(left(&all, "2036-01-01T00:00:00Z").len(), 7);
    }

    #[test]
    fn what_somebody_wanted_is_kept_for_ever_and_what_was_made_in_passing_for_its_time() {
        let now = "2026-11-20T08:00:00Z";
        assert_eq!(left(&nightly(400, Reason::Manual), now).len(), 400);
        for (reason, days) in
            [(Reason::Restore, 30), (Reason::Delete, 14), (Reason::Deploy, 7), (Reason::Final, 7)]
        {
            assert_eq!(left(&nightly(400, reason), now).len(), days, "{reason:?}");
        }
    }

    #[test]
    fn a_new_one_is_later_than_all_others_whatever_the_clock_says() {
        let now: Timestamp = "2026-11-20T08:02:31.9Z".parse().unwrap();
        assert_eq!(BackupId::next(now, []).as_str(), "20261120-080231");
        assert_eq!(BackupId::next(now, [id("20261120-080231")]).as_str(), "20261120-080232");
        assert_eq!(BackupId::next(now, [id("20990101-000000")]).as_str(), "20990101-000001");
        for bad in ["", "latest", "../../etc", "20261399-080231", "20261120_080231"] {
            assert_eq!(bad.parse::<BackupId>().unwrap_err().code, Code::InvalidName, "{bad}");
        }
    }
}
