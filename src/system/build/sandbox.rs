//! What a command of a build can see and do: the words that `systemd-run` is given.
//!
//! Every line has been tried by a hostile `postinstall`. Loopback, and with it every database, is the
//! packet filter's matter: it goes by the account, and holds where systemd cannot filter addresses.

use super::Job;

/// What is the same for every build.
const FIXED: &[&str] = &[
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "PrivateDevices=yes",
    "DevicePolicy=closed",
    "ProtectSystem=strict",
    // The homes, root's own and what users leave at run time are not there at all.
    "ProtectHome=tmpfs",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectProc=invisible",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictNamespaces=yes",
    "LockPersonality=yes",
    // Not AF_UNIX: its abstract names lead out of every tree, and an open file that is handed to somebody
    // there could be written to after the release is sealed. Pairs of sockets can be made all the same.
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged",
    // It opens sockets of any family, past the line above. Node and others do without where it is missing.
    "SystemCallFilter=~io_uring_setup io_uring_enter io_uring_register",
    // Tools give files to the account they run as; to nobody else can they.
    "SystemCallFilter=@chown",
    "SystemCallErrorNumber=EPERM",
    "RemoveIPC=yes",
    "PrivateIPC=yes",
    "KeyringMode=private",
    // A port below those that the kernel gives out could be an application's. Where systemd cannot refuse
    // it, the packet filter sees to it that nobody is answered there.
    "SocketBindDeny=ipv4:tcp:1-32767",
    "SocketBindDeny=ipv6:tcp:1-32767",
    "InaccessiblePaths=-/etc/hostkit -/etc/ssh -/var/lib/hostkit -/var/lib/hostkit-s3 -/var/lib/postgresql \
     -/var/lib/redis -/var/log -/var/spool -/var/backups -/var/mail -/srv -/mnt -/media -/boot",
    // Sockets of daemons: D-Bus, PostgreSQL, HostKit. The resolver's file stays.
    "TemporaryFileSystem=/run:ro,mode=0755",
    "BindReadOnlyPaths=-/run/systemd/resolve",
    // Counted as the build's memory, and gone with it.
    "TemporaryFileSystem=/tmp:mode=1777,size=25%",
    "TemporaryFileSystem=/var/tmp:mode=1777,size=25%",
    "TemporaryFileSystem=/dev/shm:mode=1777,size=25%",
    "TemporaryFileSystem=/var/cache/hostkit:ro,mode=0755",
    "MemorySwapMax=0",
    // Applications come first.
    "CPUWeight=20",
    "Nice=10",
    "IOSchedulingClass=idle",
    "OOMScoreAdjust=500",
    "LimitCORE=0",
    "LimitFSIZE=2G",
    "LimitNOFILE=65536",
    // Whoever is ended has not succeeded, and nothing of a build is worth being asked politely.
    "KillMode=control-group",
    "KillSignal=SIGKILL",
    "TimeoutStopSec=5",
    "UMask=0022",
];

/// The words after `systemd-run`. The unit is one that ends: for a daemon it would be a success to be ended
/// by a signal.
pub(super) fn arguments(job: &Job) -> Vec<String> {
    let Job { unit, account, tree, place, home, environment, bounds, .. } = job;
    let mut words: Vec<String> =
        ["--quiet", "--wait", "--pipe", "--service-type=oneshot"].map(Into::into).into();
    words.push(format!("--unit={unit}"));
    let mut property = |text: String| words.extend(["-p".to_owned(), text]);
    property(format!("Description=HostKit: a build ({account})"));
    property(format!("User={account}"));
    property(format!("Group={account}"));
    property(format!("WorkingDirectory={place}"));
    property(format!("EnvironmentFile={environment}"));
    for fixed in FIXED {
        property((*fixed).to_owned());
    }
    property(format!("BindPaths={tree}:{place}"));
    property(format!("BindPaths={home}"));
    property(format!("MemoryMax={}", bounds.memory));
    property(format!("TasksMax={}", bounds.tasks));
    // The same once more by account: it holds wherever control groups do not.
    property(format!("LimitNPROC={}", bounds.tasks));
    property(format!("TimeoutStartSec={}", bounds.time.as_secs().max(1)));
    words.extend(["--", "/usr/bin/env", "--"].map(Into::into));
    // systemd would put its own environment's values in.
    words.extend(job.argv.iter().map(|word| word.replace('$', "$$")));
    words
}
