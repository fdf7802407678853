//! A fake certificate authority. Its certificates are lines that say what they are.

use anyhow::{Result, bail};
use jiff::{SignedDuration, Timestamp};

use super::Fake;
use crate::{
    domain::{
        address::Address,
        fault::{Code, Fault},
        layout::HostPath,
    },
    system::certificates::{Authority, Certificates, Facts},
};

/// When the fake authority gives its certificates.
const SINCE: &str = "2096-11-20T00:00:00Z";

/// A certificate for these names that is good for so many days from a moment on, with the key `key`.
pub fn certificate(names: &str, since: Timestamp, days: i64, key: u32) -> (Vec<u8>, Vec<u8>) {
    let until = since + SignedDuration::from_hours(24 * days);
    (format!("{names}\n{since}\n{until}\n{key}\n").into(), format!("{key}\n").into())
}

impl Certificates for Fake {
    fn order(&mut self, _authority: &Authority, address: &Address) -> Result<(Vec<u8>, Vec<u8>)> {
        if let Some(refusal) = &self.world.state().refusal {
            bail!(Fault::new(Code::CertificateRefused, format!("no certificate for `{address}`: {refusal}")));
        }
        self.effect("certificates:order", |state| {
            state.certified += 1;
            Ok(())
        })?;
        let key = self.world.state().certified;
        Ok(certificate(&address.to_string(), SINCE.parse()?, 90, key))
    }
    fn revoke(&mut self, _authority: &Authority, _address: &Address) -> Result<()> {
        self.effect("certificates:revoke", |_| Ok(()))
    }
    fn examine(&self, folder: &HostPath) -> Result<Facts> {
        let read = |name: &str| std::fs::read_to_string(self.path(&folder.join(name).to_string()));
        let (chain, own) = (read("fullchain.pem")?, read("privkey.pem")?);
        let lines: Vec<&str> = chain.lines().collect();
        let [names, since, until, key] = lines.as_slice() else {
            bail!(Fault::new(Code::InvalidCertificate, "the certificate is not good: it cannot be read"))
        };
        if own.trim() != *key {
            bail!(Fault::new(
                Code::InvalidCertificate,
                "the certificate is not good: the key is not its own"
            ));
        }
        let names = names.split(' ').map(str::to_owned).collect();
        Ok(Facts { names, since: since.parse()?, until: until.parse()? })
    }
    fn is_believed(&self, _authority: &Authority, _host: &str) -> Result<bool> {
        Ok(self.world.state().believed)
    }
}
