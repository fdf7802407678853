//! Numbers by chance that can be had again: the seed is printed.

/// A generator (xorshift64*).
pub(super) struct Chance {
    state: u64,
}

impl Chance {
    /// Takes the seed from `HOSTKIT_SEED`, or from the clock, and says it.
    pub(super) fn seeded(what: &str) -> Self {
        let clock = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |d| u64::from(d.subsec_nanos()) + d.as_secs())
        };
        let seed =
            std::env::var("HOSTKIT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(clock);
        println!("{what}: HOSTKIT_SEED={seed}");
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// A number below `limit`, each as likely as any other (but for a bias nobody can measure here).
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % limit.max(1)
    }
}
