//! Counts effects, and in tests stops the world at the n-th one.

use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};

/// Counts effects; a wire set at `n` dies there and at every later one, as a dead process would.
#[derive(Clone, Debug, Default)]
pub struct Tripwire(Arc<Mutex<Wire>>);

#[derive(Debug, Default)]
struct Wire {
    crossed: usize,
    dies_at: Option<usize>,
}

impl Tripwire {
    /// A wire that dies at the `n`-th effect, counted from 1.
    pub fn at(n: usize) -> Self {
        Self(Arc::new(Mutex::new(Wire { crossed: 0, dies_at: Some(n) })))
    }
    /// How many effects there have been.
    pub fn crossed(&self) -> usize {
        self.wire().crossed
    }
    /// Whether it has died.
    pub fn died(&self) -> bool {
        let wire = self.wire();
        wire.dies_at.is_some_and(|n| wire.crossed >= n)
    }
    /// Called immediately before *and* after each effect.
    pub fn cross(&self, what: &str) -> Result<()> {
        let mut wire = self.wire();
        wire.crossed += 1;
        if wire.dies_at.is_some_and(|n| wire.crossed >= n) {
            bail!("died at effect {} ({what})", wire.crossed);
        }
        Ok(())
    }
    fn wire(&self) -> std::sync::MutexGuard<'_, Wire> {
        self.0.lock().expect("no holder of the wire panics")
    }
}
