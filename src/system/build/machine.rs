//! What there is to build with.

use std::num::NonZero;

/// What the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Memory in bytes.
    pub memory: u64,
    /// The memory that could be had now without anything being written to the swap.
    pub free: u64,
    /// Processors.
    pub processors: u32,
}

impl Machine {
    /// This one; `None` where the kernel does not say what memory it has.
    pub fn here() -> Option<Self> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
        Self::read(&meminfo, u32::try_from(processors).unwrap_or(u32::MAX))
    }

    fn read(meminfo: &str, processors: u32) -> Option<Self> {
        let field = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kib << 10)
        };
        Some(Self { memory: field("MemTotal:")?, free: field("MemAvailable:")?, processors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_machine_is_read() {
        let text = "MemTotal:       4096 kB\nMemFree:         1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(Machine::read(text, 2), Some(Machine { memory: 4 << 20, free: 2 << 20, processors: 2 }));
        assert_eq!(Machine::read("MemTotal: 1 kB\n", 2), None);
    }
}
