//! What listens on this host's loopback, and what answers there.

mod fastcgi;

use std::{
    collections::BTreeSet,
    fmt,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

pub use self::fastcgi::Script;

/// How much of an answer is read to find its status, in bytes.
const STATUS_LINE: usize = 64;

/// Looking at ports.
pub trait Net: fmt::Debug {
    /// The account whose process is asked when `127.0.0.1:port` is, or `None`.
    fn listener(&self, port: u16) -> Result<Option<u32>>;
    /// The ports that processes of an account listen on.
    fn ports_of(&self, uid: u32) -> Result<BTreeSet<u16>>;
    /// Whether a process takes what other hosts send to `port`.
    fn is_exposed(&self, port: u16) -> Result<bool>;
    /// Whether anybody is connected to what listens on `port`.
    fn is_busy(&self, port: u16) -> Result<bool>;
    /// Whether a process could listen on `port` now.
    fn is_free(&self, port: u16) -> bool;
    /// The status of `GET path` on `127.0.0.1:port`, asked as nginx would for `host`.
    fn get(&self, port: u16, host: &str, path: &str, patience: Duration) -> Result<u16>;
    /// The status of `GET` from a process on `127.0.0.1:port` that speaks `FastCGI`, asked as nginx would.
    fn run(&self, port: u16, script: &Script<'_>, patience: Duration) -> Result<u16>;
    /// Whether the kernel speaks IPv6.
    fn ipv6(&self) -> bool;
    /// The addresses that a host's name leads to; none when there is no such name.
    fn resolve(&self, name: &str) -> Result<Vec<IpAddr>>;
    /// The addresses of this host that others can reach.
    fn addresses(&self) -> Result<Vec<IpAddr>>;
}

/// The machine's network.
#[derive(Debug)]
pub struct Loopback;

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listener {
    port: u16,
    uid: u32,
    /// It takes what is sent to 127.0.0.1.
    local: bool,
    /// It takes what is sent from other hosts.
    exposed: bool,
}

/// The addresses, in the kernel's hexadecimal, of those that are asked when 127.0.0.1 is: it, any of
/// IPv4, any of IPv6, and it mapped into IPv6.
const HERE: [&str; 4] =
    ["0100007F", "00000000", "00000000000000000000000000000000", "0000000000000000FFFF00000100007F"];

fn listeners(table: &str) -> impl Iterator<Item = Listener> + '_ {
    // "sl local_address rem_address st tx:rx tr:tm retrnsmt uid …"; state 0A is LISTEN.
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (address, port) = fields.nth(1)?.split_once(':')?;
        let state = fields.nth(1)?;
        let uid = fields.nth(3)?.parse().ok()?;
        (state == "0A").then_some(())?;
        let loopback = address.ends_with("7F") || address == "00000000000000000000000001000000";
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(Listener { port, uid, local: HERE.contains(&address), exposed: !loopback })
    })
}

/// Whether a connection to `port` stands, or is asked for by somebody on this host.
///
/// States are 01 `ESTABLISHED`, 02 `SYN_SENT`, 03 `SYN_RECV`. Who is asked more than it can take drops what is
/// asked, and is asked again a second later; or one end takes the connection for standing, with its request
/// on the way, while the other has not let it in. Either end counts, so that the process is still there then.
fn has_connection(table: &str, port: u16) -> bool {
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut end = || {
            let (host, port) = fields.next()?.split_once(':')?;
            Some((host, u16::from_str_radix(port, 16).ok()?))
        };
        let (near, far) = (end(), end());
        let comes = near.is_some_and(|(_, near)| near == port);
        let goes = far == Some(("0100007F", port));
        match fields.next() {
            Some("01") => comes || goes,
            Some("02") => goes,
            Some("03") => comes,
            _ => false,
        }
    })
}

fn tables() -> Result<Vec<String>> {
    let v4 = std::fs::read_to_string("/proc/net/tcp").context("reading the list of sockets")?;
    // Absent on a kernel without IPv6.
    Ok(vec![v4, std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default()])
}

impl Net for Loopback {
    fn resolve(&self, name: &str) -> Result<Vec<IpAddr>> {
        // With the dot it is never looked up below the host's own domain; files of names do not know it.
        let look = |name: String| (name, 0_u16).to_socket_addrs();
        let found = look(name.to_owned()).or_else(|_| look(format!("{name}.")));
        let mut found: Vec<IpAddr> = found.into_iter().flatten().map(|at| at.ip()).collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
    fn addresses(&self) -> Result<Vec<IpAddr>> {
        let all = nix::ifaddrs::getifaddrs().context("listing this host's addresses")?;
        let ip = |storage: nix::sys::socket::SockaddrStorage| {
            let v4 = storage.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
            v4.or_else(|| storage.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))
        };
        let reachable = |at: &IpAddr| match at {
            IpAddr::V4(at) => !at.is_loopback() && !at.is_link_local(),
            IpAddr::V6(at) => !at.is_loopback() && !at.is_unicast_link_local(),
        };
        Ok(all.filter_map(|interface| interface.address.and_then(ip)).filter(reachable).collect())
    }
    fn listener(&self, port: u16) -> Result<Option<u32>> {
        let tables = tables()?;
        let mut all = tables.iter().flat_map(|t| listeners(t));
        Ok(all.find(|l| l.port == port && l.local).map(|l| l.uid))
    }
    fn ports_of(&self, uid: u32) -> Result<BTreeSet<u16>> {
        let tables = tables()?;
        Ok(tables.iter().flat_map(|t| listeners(t)).filter(|l| l.uid == uid).map(|l| l.port).collect())
    }
    fn is_exposed(&self, port: u16) -> Result<bool> {
        let tables = tables()?;
        Ok(tables.iter().flat_map(|t| listeners(t)).any(|l| l.port == port && l.exposed))
    }
    fn is_busy(&self, port: u16) -> Result<bool> {
        let tables = tables()?;
        Ok(tables.iter().any(|table| has_connection(table, port)))
    }
    fn is_free(&self, port: u16) -> bool {
        // Trying costs microseconds; the list of sockets, milliseconds.
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
    }
    fn get(&self, port: u16, host: &str, path: &str, patience: Duration) -> Result<u16> {
        let until = Instant::now() + patience;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&at, patience)?;
        stream.set_write_timeout(Some(patience))?;
        // The real name and scheme: frameworks refuse unknown hosts and redirect plain requests.
        // In one piece: some servers answer to the first packet they see.
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hostkit-health\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-For: 127.0.0.1\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut piece = [0; 16];
        // One deadline for all of it: an answer that drips must not hold anybody up.
        while !head.contains(&b'\n') && head.len() < STATUS_LINE {
            let left = until.saturating_duration_since(Instant::now());
            anyhow::ensure!(!left.is_zero(), "no answer within {} s", patience.as_secs());
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => head.extend_from_slice(&piece[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    anyhow::bail!("no answer within {} s", patience.as_secs())
                }
                Err(e) => return Err(e.into()),
            }
        }
        let head = String::from_utf8_lossy(&head);
        let status = head.strip_prefix("HTTP/1.").and_then(|h| h.split_ascii_whitespace().nth(1));
        status.and_then(|s| s.parse().ok()).context("the answer is not HTTP")
    }
    fn run(&self, port: u16, script: &Script<'_>, patience: Duration) -> Result<u16> {
        fastcgi::get(port, script, patience)
    }
    fn ipv6(&self) -> bool {
        std::path::Path::new("/proc/net/if_inet6").exists()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_and_its_account_are_seen() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(Loopback.listener(port).unwrap(), Some(users::get_effective_uid()));
        assert!(!Loopback.is_free(port));
        drop(socket);
        // Programs that other tests are just starting share our sockets until they have begun.
        for _ in 0..100 {
            if Loopback.listener(port).unwrap().is_none() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("a closed socket is still listed");
    }

    #[test]
    fn who_waits_to_be_let_in_is_connected_too() {
        let line =
            |near: &str, far: &str, state: &str| format!("head\n 0: {near} {far} {state} 0:0 00:0 0 0 0 1\n");
        let (app, visitor) = ("0100007F:1F41", "0100007F:9C40");
        assert!(has_connection(&line(app, visitor, "01"), 8001));
        assert!(has_connection(&line(visitor, app, "02"), 8001), "it asks, and nobody has answered yet");
        assert!(has_connection(&line(visitor, app, "01"), 8001), "it has asked, and was not let in yet");
        assert!(has_connection(&line(app, visitor, "03"), 8001));
        let elsewhere = "0100000A:1F41";
        for (near, far, state) in
            [(visitor, elsewhere, "01"), (app, visitor, "02"), (app, visitor, "06"), (visitor, app, "0A")]
        {
            assert!(!has_connection(&line(near, far, state), 8001), "{near} {far} {state}");
        }
    }

    #[test]
    fn a_connection_is_seen_until_it_ends() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(!Loopback.is_busy(port).unwrap(), "to listen is not to be connected");
        let visitor = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let served = socket.accept().unwrap().0;
        assert!(Loopback.is_busy(port).unwrap());
        drop((visitor, served));
        for _ in 0..100 {
            if !Loopback.is_busy(port).unwrap() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("a closed connection is still listed");
    }

    #[test]
    fn the_status_of_an_answer_is_read_and_nonsense_is_not_an_answer() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            for answer in ["HTTP/1.1 204 No Content\r\n\r\n", "SSH-2.0-OpenSSH\r\n"] {
                let mut peer = socket.accept().unwrap().0;
                let mut request = [0; 512];
                let n = peer.read(&mut request).unwrap();
                assert!(request[..n].starts_with(b"GET /up HTTP/1.1\r\nHost: a.example\r\n"));
                peer.write_all(answer.as_bytes()).unwrap();
            }
        });
        let get = || Loopback.get(port, "a.example", "/up", Duration::from_secs(2));
        assert_eq!(get().unwrap(), 204);
        assert!(get().is_err());
        served.join().unwrap();
    }
}
