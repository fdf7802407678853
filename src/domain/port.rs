//! Ports that projects listen on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::fault::{Code, Fault};

/// The port of a project's own process; its add-ons and its surge instance sit at fixed offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Port(u16);

impl Port {
    /// How many instances may answer a project's requests side by side.
    pub const INSTANCES: u16 = 4;
    /// Where the surge instance of a handover listens, above the port itself.
    const SURGE: u16 = 10_000;
    /// Where the second instance listens, above the port itself; each further one 1,000 above that.
    const SECOND: u16 = 7000;
    /// Where the project's own Redis listens, if it has one, above the port itself.
    const REDIS: u16 = 6000;
    /// The central voice service; never a project's.
    const VOICE: u16 = 8900;
    /// Blocks that neither meet each other's add-ons (+1000 … +5000, +6000), further instances (+7000 …
    /// +9000) nor surge ports (+10000), nor the kernel's ephemeral range (from 32768).
    const BLOCKS: [std::ops::RangeInclusive<u16>; 2] = [8001..=8999, 19001..=19999];

    /// Every port a project may have, in the order they are given out.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::BLOCKS.into_iter().flatten().filter(|p| *p != Self::VOICE).map(Self)
    }
    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }
    /// The number of the port that the `n`-th instance listens on, counted from 1.
    pub const fn instance(self, n: u16) -> u16 {
        if n < 2 { self.0 } else { self.0 + Self::SECOND + (n - 2) * 1000 }
    }
    /// The number of the port that the surge instance of a handover listens on.
    pub const fn surge(self) -> u16 {
        self.0 + Self::SURGE
    }
    /// The number of the port that a Redis server of the project's own listens on.
    pub const fn redis(self) -> u16 {
        self.0 + Self::REDIS
    }
}

impl TryFrom<u16> for Port {
    type Error = Fault;
    fn try_from(number: u16) -> Result<Self, Fault> {
        if number != Self::VOICE && Self::BLOCKS.iter().any(|b| b.contains(&number)) {
            return Ok(Self(number));
        }
        Err(Fault::new(Code::InvalidValue, format!("{number} cannot be a project's port"))
            .next("choose one from 8001–8999 (8900 is taken) or 19001–19999, or leave `--port` out"))
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        port.0
    }
}

impl FromStr for Port {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let number: u16 = text.parse().map_err(|_| {
            Fault::new(Code::InvalidValue, format!("`{}` is not a port", text.escape_debug()))
        })?;
        Self::try_from(number)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_meets_another_ones_add_on_or_surge_port() {
        let mut seen = BTreeSet::from([Port::VOICE]);
        for port in Port::all() {
            for offset in [0, 1000, 2000, 3000, 4000, 5000, Port::REDIS, Port::SURGE] {
                assert!(seen.insert(port.number() + offset), "{port} + {offset}");
            }
            for n in 2..=Port::INSTANCES {
                assert!(seen.insert(port.instance(n)), "instance {n} of {port}");
            }
        }
        assert!(seen.iter().all(|p| *p < 32768), "the kernel gives those out by itself");
        assert!(Port::all().count() > 1900);
    }

    #[test]
    fn the_first_port_is_8001() {
        assert_eq!(Port::all().next().map(Port::number), Some(8001));
    }
}
