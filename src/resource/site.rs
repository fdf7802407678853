//! A project's nginx site: its file, the link that has nginx read it, and what the running nginx has
//! loaded. One kind, because only together are they true or false.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Resource, State, file::LIMIT};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout::HostPath,
    },
    system::{Attr, Host},
};

/// How long a reload may take until it is seen.
const LOADED_WITHIN: Duration = Duration::from_secs(2);
const PACE: Duration = Duration::from_millis(5);
const MODE: u32 = 0o644;

/// A site.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// The name it answers its fingerprint under, on the status socket.
    pub name: String,
    /// Its file.
    pub path: HostPath,
    /// The link to it that nginx reads; `None` where nginx reads the file itself.
    pub link: Option<HostPath>,
    /// The domain it serves, if it serves one.
    pub domain: Option<String>,
    /// What else it answers to.
    #[serde(default)]
    pub domains: Vec<String>,
    /// All of it.
    pub body: String,
    /// What the running nginx answers when it has loaded this text.
    pub fingerprint: String,
}

/// A site as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    body: Option<String>,
    mode: u32,
    link: Option<String>,
    loaded: Option<String>,
}

impl Site {
    /// Everything that no other site may answer to.
    fn claims(&self) -> Vec<&str> {
        self.domain.iter().chain(&self.domains).map(String::as_str).collect()
    }

    /// Where its link points when it is enabled.
    fn target(&self) -> Option<String> {
        self.link.as_ref().map(|_| self.path.to_string())
    }

    /// Writes or removes file and link; says whether that changed anything.
    fn write(&self, body: Option<&str>, mode: u32, link: Option<&str>, host: &mut Host) -> Result<bool> {
        let now = self.observe(host)?;
        let mut changed = false;
        if now.body.as_deref() != body || now.mode != mode {
            changed = true;
            match body {
                Some(body) => host.root.replace(&self.path, body.as_bytes(), Attr::root(mode))?,
                None => host.root.remove(&self.path)?,
            }
        }
        if let Some(place) = &self.link
            && now.link.as_deref() != link
        {
            changed = true;
            match link {
                Some(target) => host.root.link(place, target)?,
                None => host.root.remove(place)?,
            }
        }
        Ok(changed)
    }

    fn is_loaded(&self, wanted: Option<&str>, host: &Host) -> Result<bool> {
        Ok(host.nginx.loaded(&self.name)?.as_deref() == wanted)
    }

    /// Waits until the running nginx answers as wanted.
    fn await_loaded(&self, wanted: Option<&str>, host: &Host) -> Result<()> {
        let deadline = host.clock.elapsed() + LOADED_WITHIN;
        while !self.is_loaded(wanted, host)? {
            if host.clock.elapsed() >= deadline {
                bail!(
                    Fault::new(Code::NginxRefused, "nginx accepted its configuration and did not load it")
                        .next("journalctl -u nginx -n 20")
                );
            }
            host.clock.sleep(PACE);
        }
        Ok(())
    }
}

impl Resource for Site {
    const KIND: &'static str = "site";
    type Found = Found;

    fn name(&self) -> String {
        self.name.clone()
    }
    fn observe(&self, host: &Host) -> Result<Found> {
        let body = host.root.read(&self.path, LIMIT)?.map(|b| String::from_utf8_lossy(&b).into_owned());
        let link = match &self.link {
            Some(place) => host.root.target(place)?,
            None => None,
        };
        // What nginx still has in memory of a site that is gone from the disk is nobody's.
        let loaded = match (&body, &link) {
            (None, None) => None,
            _ => host.nginx.loaded(&self.name)?,
        };
        let mode = host.root.meta(&self.path)?.map_or(0, |m| m.attr.mode);
        Ok(Found { body, mode, link, loaded })
    }
    fn compare(&self, found: &Found) -> State {
        match &found.body {
            None => State::Missing,
            Some(body) if *body != self.body => State::Differs("content".into()),
            Some(_) if found.mode != MODE => State::Differs(format!("mode {:04o} → {MODE:04o}", found.mode)),
            Some(_) if found.link != self.target() => State::Differs("is not enabled".into()),
            Some(_) if found.loaded.as_ref() != Some(&self.fingerprint) => {
                State::Differs("nginx has not loaded it".into())
            }
            Some(_) => State::Satisfied,
        }
    }
    fn apply(&self, host: &mut Host) -> Result<()> {
        let _held = host.hold("nginx")?;
        let wanted = Some(self.fingerprint.as_str());
        let changed = self.write(Some(&self.body), MODE, self.target().as_deref(), host)?;
        // A load that is under way, ours or the administrator's, may have read what was there before.
        if !changed && !host.nginx.is_loading() && self.is_loaded(wanted, host)? {
            return Ok(());
        }
        host.nginx.load(&self.claims())?;
        self.await_loaded(wanted, host)
    }
    fn restore(&self, found: &Found, host: &mut Host) -> Result<()> {
        host.root.tidy(&self.path)?;
        if let Some(place) = &self.link {
            host.root.tidy(place)?;
        }
        let _held = host.hold("nginx")?;
        let wanted = found.loaded.as_deref();
        let changed = self.write(found.body.as_deref(), found.mode, found.link.as_deref(), host)?;
        let told = host.nginx.is_loading();
        if !changed && !told && self.is_loaded(wanted, host)? {
            return Ok(());
        }
        if let Err(error) = host.nginx.load(&[]) {
            // Somebody else's mistake keeps nginx from loading anything; as long as it was not told
            // to, it runs what it ran before.
            return if !told && self.is_loaded(wanted, host)? { Ok(()) } else { Err(error) };
        }
        let consistent = match (&found.body, &found.loaded) {
            (Some(body), Some(print)) => body.contains(print.as_str()),
            (body, print) => body.is_none() && print.is_none(),
        };
        // What was on disk may not have been what ran; then there is no answer to wait for.
        if consistent { self.await_loaded(wanted, host) } else { Ok(()) }
    }
    fn place(&self) -> Option<&HostPath> {
        Some(&self.path)
    }
    fn title(&self, _removing: bool) -> Option<&'static str> {
        // It is done only once nginx has loaded it.
        Some("nginx")
    }
    #[cfg(test)]
    fn sample() -> Option<Self> {
        Some(Self {
            name: "hostkit-blog".into(),
            path: HostPath::fixed("/etc/nginx/sites-available/hostkit-blog"),
            link: Some(HostPath::fixed("/etc/nginx/sites-enabled/hostkit-blog")),
            domain: Some("blog.example.test".into()),
            domains: Vec::new(),
            body: "server_name hostkit-blog;\nreturn 200 \"f1\";\n".into(),
            fingerprint: "f1".into(),
        })
    }
}
