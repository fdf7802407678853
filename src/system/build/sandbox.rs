//! What a command of a build can see and do: the settings of its unit.
//!
//! Every line has been tried by a hostile `postinstall`. Loopback, and with it every database, is the
//! packet filter's matter: it goes by the account, and holds where systemd cannot filter addresses.

use super::Job;
use crate::system::job;

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
    // As a release has them: nothing is left to change when it is sealed.
    "UMask=0027",
];

/// The unit that runs a command.
pub(super) fn unit(job: &Job) -> job::Job {
    let Job { unit, account, tree, place, home, environment, bounds, .. } = job;
    let mut settings = vec![
        format!("User={account}"),
        format!("Group={account}"),
        format!("WorkingDirectory={place}"),
        format!("EnvironmentFile={environment}"),
    ];
    settings.extend(FIXED.iter().map(|line| (*line).to_owned()));
    settings.extend([
        format!("BindPaths={tree}:{place}"),
        format!("BindPaths={home}"),
        format!("MemoryMax={}", bounds.memory),
        format!("TasksMax={}", bounds.tasks),
        // The same once more by account: it holds wherever control groups do not.
        format!("LimitNPROC={}", bounds.tasks),
        format!("CPUQuota={}%", bounds.cpu),
    ]);
    job::Job {
        unit: unit.clone(),
        description: format!("HostKit: a build ({account})"),
        settings,
        // systemd would put its own environment's values in.
        argv: job.argv.iter().map(|word| word.replace('$', "$$")).collect(),
        patience: bounds.time,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        domain::{layout::HostPath, name::ProjectName},
        system::build::Bounds,
    };

    fn settings() -> Vec<String> {
        let name: ProjectName = "blog".parse().expect("a name");
        let path = HostPath::fixed("/x");
        let job = Job {
            unit: name.build_unit(),
            account: "hkb40000".into(),
            uid: 40_000,
            tree: path.clone(),
            place: path.clone(),
            home: path.clone(),
            environment: path,
            argv: vec!["echo".into(), "$HOME".into()],
            bounds: Bounds { memory: 1 << 30, disk: 0, time: Duration::from_mins(1), tasks: 99, cpu: 150 },
        };
        let unit = unit(&job);
        assert_eq!(unit.argv, ["echo", "$$HOME"]);
        assert_eq!(unit.patience, job.bounds.time);
        unit.settings
    }

    #[test]
    fn what_a_build_may_use_stands_in_its_unit() {
        let settings = settings();
        for line in [
            "MemoryMax=1073741824",
            "MemorySwapMax=0",
            "TasksMax=99",
            "LimitNPROC=99",
            "CPUQuota=150%",
            "User=hkb40000",
        ] {
            assert!(settings.iter().any(|l| l == line), "{line}");
        }
    }

    #[test]
    fn no_way_leads_past_the_families_of_sockets_that_a_build_may_open() {
        let settings = settings();
        let families: Vec<&String> =
            settings.iter().filter(|l| l.starts_with("RestrictAddressFamilies=")).collect();
        assert_eq!(families, ["RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK"]);
        let denied =
            settings.iter().any(|l| l.starts_with("SystemCallFilter=~") && l.contains("io_uring_setup"));
        assert!(denied, "io_uring opens sockets of any family");
    }
}
