//! When a project's backups are made: a timer of systemd's and what it starts.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
    },
    resource::{Any, Timer, Unit},
};

/// A time of day, in the host's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Clock {
    hour: u8,
    minute: u8,
}

impl Clock {
    /// The time of a project for which none was said: some time from 02:00 to 05:00, so that not all of a
    /// host's backups are made at once.
    pub fn of(uid: u32) -> Self {
        // Neighbours lie 37 minutes apart.
        let minute = u8::try_from(uid.wrapping_mul(37) % 180).unwrap_or_default();
        Self { hour: 2 + minute / 60, minute: minute % 60 }
    }
}

impl FromStr for Clock {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let number = |part: &str, most: u8| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u8>().ok().filter(|n| digits && *n <= most)
        };
        text.split_once(':')
            .and_then(|(hour, minute)| Some(Self { hour: number(hour, 23)?, minute: number(minute, 59)? }))
            .ok_or_else(|| {
                let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
                Fault::new(Code::InvalidValue, format!("`{shown}` is not a time of day"))
                    .next("times are written like `03:15`")
            })
    }
}

impl TryFrom<String> for Clock {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<Clock> for String {
    fn from(clock: Clock) -> Self {
        clock.to_string()
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// That a project's backups are made every day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// When.
    pub at: Clock,
    /// Since when: before that none can be missing.
    pub since: String,
}

impl Schedule {
    /// What it is made of, in the order it goes up.
    pub fn resources(&self, name: &ProjectName) -> Vec<Any> {
        let (service, timer) = name.backup_unit();
        let inputs = vec![timer.file()];
        let start = format!(
            "# Managed by HostKit: changes are undone by `hostkit repair {name}`.
[Unit]
Description=HostKit: back {name} up

[Service]
Type=oneshot
ExecStart=/usr/local/bin/hostkit --quiet backup create {name} --scheduled
Nice=19
IOSchedulingClass=idle
"
        );
        let when = format!(
            "# Managed by HostKit: changes are undone by `hostkit repair {name}`.
[Unit]
Description=HostKit: back {name} up every day

[Timer]
OnCalendar=*-*-* {}:00
RandomizedDelaySec=10m
Persistent=true

[Install]
WantedBy=timers.target
",
            self.at
        );
        vec![
            Unit::new(service, start, false, "multi-user.target").into(),
            Unit::new(timer.clone(), when, true, "timers.target").into(),
            Timer { unit: timer, inputs }.into(),
        ]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn projects_for_which_no_time_was_said_have_different_ones_in_the_night() {
        let times: std::collections::BTreeSet<String> =
            (2000..2180).map(|uid| Clock::of(uid).to_string()).collect();
        assert_eq!(times.len(), 180);
        assert_eq!((times.first().unwrap().as_str(), times.last().unwrap().as_str()), ("02:00", "04:59"));
    }

    #[test]
    fn only_a_time_of_day_is_one() {
        assert_eq!("03:15".parse::<Clock>().unwrap().to_string(), "03:15");
        assert!("23:59".parse::<Clock>().is_ok());
        for bad in ["", "3:15", "24:00", "03:60", "03:15:00", "+3:15", "03:15\nExecStart=x", "é:é"] {
            assert_eq!(bad.parse::<Clock>().unwrap_err().code, Code::InvalidValue, "{bad}");
        }
    }
}
