//! How much a build may use.

use std::time::Duration;

/// What a build may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Memory in bytes; never any swap.
    pub memory: u64,
    /// What the tree and the cache may hold together, in bytes.
    pub disk: u64,
    /// How long it may take.
    pub time: Duration,
    /// Processes and threads.
    pub tasks: u32,
}

/// The memory in bytes that could be had now without anything being written to the swap; `None` where the
/// kernel does not say.
pub fn memory_at_hand() -> Option<u64> {
    at_hand(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn at_hand(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_memory_at_hand_is_read() {
        let text = "MemTotal:       24684444 kB\nMemFree:         1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(super::at_hand(text), Some(2 << 20));
        assert_eq!(super::at_hand("MemTotal: 1 kB\n"), None);
    }
}
