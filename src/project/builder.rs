//! Who builds a project's releases: an account that is nobody else's, and what it may reach.

use serde::{Deserialize, Serialize};

use super::ProjectSpec;
use crate::resource::{Any, Cache, Firewall, UnixAccount};

/// The account that builds a project's releases. It is not the project's: what a dependency's installer
/// does, it does without the project's files, secrets and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// Its number, and its group's; never given out twice.
    pub uid: u32,
}

impl Builder {
    /// The first number of a build account. The packet filter knows them by their numbers, so that there
    /// is nothing to add to it for a project, and nothing to forget.
    pub const FIRST: u32 = 40_000;
    /// The last one.
    pub const LAST: u32 = 59_999;

    /// The account's name: with the project's in it, it could be too long.
    pub fn account(&self) -> String {
        format!("hkb{}", self.uid)
    }

    /// What it is made of, in the order it goes up.
    pub fn resources(&self, spec: &ProjectSpec) -> Vec<Any> {
        let home = spec.name.cache(spec.uid);
        let account =
            UnixAccount { name: self.account(), uid: self.uid, home: home.to_string(), login: false };
        vec![account.into(), Cache { path: home, uid: self.uid }.into()]
    }
}

/// The chain that build accounts are sent through. Its name changes with its rules: that is how one sees
/// which rules the kernel has.
const CHAIN: &str = "builds_1";

/// The rules for builds, as the kernel is to have them.
///
/// A build gets to the network and to names, not to what this host or its neighbours have: of loopback it
/// may use the ports that the kernel gives out, where its own processes talk to each other, and is answered
/// there only by a build. Where it listens itself, nobody else is answered.
pub fn firewall() -> Firewall {
    let (first, last) = (Builder::FIRST, Builder::LAST);
    let rules = format!(
        "table inet hostkit {{
	chain {CHAIN} {{
		tcp flags & (syn | ack) == syn | ack ct mark != 0x686b6200 drop
		meta l4proto {{ tcp, udp }} th dport 53 accept
		oif \"lo\" tcp flags & (syn | ack) == syn tcp dport 32768-65535 ct mark set 0x686b6200 accept
		oif \"lo\" tcp dport 32768-65535 accept
		oif \"lo\" meta l4proto tcp reject with tcp reset
		oif \"lo\" reject
		ip daddr {{ 10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 224.0.0.0/3 }} reject
		ip6 daddr {{ fc00::/7, fe80::/10, ff00::/8 }} reject
	}}
	chain output {{
		type filter hook output priority filter; policy accept;
		meta skuid {first}-{last} jump {CHAIN}
		oif \"lo\" ct mark 0x686b6200 tcp flags & (syn | ack) == syn | ack meta skuid != {first}-{last} drop
	}}
}}
"
    );
    Firewall { rules, mark: CHAIN.to_owned() }
}

/// The same as a file that may be loaded again and again.
pub fn rules_at_boot() -> String {
    format!("# Managed by HostKit.\nadd table inet hostkit\ndelete table inet hostkit\n{}", firewall().rules)
}

/// Loads them before there is a network.
pub const FIREWALL_SERVICE: &str = "\
# Managed by HostKit.
[Unit]
Description=HostKit: what builds may reach
DefaultDependencies=no
After=local-fs.target nftables.service
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/hostkit/firewall.nft
ExecReload=/usr/sbin/nft -f /etc/hostkit/firewall.nft
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::layout::host;

    #[test]
    fn the_unit_loads_the_file_that_is_written() {
        assert!(FIREWALL_SERVICE.contains(&format!("nft -f {}\n", host::firewall())));
        assert!(rules_at_boot().ends_with(&firewall().rules));
    }

    #[test]
    fn the_longest_name_of_an_account_fits() {
        assert!(Builder { uid: Builder::LAST }.account().len() <= 32);
    }
}
