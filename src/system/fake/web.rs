//! A fake web server, and what listens on the ports of the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::Fake;
use crate::{
    domain::fault::{Code, Fault},
    system::{Net, Nginx, Script, nginx::Version},
};

/// The fake host's address.
pub(super) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

impl Fake {
    /// What is on disk for nginx to load.
    fn sites(&self) -> Result<BTreeMap<String, String>> {
        let mut bodies = Vec::new();
        bodies.extend(std::fs::read_to_string(self.path("etc/nginx/conf.d/hostkit.conf")));
        for entry in std::fs::read_dir(self.path("etc/nginx/sites-enabled"))? {
            let target = std::fs::read_link(entry?.path())?;
            bodies.push(
                std::fs::read_to_string(self.path(&target.to_string_lossy()))
                    .context("[emerg] open() failed")?,
            );
        }
        let mut sites = BTreeMap::new();
        for body in bodies {
            if body.contains("BROKEN") {
                let message = "nginx refuses its configuration: [emerg] unknown directive \"BROKEN\"";
                bail!(Fault::new(Code::NginxRefused, message).next("nginx -t"));
            }
            let quoted = |key: &str| body.split(key).nth(1)?.split(['"', ';']).next().map(str::to_owned);
            if let (Some(name), Some(print)) = (quoted("server_name hostkit-"), quoted("return 200 \"")) {
                sites.insert(format!("hostkit-{name}"), print);
            }
        }
        Ok(sites)
    }
}

impl Nginx for Fake {
    fn loaded(&self, site: &str) -> Result<Option<String>> {
        let mut state = self.world.state();
        let answer = state.sites.get(site).filter(|_| !state.nginx_down).cloned();
        // The answer came from an old worker; the new ones take over now.
        if let Some(sites) = state.loading.take() {
            state.sites = sites;
        }
        drop(state);
        self.world.save()?;
        Ok(answer)
    }
    fn is_up(&self) -> bool {
        !self.world.state().nginx_down
    }
    fn version(&self) -> Result<Version> {
        Ok((1, 22, 1))
    }
    fn is_loading(&self) -> bool {
        self.path("run/hostkit/nginx-loading").exists()
    }
    fn load(&mut self, _domains: &[&str]) -> Result<()> {
        if self.world.state().nginx_down {
            bail!(Fault::new(Code::ServiceDown, "nginx is not running").next("systemctl start nginx"));
        }
        let sites = self.sites()?;
        let note = self.path("run/hostkit/nginx-loading");
        self.effect("nginx:note", |_| Ok(std::fs::write(&note, "")?))?;
        self.effect("nginx:signal", |state| {
            state.loading = Some(sites.clone());
            Ok(())
        })?;
        self.effect("nginx:loaded", |state| {
            state.loading = None;
            state.sites = sites;
            Ok(())
        })?;
        self.effect("nginx:settled", |_| Ok(std::fs::remove_file(&note)?))
    }
}

impl Net for Fake {
    fn listener(&self, port: u16) -> Result<Option<u32>> {
        let state = self.world.state();
        let app =
            state.units.values().find(|u| u.port == Some(port)).and_then(|u| state.accounts.get(&u.user));
        Ok(state.occupied.get(&port).copied().or(app.map(|(uid, _)| *uid)))
    }
    fn ports_of(&self, uid: u32) -> Result<BTreeSet<u16>> {
        let state = self.world.state();
        let theirs = |user: &str| state.accounts.get(user).is_some_and(|(known, _)| *known == uid);
        let others = state.occupied.iter().filter(|(_, account)| **account == uid).map(|(port, _)| *port);
        Ok(state.units.values().filter(|u| theirs(&u.user)).filter_map(|u| u.port).chain(others).collect())
    }
    fn is_exposed(&self, _port: u16) -> Result<bool> {
        Ok(false)
    }
    fn is_busy(&self, _port: u16) -> Result<bool> {
        Ok(false)
    }
    fn is_free(&self, port: u16) -> bool {
        let state = self.world.state();
        !state.occupied.contains_key(&port) && !state.units.values().any(|u| u.port == Some(port))
    }
    fn get(&self, port: u16, _host: &str, _path: &str, _patience: Duration) -> Result<u16> {
        let state = self.world.state();
        let unit = state.units.values().find(|u| u.port == Some(port)).context("connection refused")?;
        Ok(if self.release(unit).join("unhealthy").exists() { 500 } else { 200 })
    }
    fn run(&self, port: u16, script: &Script<'_>, patience: Duration) -> Result<u16> {
        self.get(port, script.host, script.path, patience)
    }
    fn ipv6(&self) -> bool {
        true
    }
    fn resolve(&self, name: &str) -> Result<Vec<IpAddr>> {
        Ok(self.world.state().names.get(name).copied().into_iter().collect())
    }
    fn addresses(&self) -> Result<Vec<IpAddr>> {
        Ok(vec![HERE])
    }
}
