//! What the services that a project stores things in have in common.

use crate::{
    domain::{env::EnvKey, secret::Sealed},
    project::ProjectSpec,
    resource::Any,
};

/// What every daemon of HostKit's is kept from, whatever it serves: it sees nobody else's files and
/// processes, speaks to this machine alone, and can become nothing more.
pub(super) const SANDBOX: &str = "\
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
PrivateTmp=yes
IPAddressDeny=any
IPAddressAllow=localhost
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
";

/// A service that a project stores things in: a database, Redis, a bucket.
pub trait DataService {
    /// What it is made of, in the order it goes up.
    fn resources(&self, spec: &ProjectSpec) -> Vec<Any>;
    /// Its variables that are no secret.
    fn plain(&self, spec: &ProjectSpec) -> Vec<(EnvKey, String)>;
    /// Its variables that are, sealed for the project and the variable.
    fn sealed(&self, spec: &ProjectSpec) -> Vec<(EnvKey, Sealed)>;
    /// Lets the credential go that was valid before the current one; says whether there was one. Both
    /// are valid until the process has been started anew.
    fn retire(&mut self) -> bool;
}

impl ProjectSpec {
    /// The services it has, in the order they go up.
    pub fn services(&self) -> Vec<&dyn DataService> {
        let database = self.database.as_ref().map(|service| service as &dyn DataService);
        let redis = self.redis.as_ref().map(|service| service as &dyn DataService);
        let storage = self.storage.as_ref().map(|service| service as &dyn DataService);
        [database, redis, storage].into_iter().flatten().collect()
    }

    /// Lets every credential go that was valid before the current one; says whether there was one.
    pub fn retire(&mut self) -> bool {
        let database = self.database.as_mut().map(|service| service as &mut dyn DataService);
        let redis = self.redis.as_mut().map(|service| service as &mut dyn DataService);
        let storage = self.storage.as_mut().map(|service| service as &mut dyn DataService);
        let services = [database, redis, storage].into_iter().flatten();
        services.filter_map(|service| service.retire().then_some(())).count() > 0
    }
}
