//! How much a build may use: what is usual, what a project asks for, and what an administrator allows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
        size,
    },
    system::build::{Bounds, Machine},
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How much a build may use, or the most that it may ask for. What is not said is as usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Space on the disk in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    /// How long it may take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    /// Hundredths of a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
}

/// With less hardly any build ends well.
const LEAST_MEMORY: u64 = 512 * MIB;
/// The most memory that a build gets without being asked for.
const MOST_MEMORY: u64 = 8 * GIB;

impl Limits {
    /// What can be asked for at all: the least and the most of each.
    pub const MEMORY: (u64, u64) = (64 * MIB, 1 << 50);
    /// See [`Limits::MEMORY`].
    pub const DISK: (u64, u64) = (64 * MIB, 1 << 50);
    /// See [`Limits::MEMORY`].
    pub const TIMEOUT: (u32, u32) = (1, 86_400);
    /// See [`Limits::MEMORY`].
    pub const TASKS: (u32, u32) = (16, 100_000);
    /// See [`Limits::MEMORY`].
    pub const CPU: (u32, u32) = (5, 100_000);

    /// These, and what they do not say as others have it.
    pub fn or(self, other: Self) -> Self {
        Self {
            memory: self.memory.or(other.memory),
            disk: self.disk.or(other.disk),
            timeout: self.timeout.or(other.timeout),
            tasks: self.tasks.or(other.tasks),
            cpu: self.cpu.or(other.cpu),
        }
    }

    /// What a build gets that asks for nothing: half of the memory that could be had now, for the
    /// applications that run may come to need the other half; and of every processor four fifths.
    fn usual(machine: Option<Machine>) -> Self {
        let memory = machine.map_or(LEAST_MEMORY, |m| (m.free / 2).clamp(LEAST_MEMORY, MOST_MEMORY));
        let processors = machine.map_or(1, |machine| machine.processors);
        Self {
            memory: Some(memory),
            disk: Some(10 * GIB),
            timeout: Some(900),
            tasks: Some(512),
            cpu: Some(processors.saturating_mul(80)),
        }
    }

    /// The most that a project may ask for, unless an administrator has said otherwise.
    fn ceiling(machine: Option<Machine>) -> Self {
        let memory = machine.map_or(LEAST_MEMORY, |m| (m.memory / 4 * 3).max(LEAST_MEMORY));
        let processors = machine.map_or(1, |machine| machine.processors);
        Self {
            memory: Some(memory),
            disk: Some(50 * GIB),
            timeout: Some(3600),
            tasks: Some(4096),
            cpu: Some(processors.saturating_mul(100)),
        }
    }

    /// What is allowed, all of it said.
    pub fn allowed(self, machine: Option<Machine>) -> Self {
        self.or(Self::ceiling(machine))
    }

    /// The bounds of a build that asks for these and is allowed those; refused where it asks for more.
    pub fn bounds(
        self,
        allowed: Self,
        machine: Option<Machine>,
        name: &ProjectName,
    ) -> Result<Bounds, Fault> {
        let (most, usual) = (allowed.allowed(machine), Self::usual(machine));
        let size =
            |what, asked, most, usual, least| fit(name, what, (asked, most, usual), least, size::text, "");
        let number =
            |what, (asked, most, usual): (Option<u32>, Option<u32>, Option<u32>), least: u32, unit| {
                let wide = |n: Option<u32>| n.map(u64::from);
                fit(name, what, (wide(asked), wide(most), wide(usual)), least.into(), |n| n.to_string(), unit)
                    .map(|n| u32::try_from(n).unwrap_or(u32::MAX))
            };
        Ok(Bounds {
            memory: size("memory", self.memory, most.memory, usual.memory, Self::MEMORY.0)?,
            disk: size("disk", self.disk, most.disk, usual.disk, Self::DISK.0)?,
            time: Duration::from_secs(
                number("timeout", (self.timeout, most.timeout, usual.timeout), Self::TIMEOUT.0, " s")?.into(),
            ),
            tasks: number("tasks", (self.tasks, most.tasks, usual.tasks), Self::TASKS.0, "")?,
            cpu: number("cpu", (self.cpu, most.cpu, usual.cpu), Self::CPU.0, " %")?,
        })
    }
}

/// What is asked for if it may be had, or what is usual and may be had.
fn fit(
    name: &ProjectName,
    what: &str,
    (asked, most, usual): (Option<u64>, Option<u64>, Option<u64>),
    least: u64,
    text: impl Fn(u64) -> String,
    unit: &str,
) -> Result<u64, Fault> {
    let most = most.unwrap_or(u64::MAX);
    let Some(asked) = asked else { return Ok(usual.unwrap_or(most).min(most)) };
    let show = |n| format!("{}{unit}", text(n));
    if asked < least {
        return Err(Fault::new(
            Code::InvalidValue,
            format!(
                "the build would get {what} {}, and none can do with less than {}",
                show(asked),
                show(least)
            ),
        ));
    }
    if asked > most {
        return Err(Fault::new(
            Code::InvalidValue,
            format!(
                "the build asks for {what} {}, and builds of `{name}` may have {} at most",
                show(asked),
                show(most)
            ),
        )
        .next(format!("hostkit rails {name} --build-{what} {}    # as an administrator", text(asked))));
    }
    Ok(asked)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SMALL: Machine = Machine { memory: 4 * GIB, free: 2 * GIB, processors: 2 };

    fn bounds(asked: Limits, allowed: Limits) -> Result<Bounds, Fault> {
        asked.bounds(allowed, Some(SMALL), &"blog".parse().unwrap())
    }

    #[test]
    fn a_build_gets_half_of_the_memory_that_is_left_but_never_too_little() {
        let memory = |free| Limits::usual(Some(Machine { free, ..SMALL })).memory;
        assert_eq!(memory(4 * GIB), Some(2 * GIB));
        assert_eq!(memory(300 * MIB), Some(LEAST_MEMORY));
        assert_eq!(memory(64 * GIB), Some(MOST_MEMORY));
        assert_eq!(Limits::usual(None).memory, Some(LEAST_MEMORY));
    }

    #[test]
    fn a_build_leaves_a_part_of_every_processor_to_what_runs() {
        assert_eq!(bounds(Limits::default(), Limits::default()).unwrap().cpu, 160);
        let asked = Limits { cpu: Some(200), ..Limits::default() };
        assert_eq!(bounds(asked, Limits::default()).unwrap().cpu, 200);
    }

    #[test]
    fn what_is_asked_for_is_had_up_to_what_is_allowed() {
        let asked = Limits { memory: Some(3 * GIB), timeout: Some(60), ..Limits::default() };
        let had = bounds(asked, Limits::default()).unwrap();
        assert_eq!((had.memory, had.time.as_secs(), had.tasks), (3 * GIB, 60, 512));
        for (asked, flag) in [
            (Limits { memory: Some(4 * GIB), ..Limits::default() }, "--build-memory 4G"),
            (Limits { disk: Some(51 * GIB), ..Limits::default() }, "--build-disk 51G"),
            (Limits { timeout: Some(3601), ..Limits::default() }, "--build-timeout 3601"),
            (Limits { tasks: Some(4097), ..Limits::default() }, "--build-tasks 4097"),
            (Limits { cpu: Some(201), ..Limits::default() }, "--build-cpu 201"),
        ] {
            let fault = bounds(asked, Limits::default()).unwrap_err();
            assert_eq!(fault.code, Code::InvalidValue);
            assert!(fault.next.iter().any(|next| next.contains(flag)), "{:?}", fault.next);
            assert!(bounds(asked, asked).is_ok(), "an administrator has allowed it: {flag}");
        }
    }

    #[test]
    fn what_is_allowed_bounds_what_is_usual_too() {
        let allowed = Limits { memory: Some(600 * MIB), cpu: Some(50), ..Limits::default() };
        let had = bounds(Limits::default(), allowed).unwrap();
        assert_eq!((had.memory, had.cpu), (600 * MIB, 50));
    }

    #[test]
    fn bounds_that_nothing_could_be_built_in_are_refused() {
        let fault = bounds(Limits { memory: Some(MIB), ..Limits::default() }, Limits::default()).unwrap_err();
        assert_eq!(fault.code, Code::InvalidValue);
        assert!(bounds(Limits { memory: Some(100 * MIB), ..Limits::default() }, Limits::default()).is_ok());
    }
}
