//! The front door: what nginx answers to, with which certificate, and what it does not answer.

use crate::{call::Output, image::DOMAIN, source::Source, vps::Vps};

const AUTHORITY: &str = include_str!("inside/pebble.sh");

/// A server with a certificate authority that HostKit asks.
fn with_authority() -> Option<Vps> {
    let vps = Vps::with().authority().boot()?;
    vps.run(["sh", "-s"]).stdin(AUTHORITY.as_bytes()).ok();
    vps.hostkit(["init", "--acme-directory", "https://localhost:14000/dir", "--acme-ca", "/etc/acme-ca.pem"])
        .ok();
    Some(vps)
}

/// Has names lead to the server, for all on it.
fn lead_here(vps: &Vps, names: &[&str]) {
    let line = format!("echo \"$(hostname -I | cut -d' ' -f1) {}\" >>/etc/hosts", names.join(" "));
    vps.sh(&line).ok();
}

/// What a visitor gets who believes the test authority: the head and the body.
fn visit<'v>(vps: &'v Vps, url: &str, more: &[&str]) -> Output<'v> {
    let host = url.split("//").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let resolve = [format!("{host}:443:127.0.0.1"), format!("{host}:80:127.0.0.1")];
    let words = ["curl", "-si", "-m", "10", "--cacert", "/etc/acme-ca.pem"];
    let resolved = resolve.iter().flat_map(|at| ["--resolve", at.as_str()]);
    vps.run(words.into_iter().chain(resolved).chain(more.iter().copied()).chain([url])).run()
}

fn serial(vps: &Vps, host: &str) -> String {
    let line = format!(
        "echo | openssl s_client -connect 127.0.0.1:443 -servername {host} 2>/dev/null | openssl x509 -noout -serial"
    );
    vps.sh(&line).ok().stdout.trim().to_owned()
}

#[test]
fn certificates_are_had_used_renewed_and_called_back() {
    let Some(vps) = with_authority() else { return };
    vps.live("blog", &Source::example("node"));
    lead_here(&vps, &["blog.custom.test", "www.blog.custom.test"]);
    vps.hostkit(["domain", "add", "blog", "blog.custom.test", "--redirect-www"]).ok();
    vps.hostkit(["ssl", "provision", "blog"]).ok();
    // Used: by the domain, and by what is sent there; one hop, and not without TLS.
    visit(&vps, "https://blog.custom.test/", &[]).says("Version 1");
    visit(&vps, "http://blog.custom.test/a?b=c", &[])
        .says("301")
        .says("ocation: https://blog.custom.test/a?b=c");
    visit(&vps, "http://www.blog.custom.test/a", &[]).says("ocation: https://blog.custom.test/a");
    visit(&vps, "https://www.blog.custom.test/a", &[]).says("ocation: https://blog.custom.test/a");
    visit(&vps, "https://blog.custom.test/", &["--http2"]).says("HTTP/2 200");
    let seen = visit(&vps, "https://blog.custom.test/missing/.well-known", &[]);
    for header in
        ["trict-transport-security: max-age", "-content-type-options: nosniff", "-frame-options: SAMEORIGIN"]
    {
        let lower = seen.stdout.to_lowercase();
        seen.check(lower.contains(&header.to_lowercase()), header);
    }
    seen.check(!seen.stdout.contains("nginx/"), "a server that does not say its version");
    vps.expect_healthy();
    // What is old is refused, what is new is spoken.
    let spoken = |version: &str| {
        let line = format!(
            "echo | openssl s_client -connect 127.0.0.1:443 -servername blog.custom.test -{version} 2>&1 | grep -c 'BEGIN CERT'"
        );
        vps.sh(&line).run().stdout.trim() == "1"
    };
    assert!(!spoken("tls1_1 -cipher DEFAULT@SECLEVEL=0") && spoken("tls1_2") && spoken("tls1_3"));
    // Renewed by the timer, when two thirds of its life are over.
    let first = serial(&vps, "blog.custom.test");
    vps.sh("systemctl start hostkit-certificates.service").ok();
    assert_eq!(serial(&vps, "blog.custom.test"), first, "it is not due");
    age(&vps, "blog.custom.test");
    vps.sh("systemctl start hostkit-certificates.service").ok();
    let second = serial(&vps, "blog.custom.test");
    assert_ne!(second, first, "it was due");
    visit(&vps, "https://blog.custom.test/", &[]).says("Version 1");
    // One that cannot be renewed reaches doctor.
    vps.sh("systemctl stop pebble").ok();
    age(&vps, "blog.custom.test");
    assert_ne!(vps.sh("systemctl start hostkit-certificates.service").run().code, 0);
    vps.hostkit(["doctor"]).run().says("certificate:blog.custom.test");
    visit(&vps, "https://blog.custom.test/", &[]).says("Version 1");
    vps.hostkit(["ssl", "revoke", "blog", "www.blog.custom.test", "--keep-valid"]).ok();
    visit(&vps, "http://www.blog.custom.test/a", &[]).says("ocation: https://blog.custom.test/a");
    vps.hostkit(["domain", "remove", "blog", "blog.custom.test"]).ok();
    let left = vps.sh("ls /etc/hostkit/tls").ok().stdout;
    assert_eq!(left.trim(), format!("blog.{DOMAIN}"), "only the certificate of its own address is left");
    vps.sh("nginx -t").ok();
    visit(&vps, &format!("https://blog.{DOMAIN}/"), &[]).says("Version 1");
}

/// Makes the certificate of a domain as old as one that is long due.
fn age(vps: &Vps, domain: &str) {
    let script = format!(
        "import json, sqlite3
db = sqlite3.connect('/var/lib/hostkit/registry.db')
for name, text in db.execute('SELECT name, spec FROM project').fetchall():
    spec = json.loads(text)
    for address, known in spec['certificates'].items():
        if address == '{domain}':
            known['until'] = known['since'] + 10 * 86400
            known['since'] -= 80 * 86400
    db.execute('UPDATE project SET spec = ? WHERE name = ?', (json.dumps(spec), name))
db.commit()"
    );
    let none: [&str; 0] = [];
    vps.python(&script, none).ok();
}

#[test]
fn names_under_the_base_domain_share_one_certificate_and_unknown_names_get_nothing() {
    let Some(vps) = with_authority() else { return };
    vps.live("blog", &Source::example("node"));
    vps.live("site", &Source::example("static"));
    vps.hostkit(["ssl", "provision", "--base"]).refused(6, "CERTIFICATE_REFUSED");
    vps.hostkit(["init", "--dns-hook", "/usr/local/sbin/dns-hook"]).ok();
    vps.hostkit(["ssl", "provision", "--base"]).ok();
    for project in ["blog", "site"] {
        visit(&vps, &format!("https://{project}.{DOMAIN}/"), &[]).says("200");
    }
    let loaded = vps.sh("nginx -T 2>/dev/null | grep -c '^ *ssl_certificate '").ok().stdout;
    assert_eq!(loaded.trim(), "1", "it is loaded once");
    // Nobody's name, no name, and names that are like somebody's.
    for (host, at) in [("other.test", "other.test"), (&*format!("x.{DOMAIN}"), "x"), ("127.0.0.1", "ip")] {
        let output = visit(&vps, &format!("https://{host}/"), &["-k"]);
        output.check(output.code != 0 && output.stdout.is_empty(), &format!("no answer to {at} with TLS"));
        let output = visit(&vps, &format!("http://{host}/"), &[]);
        output.check(output.code == 52 && output.stdout.is_empty(), &format!("no answer to {at}"));
    }
    // What is nobody's business.
    vps.sh("echo s3cret >/tmp/.env").ok();
    for path in ["/.env", "/.git/config", "/a/.htpasswd", "/%2e%65nv"] {
        visit(&vps, &format!("https://site.{DOMAIN}{path}"), &[]).says(" 404");
    }
    // One that comes later has it at once.
    vps.hostkit(["provision", "later", "--static"]).ok().says(&format!("https://later.{DOMAIN}"));
    vps.hostkit(["project", "delete", "later", "--confirm", "later"]).ok();
    vps.expect_healthy();
    vps.sh("tail -n 1 /var/log/nginx/hostkit-site.log | python3 -m json.tool").ok().says("\"status\": 404");
}

#[test]
fn what_would_be_live_in_nginx_never_gets_there() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::example("node"));
    vps.hostkit(["provision", "other", "--node"]).ok();
    vps.hostkit(["domain", "add", "other", "taken.test", "--skip-dns"]).ok();
    let before = vps.sh("nginx -T 2>/dev/null | sha256sum").ok().stdout;
    let long = format!("{}.test", ["a"; 125].join("."));
    for bad in [
        "a.example; } server {",
        "~^.*$",
        "*.com",
        "",
        "\"\"",
        "$hostname",
        "UPPER.example",
        "dot.example.",
        "10.0.0.1",
        "::1",
        &long,
        "xn--a.example",
        "p\u{430}ypal.example",
        "a\n.example",
    ] {
        vps.hostkit(["domain", "add", "blog", bad, "--skip-dns"]).refused(3, "INVALID_VALUE");
    }
    vps.hostkit(["domain", "add", "blog", "taken.test", "--skip-dns"]).refused(5, "DOMAIN_TAKEN");
    vps.hostkit(["domain", "add", "blog", "nowhere.invalid"]).refused(6, "DNS_ELSEWHERE").says("  A  ");
    // A site that somebody else has made.
    vps.write(
        "/etc/nginx/conf.d/foreign.conf",
        "server { listen 80; server_name foreign.test; return 204; }\n",
    );
    vps.hostkit(["domain", "add", "blog", "foreign.test", "--skip-dns"]).refused(5, "FOREIGN");
    vps.sh("rm /etc/nginx/conf.d/foreign.conf").ok();
    assert_eq!(vps.sh("nginx -T 2>/dev/null | sha256sum").ok().stdout, before);
    vps.expect_answer("blog", "Version 1");
    // A pair that does not fit, a chain that is out of order, one that has expired.
    let make = "cd /root
pair() { openssl req -x509 -newkey rsa:2048 -nodes -keyout $1.key -out $1.pem -days $2 -subj /CN=$1 -addext subjectAltName=DNS:$1 2>/dev/null; }
pair mine.test 30; pair else.test 30
cat mine.test.pem else.test.pem >disorder.pem
openssl req -new -key mine.test.key -subj /CN=mine.test -out mine.csr 2>/dev/null
printf 'subjectAltName=DNS:mine.test' >names
openssl x509 -req -in mine.csr -signkey mine.test.key -days -1 -extfile names -out old.pem 2>/dev/null || \
    faketime 2>/dev/null || openssl x509 -req -in mine.csr -signkey mine.test.key -days 0 -extfile names -out old.pem";
    vps.sh(make).ok();
    vps.write("/root/empty.pem", "");
    vps.hostkit(["domain", "add", "blog", "mine.test", "--skip-dns"]).ok();
    let import = |chain: &str, key: &str| {
        let (chain, key) = (format!("/root/{chain}"), format!("/root/{key}"));
        vps.hostkit(["ssl", "import", "blog", "mine.test", "--chain", &chain, "--key", &key])
    };
    for (chain, key) in [
        ("mine.test.pem", "else.test.key"),
        ("else.test.pem", "else.test.key"),
        ("disorder.pem", "mine.test.key"),
        ("old.pem", "mine.test.key"),
        ("mine.test.key", "mine.test.key"),
        ("empty.pem", "mine.test.key"),
    ] {
        import(chain, key).refused(3, "INVALID_CERTIFICATE");
    }
    import("mine.test.pem", "mine.test.key").ok();
    visit(&vps, "https://mine.test/", &["-k"]).says("Version 1");
    vps.hostkit(["doctor"]).run().says("certificate:mine.test");
    vps.sh("ls -lR /etc/hostkit/tls | grep -c -- '-rw-------'").ok().says("2");
    vps.run(["runuser", "-u", "blog", "--", "ls", "/etc/hostkit/tls"]).run().says("");
}
