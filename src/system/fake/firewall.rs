//! A fake packet filter: it keeps the text it was given.

use anyhow::Result;

use super::Fake;
use crate::system::Firewall;

impl Firewall for Fake {
    fn table(&self) -> Result<Option<String>> {
        Ok(self.world.state().firewall.clone())
    }
    fn load(&mut self, rules: &str) -> Result<()> {
        self.effect("nft:load", |state| {
            state.firewall = Some(rules.to_owned());
            Ok(())
        })
    }
    fn unload(&mut self) -> Result<()> {
        self.effect("nft:unload", |state| {
            state.firewall = None;
            Ok(())
        })
    }
}
