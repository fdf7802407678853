//! A clock for tests.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;

use crate::system::Clock;

/// A clock that stands still unless somebody waits.
#[derive(Clone, Debug)]
pub struct Stopped(Arc<Mutex<Timestamp>>);

impl Stopped {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }
}

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no holder panics")
    }
    fn elapsed(&self) -> Duration {
        let since_epoch = self.now().duration_since(Timestamp::UNIX_EPOCH);
        since_epoch.try_into().expect("tests do not go before the beginning of time")
    }
    fn sleep(&self, time: Duration) {
        let mut now = self.0.lock().expect("no holder panics");
        *now = now.checked_add(time).expect("tests do not reach the end of time");
    }
}
