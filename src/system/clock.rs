//! Time, as a value that tests can set.

use std::{
    fmt,
    sync::OnceLock,
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// What time it is, and waiting.
pub trait Clock: fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Time that only goes forward, since some moment: what waits are measured with.
    fn elapsed(&self) -> Duration;
    /// Waits.
    fn sleep(&self, time: Duration);
}

/// The machine's clock.
#[derive(Debug)]
pub struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
    fn elapsed(&self) -> Duration {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        BEGAN.get_or_init(Instant::now).elapsed()
    }
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
