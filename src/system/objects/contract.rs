//! The fake store does what Garage does: the same calls, made of both, are answered alike.
//!
//! `HOSTKIT_GARAGE` names the program; `tests/run` sees to it. In CI nothing is skipped.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::too_many_lines)]

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    domain::fault::Fault,
    system::{Tripwire, fake::World},
};

/// What both are asked, and what they answer, line by line.
struct Transcript<'a> {
    buckets: &'a mut dyn Buckets,
    objects: &'a mut dyn Objects,
    endpoint: String,
    lines: Vec<String>,
}

impl Transcript<'_> {
    fn note<T: std::fmt::Debug>(&mut self, what: &str, answer: Result<T>) {
        let answer = match answer {
            Ok(value) => format!("{value:?}"),
            Err(error) => {
                // The words are each store's own; what counts is the code and S3's number.
                let code = error.downcast_ref::<Fault>().map_or("an error", |fault| fault.code.text());
                let said = error.to_string();
                let number = said.split_once('(').map(|(_, rest)| rest.chars().take(3).collect::<String>());
                format!("{code} {}", number.unwrap_or_default())
            }
        };
        self.lines.push(format!("{what}: {answer}"));
    }
    fn access(&self, bucket: &str, key: &str, secret: &str) -> Access {
        Access {
            endpoint: self.endpoint.clone(),
            region: "garage".into(),
            bucket: bucket.into(),
            key: key.into(),
            secret: Secret::new(secret),
        }
    }
    fn put(&mut self, what: &str, at: &Access, key: &str, bytes: &[u8]) {
        let answer = self.objects.put(at, key, &Headers::new(), &mut &*bytes);
        self.note(what, answer);
    }
    fn get(&mut self, what: &str, at: &Access, key: &str) {
        let mut bytes = Vec::new();
        let answer =
            self.objects.get(at, key, &mut bytes).map(|n| (n, String::from_utf8_lossy(&bytes).into_owned()));
        self.note(what, answer);
    }
    /// Puts an object of which something is said, and asks what.
    fn labelled(&mut self, what: &str, at: &Access) {
        let said =
            [("content-type", "image/png"), ("cache-control", "max-age=60"), ("x-amz-meta-by", "a test")];
        let headers = said.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let answer = self.objects.put(at, "logo", &headers, &mut &b"png"[..]);
        self.note(what, answer);
        let mut heard = Vec::new();
        let answer = self.objects.read(at, "logo", &mut |size, headers, from| {
            heard.push((size, headers.clone()));
            Ok(io::copy(from, &mut io::sink())?)
        });
        self.note(what, answer);
        self.lines.push(format!("{what}: {heard:?}"));
    }
    fn list(&mut self, what: &str, at: &Access, prefix: &str) {
        let page = self.objects.list(at, prefix, None, BATCH);
        let names = page.map(|p| p.entries.into_iter().map(|e| (e.key, e.size)).collect::<Vec<_>>());
        self.note(what, names);
    }
    /// Says what the counters say as soon as they say it: Garage counts a moment later.
    fn bucket(&mut self, what: &str, name: &str, objects: u64) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.buckets.bucket(name).unwrap().is_some_and(|b| b.objects != objects) && Instant::now() < end
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        let answer = self.buckets.bucket(name);
        self.note(what, answer);
    }
}

const ALL: Rights = Rights { read: true, write: true, owner: false };
const SECRET: &str = "0123456789abcdefghijklmnopqrstuv";
const OTHER: &str = "vutsrqponmlkjihgfedcba9876543210";

/// The scenario: everything that HostKit does with a store.
fn play(t: &mut Transcript<'_>) {
    macro_rules! b { ($what:literal, $($call:tt)+) => {{ let answer = t.buckets.$($call)+; t.note($what, answer); }} }
    b!("ready", ready());
    b!("no bucket", bucket("blog-assets"));
    b!("create", create("blog-assets"));
    b!("create again", create("blog-assets"));
    b!("create another", create("shop-assets"));
    b!("limit", limit("blog-assets", Some(1000)));
    b!("bucket", bucket("blog-assets"));
    b!("no rights", rights("GKblog00", "blog-assets"));
    b!("no rights nowhere", rights("GKblog00", "nowhere"));
    b!("import", import("GKblog00", &Secret::new(SECRET), "hostkit:blog"));
    b!("import again", import("GKblog00", &Secret::new(SECRET), "hostkit:blog"));
    b!("import another", import("GKshop00", &Secret::new(OTHER), "hostkit:shop"));
    b!("permit", permit("GKblog00", "blog-assets", ALL));
    b!("permit again", permit("GKblog00", "blog-assets", ALL));
    b!("permit another", permit("GKshop00", "shop-assets", ALL));
    b!("rights", rights("GKblog00", "blog-assets"));
    b!("rights of another", rights("GKshop00", "blog-assets"));
    b!(
        "keys",
        keys().map(|mut all| {
            all.sort_by(|a, b| a.id.cmp(&b.id));
            all
        })
    );

    let (blog, shop) =
        (t.access("blog-assets", "GKblog00", SECRET), t.access("shop-assets", "GKshop00", OTHER));
    let thief = Access { bucket: "blog-assets".into(), ..shop.clone() };
    let guess = Access { secret: Secret::new(OTHER), ..blog.clone() };
    t.put("put", &blog, "images/ü ä+&?#%2e.txt", b"hello");
    t.put("put another", &blog, "b", b"");
    t.get("get", &blog, "images/ü ä+&?#%2e.txt");
    t.get("get nothing", &blog, "nothing");
    t.list("list", &blog, "");
    t.list("list a prefix", &blog, "images/");
    let size = t.objects.size(&blog, "b");
    t.note("size", size);
    let size = t.objects.size(&blog, "nothing");
    t.note("size of nothing", size);
    t.put("over quota", &blog, "large", &[b'x'; 2000]);
    t.bucket("usage", "blog-assets", 2);
    for (who, at) in [("another key", &thief), ("another secret", &guess)] {
        t.list(&format!("{who} lists"), at, "");
        t.get(&format!("{who} gets"), at, "b");
        t.put(&format!("{who} puts"), at, "b", b"mine");
        let answer = t.objects.delete(at, &["b".to_owned()]);
        t.note(&format!("{who} deletes"), answer);
    }
    t.get("and it is as it was", &blog, "b");
    let nowhere = Access { bucket: "nowhere".into(), ..blog.clone() };
    t.list("no such bucket", &nowhere, "");

    b!("rename", rename("blog-assets", "blog-assets.2000.trash"));
    b!("rename again", rename("blog-assets", "blog-assets.2000.trash"));
    b!("by its old name", bucket("blog-assets"));
    t.list("the old name", &blog, "");
    b!("rename what is not there", rename("nowhere", "elsewhere"));
    b!("rename back", rename("blog-assets.2000.trash", "blog-assets"));
    t.list("the old name again", &blog, "");
    t.labelled("put with headers", &blog);
    let stock = bundle::stock(t.objects, &blog).map(|stock| (stock.objects, stock.bytes));
    t.note("stock", stock);
    b!("create one beside", create("blog-assets.2000.new"));
    b!("exchange", exchange("blog-assets", "blog-assets.2000.new", "blog-assets.2000.old"));
    b!("exchange again", exchange("blog-assets", "blog-assets.2000.new", "blog-assets.2000.old"));
    t.list("the new one is closed", &blog, "");
    t.bucket("the old one is aside", "blog-assets.2000.old", 3);
    b!("exchange back", exchange("blog-assets", "blog-assets.2000.old", "blog-assets.2000.new"));
    b!("exchange back again", exchange("blog-assets", "blog-assets.2000.old", "blog-assets.2000.new"));
    t.list("as before", &blog, "");
    b!("exchange with nothing", exchange("nowhere", "blog-assets.2000.old", "elsewhere"));
    b!("remove the one beside", remove("blog-assets.2000.new"));
    b!("take rights away", permit("GKblog00", "blog-assets", Rights { read: true, ..Rights::default() }));
    b!("less rights", rights("GKblog00", "blog-assets"));
    t.put("without the right", &blog, "c", b"");
    b!("take all rights away", permit("GKblog00", "blog-assets", Rights::default()));
    t.list("without any right", &blog, "");
    b!("give them back", permit("GKblog00", "blog-assets", ALL));
    b!("remove what is not empty", remove("blog-assets"));
    let gone = empty(t.objects, &blog);
    t.note("empty", gone);
    t.list("list nothing", &blog, "");
    b!("forget", forget("GKblog00"));
    b!("forget again", forget("GKblog00"));
    b!("forgotten", rights("GKblog00", "blog-assets"));
    b!("never again", import("GKblog00", &Secret::new(SECRET), "hostkit:blog"));
    b!("it opens nothing", permit("GKblog00", "blog-assets", ALL));
    b!("names of keys", keys());
    b!("remove", remove("blog-assets"));
    b!("remove again", remove("blog-assets"));
    b!("names", buckets());
}

fn told(buckets: &mut dyn Buckets, objects: &mut dyn Objects, endpoint: &str) -> Vec<String> {
    let mut transcript = Transcript { buckets, objects, endpoint: endpoint.to_owned(), lines: Vec::new() };
    play(&mut transcript);
    transcript.lines
}

fn faked() -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut host = World::new(dir.path()).host(Tripwire::default());
    told(&mut *host.buckets, &mut *host.objects, "http://127.0.0.1:3900")
}

/// A Garage of this test's own.
struct Running {
    child: Child,
    dir: tempfile::TempDir,
    ports: [u16; 3],
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start() -> Option<Self> {
        let Some(program) = std::env::var_os("HOSTKIT_GARAGE") else {
            assert!(std::env::var_os("CI").is_none(), "HOSTKIT_GARAGE is not set: in CI nothing is skipped");
            eprintln!("SKIPPED: HOSTKIT_GARAGE names no program; `tests/garage` makes one");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports @ [s3, rpc, admin] = [0, 1, 2].map(|n: usize| free[n].local_addr().unwrap().port());
        let at = dir.path().display();
        let conf = format!(
            "metadata_dir = \"{at}/meta\"\ndata_dir = \"{at}/data\"\ndb_engine = \"sqlite\"\n\
             replication_factor = 1\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{s3}\"\n\
             [admin]\napi_bind_addr = \"127.0.0.1:{admin}\"\n"
        );
        std::fs::write(dir.path().join("garage.toml"), conf).unwrap();
        std::fs::write(dir.path().join("secrets"), format!("{RPC_SECRET}=x\n{TOKEN}={OTHER}\n")).unwrap();
        drop(free);
        let child = Command::new(program)
            .args(["-c", &format!("{at}/garage.toml"), "server", "--single-node"])
            .env(RPC_SECRET, "ab".repeat(32))
            .env(TOKEN, OTHER)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { child, dir, ports };
        let end = Instant::now() + Duration::from_mins(1);
        while let Err(error) = running.admin().ready() {
            assert!(Instant::now() < end, "Garage does not come up: {error:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(running)
    }
    fn admin(&self) -> Garage {
        Garage::new(self.dir.path().join("secrets"), self.ports[2])
    }
    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }
}

/// Packs a bucket of one into a bucket of another kind and back.
fn carried(buckets: &mut dyn Buckets, objects: &mut dyn Objects, endpoint: &str) {
    let secret = Secret::new(SECRET);
    buckets.import("GKcarry0", &secret, "x").unwrap();
    let at = |bucket: &str| Access {
        endpoint: endpoint.to_owned(),
        region: "garage".into(),
        bucket: bucket.to_owned(),
        key: "GKcarry0".into(),
        secret: secret.clone(),
    };
    for name in ["from", "into"] {
        buckets.create(name).unwrap();
        buckets.permit("GKcarry0", name, ALL).unwrap();
    }
    let headers: Headers = [("content-type".to_owned(), "text/plain".to_owned())].into();
    let large = vec![7; (33 << 20) + 5];
    for (key, bytes) in [("a/ü ä+&?#%2e", &b"hello"[..]), ("empty", b""), ("large", &large)] {
        objects.put(&at("from"), key, &headers, &mut &*bytes).unwrap();
    }
    let mut packed = Vec::new();
    let stock = bundle::pack(objects, &at("from"), &mut packed).unwrap();
    assert_eq!((stock.objects, stock.bytes), (3, large.len() as u64 + 5));
    assert_eq!(bundle::stock(objects, &at("from")).unwrap(), stock);
    for end in [0, 3, 30, packed.len() - 4] {
        assert!(bundle::unpack(objects, &at("into"), &mut &packed[..end]).is_err(), "cut at {end}");
    }
    assert_eq!(bundle::unpack(objects, &at("into"), &mut packed.as_slice()).unwrap(), 3);
    let mut again = Vec::new();
    bundle::pack(objects, &at("into"), &mut again).unwrap();
    assert!(again == packed, "bytes and headers are as they were");
    objects.put(&at("from"), "empty", &headers, &mut &b"more"[..]).unwrap();
    assert_ne!(bundle::stock(objects, &at("from")).unwrap().sum, stock.sum, "what was written shows");
}

#[test]
fn what_lies_in_a_bucket_goes_through_a_stream_with_all_that_is_said_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = World::new(dir.path()).host(Tripwire::default());
    carried(&mut *host.buckets, &mut *host.objects, "http://127.0.0.1:3900");
    let Some(garage) = Running::start() else { return };
    carried(&mut garage.admin(), &mut S3::default(), &garage.endpoint());
}

#[test]
fn the_fake_store_answers_as_garage_does() {
    let fake = faked();
    assert!(fake.len() > 60, "{fake:#?}");
    let Some(garage) = Running::start() else { return };
    let real = told(&mut garage.admin(), &mut S3::default(), &garage.endpoint());
    let both = fake.iter().zip(&real).filter(|(fake, real)| fake != real);
    let differ: Vec<String> = both.map(|(fake, real)| format!("fake   {fake}\nGarage {real}")).collect();
    assert!(differ.is_empty() && fake.len() == real.len(), "{}", differ.join("\n"));
}

/// A source that gives zeros, and fails in the end if it is to.
struct Zeros {
    left: u64,
    fails: bool,
}

impl Read for Zeros {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && self.fails {
            return Err(std::io::Error::other("the source broke"));
        }
        let n = into.len().min(usize::try_from(self.left).unwrap());
        into[..n].fill(0);
        self.left -= n as u64;
        Ok(n)
    }
}

#[test]
fn a_large_object_goes_in_and_out_whole_and_one_whose_source_breaks_does_not_appear() {
    let Some(garage) = Running::start() else { return };
    let (mut admin, mut s3) = (garage.admin(), S3::default());
    admin.create("big").unwrap();
    admin.import("GKbig000", &Secret::new(SECRET), "big").unwrap();
    admin.permit("GKbig000", "big", ALL).unwrap();
    let at = Access {
        endpoint: garage.endpoint(),
        region: "garage".into(),
        bucket: "big".into(),
        key: "GKbig000".into(),
        secret: Secret::new(SECRET),
    };
    let size = 33 << 20;
    assert_eq!(s3.put(&at, "large", &Headers::new(), &mut Zeros { left: size, fails: false }).unwrap(), size);
    assert_eq!(s3.size(&at, "large").unwrap(), Some(size));
    let mut out = std::io::sink();
    assert_eq!(s3.get(&at, "large", &mut out).unwrap(), size);
    assert!(s3.put(&at, "broken", &Headers::new(), &mut Zeros { left: size, fails: true }).is_err());
    assert_eq!(s3.size(&at, "broken").unwrap(), None);
    // A presigned address works without a key, for what it was made for and until its time is over.
    let call = |url: &str| http::agent().get(url).call().unwrap().status().as_u16();
    let now = jiff::Timestamp::now();
    let url = |key, time| at.presign(Verb::Get, key, Duration::from_mins(1), time).unwrap();
    assert_eq!(call(&url("large", now)), 200);
    assert_eq!(call(&url("large", now).replace("/large?", "/other?")), 403);
    let past = now.checked_sub(Duration::from_secs(61)).unwrap();
    assert_ne!(call(&url("large", past)), 200);
    admin.limit("big", Some(1)).unwrap();
    let refused = s3.put(&at, "more", &Headers::new(), &mut &b"123"[..]).unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
}

#[test]
fn a_store_that_is_down_is_a_fault_that_says_what_to_type() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = dir.path().join("secrets");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let garage = Garage::new(secrets.clone(), closed);
    let error = garage.ready().unwrap_err();
    assert!(error.to_string().contains("no object storage"), "{error}");
    std::fs::write(secrets, format!("{TOKEN}=secret-token\n")).unwrap();
    let error = garage.ready().unwrap_err();
    let fault = error.downcast_ref::<Fault>().unwrap();
    assert!(fault.message.ends_with("does not answer: connection refused"), "{fault}");
    assert!(!format!("{fault:?}{garage:?}").contains("secret-token"));
    assert_eq!(fault.next, ["systemctl status hostkit-s3"]);
}
