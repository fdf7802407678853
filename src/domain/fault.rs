//! Faults: everything that can go wrong in a way a caller should be able to tell apart.
//!
//! A fault carries a stable [`Code`] (scripts match on it), a sentence, and what to type next. It
//! travels inside an `anyhow::Error`; `cli::report` finds it there and decides the wording.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares the codes, each with the exit status it ends the process with and what it means.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $Name:ident = $text:literal, $exit:literal;)+) => {
        /// What went wrong, by a name that never changes once released.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Code { $($(#[doc = $doc])+ #[serde(rename = $text)] $Name),+ }

        impl Code {
            /// Every code, in the order of the exit statuses.
            pub const ALL: &'static [Self] = &[$(Self::$Name),+];
            /// The name scripts see, such as `PORT_TAKEN`.
            pub const fn text(self) -> &'static str { match self { $(Self::$Name => $text),+ } }
            /// The exit status of a process that ends with this fault.
            pub const fn exit(self) -> u8 { match self { $(Self::$Name => $exit),+ } }
            /// One sentence on what the code means, for `hostkit help exit-codes`.
            pub const fn meaning(self) -> &'static str { match self { $(Self::$Name => concat!($($doc),+)),+ } }
        }
    };
}

codes! {
    /// Something unexpected; a bug, or a failing system call
    Internal = "INTERNAL", 1;
    /// The words on the command line do not make a command
    Usage = "USAGE", 2;
    /// A question needs a terminal, or the flag that answers it
    ConfirmationNeeded = "CONFIRMATION_NEEDED", 2;
    /// A name that breaks the rules for names
    InvalidName = "INVALID_NAME", 3;
    /// A value that breaks the rules for its kind
    InvalidValue = "INVALID_VALUE", 3;
    /// `hostkit.toml` or a Procfile that cannot be understood
    InvalidConfig = "INVALID_CONFIG", 3;
    /// A template override that does not render or is refused by its checker
    InvalidTemplate = "INVALID_TEMPLATE", 3;
    /// A source that is missing, empty, unreadable or hostile
    InvalidSource = "INVALID_SOURCE", 3;
    /// Nothing in the source says what kind of application it is
    NothingDetected = "NOTHING_DETECTED", 3;
    /// A variable that the application requires has no value
    EnvMissing = "ENV_MISSING", 3;
    /// A file that is no backup, or is cut short or altered
    InvalidBackup = "INVALID_BACKUP", 3;
    /// A certificate that does not fit its key or its address, or is not good now
    InvalidCertificate = "INVALID_CERTIFICATE", 3;
    /// A backup that was made with another master key
    WrongKey = "WRONG_KEY", 3;
    /// No project of that name
    ProjectNotFound = "PROJECT_NOT_FOUND", 4;
    /// No release of that name, or none to go back to
    ReleaseNotFound = "RELEASE_NOT_FOUND", 4;
    /// No backup or checkpoint of that name
    BackupNotFound = "BACKUP_NOT_FOUND", 4;
    /// The project does not have that domain, or the domain has no certificate
    DomainNotFound = "DOMAIN_NOT_FOUND", 4;
    /// No variable or secret of that name, or no such version of the environment
    VariableNotFound = "VARIABLE_NOT_FOUND", 4;
    /// A name that somebody else holds: an account, a project
    NameTaken = "NAME_TAKEN", 5;
    /// A port that somebody else holds
    PortTaken = "PORT_TAKEN", 5;
    /// A domain that another project or another site has
    DomainTaken = "DOMAIN_TAKEN", 5;
    /// Something exists on the host that HostKit did not put there
    Foreign = "FOREIGN", 5;
    /// The project is not in a state in which this can be done
    WrongState = "WRONG_STATE", 5;
    /// Deploys of the project are paused, because too many failed
    Paused = "PAUSED", 5;
    /// `hostkit init` has not run on this host
    NotInitialised = "NOT_INITIALISED", 6;
    /// A program HostKit needs is not installed
    ProgramMissing = "PROGRAM_MISSING", 6;
    /// A service HostKit needs is down or answers with an error
    ServiceDown = "SERVICE_DOWN", 6;
    /// nginx refuses the configuration, or does not load it
    NginxRefused = "NGINX_REFUSED", 6;
    /// The object storage refuses a request: a key, a quota, a bucket that is not there
    StorageRefused = "STORAGE_REFUSED", 6;
    /// A domain does not lead to this host
    DnsElsewhere = "DNS_ELSEWHERE", 6;
    /// The certificate authority does not give a certificate
    CertificateRefused = "CERTIFICATE_REFUSED", 6;
    /// A certificate is gone from its place
    CertificateMissing = "CERTIFICATE_MISSING", 6;
    /// Too little space or too few inodes are left
    DiskFull = "DISK_FULL", 6;
    /// The registry was written by a newer version
    RegistryNewer = "REGISTRY_NEWER", 6;
    /// The master key is missing, or is not the one that secrets were sealed with
    VaultKey = "VAULT_KEY", 6;
    /// The registry cannot be read
    RegistryDamaged = "REGISTRY_DAMAGED", 6;
    /// The caller may not do this
    NotPermitted = "NOT_PERMITTED", 7;
    /// A repository could not be fetched; the old release is live
    FetchFailed = "FETCH_FAILED", 8;
    /// A command of the build failed, or what it left cannot be a release; the old release is live
    BuildFailed = "BUILD_FAILED", 8;
    /// The build needed more memory than it may use
    BuildOutOfMemory = "BUILD_OUT_OF_MEMORY", 8;
    /// The build took longer than it may
    BuildTimeout = "BUILD_TIMEOUT", 8;
    /// The build needed more space on the disk than it may use
    BuildTooLarge = "BUILD_TOO_LARGE", 8;
    /// Somebody ended the build
    BuildCancelled = "BUILD_CANCELLED", 8;
    /// A migration failed; the old release is live, the database may be changed
    ReleasePhaseFailed = "RELEASE_PHASE_FAILED", 8;
    /// The new release did not become healthy; the old one is live
    Unhealthy = "UNHEALTHY", 9;
    /// The new release did not become healthy and the old one did not come back: the project is down
    Down = "DOWN", 10;
    /// Putting things back did not finish; `hostkit repair` goes on
    Unfinished = "UNFINISHED", 11;
    /// The host differs from the registry
    Drift = "DRIFT", 12;
    /// There were too many deploys, or too many that failed; possible again later
    RateLimited = "RATE_LIMITED", 75;
    /// Somebody else is working on the same project
    Busy = "BUSY", 75;
    /// Interrupted, and put back
    Interrupted = "INTERRUPTED", 130;
}

/// One thing that went wrong: a code, a sentence, and what to type next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The stable code.
    pub code: Code,
    /// What is wrong, as one sentence without a full stop.
    pub message: String,
    /// Commands or advice that lead on, most useful first.
    pub next: Vec<String>,
    /// Why, where that follows from facts that HostKit knows and is no guess.
    #[serde(default)]
    pub why: Option<String>,
}

impl Fault {
    /// A fault that says what is wrong.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), next: Vec::new(), why: None }
    }
    /// Says why, if that is known.
    #[must_use]
    pub fn because(mut self, why: Option<String>) -> Self {
        self.why = why;
        self
    }
    /// Adds something to type or do next.
    #[must_use]
    pub fn next(mut self, advice: impl Into<String>) -> Self {
        self.next.push(advice.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let mut names: Vec<_> = Code::ALL.iter().map(|c| c.text()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
