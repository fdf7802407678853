//! Time, as a value that tests can set.

use std::{fmt, time::Duration};

use jiff::Timestamp;

/// What time it is, and waiting.
pub trait Clock: fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
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
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
