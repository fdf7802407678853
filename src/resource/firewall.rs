//! HostKit's table of the kernel's packet filter, as it is loaded now; a unit loads it at boot.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Resource, State};
use crate::system::Host;

/// The table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Firewall {
    /// Its rules, as `nft -f` reads them.
    pub rules: String,
    /// A word that only these rules hold: the kernel words them in its own way, but keeps names.
    pub mark: String,
}

impl Resource for Firewall {
    const KIND: &'static str = "firewall";
    /// The table as the kernel had it; that text can be loaded again.
    type Found = Option<String>;

    fn name(&self) -> String {
        "hostkit".to_owned()
    }
    fn observe(&self, host: &Host) -> Result<Option<String>> {
        host.firewall.table()
    }
    fn compare(&self, found: &Option<String>) -> State {
        match found {
            None => State::Missing,
            Some(rules) if rules.contains(&self.mark) => State::Satisfied,
            Some(_) => State::Differs("rules".into()),
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        host.firewall.load(&self.rules)
    }
    fn restore(&self, found: &Option<String>, host: &mut Host) -> Result<()> {
        match found {
            Some(rules) => host.firewall.load(rules),
            None if host.firewall.table()?.is_some() => host.firewall.unload(),
            None => Ok(()),
        }
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        let rules = "table inet hostkit {\n\tchain mark_1 {\n\t}\n}\n".to_owned();
        Some(Self { rules, mark: "mark_1".into() })
    }
}
