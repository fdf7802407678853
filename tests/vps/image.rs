//! The layers servers boot from: the packages, which stay, and the installed program, made anew for
//! every build of it by the real installer.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

use sha2::{Digest, Sha256};

use crate::{
    server::{self, Server},
    source::Source,
};

/// What `install.sh` installs with apt-get.
const PACKAGES: &str = "vps-packages";
/// The whole of an installed server.
const INSTALLED: &str = "vps-installed";
/// Garage and a client for it. It lies under the other layers: what runs there must not be covered.
const GARAGE: &str = "vps-garage";
/// What applications of all kinds are made with, over the packages.
const TOOLS: &str = "vps-tools";
/// What Python's applications reach their data with, over the packages.
const CLIENTS: &str = "vps-clients";
/// A certificate authority, over the packages.
const AUTHORITY: &str = "vps-authority";
/// The setting that names another version of PostgreSQL than the distribution's.
const OTHER_POSTGRES: &str = "HOSTKIT_POSTGRES";

/// The version of PostgreSQL that servers are to have, when it is not the distribution's.
fn postgres() -> Option<String> {
    std::env::var(OTHER_POSTGRES).ok()
}

/// What a layer is called over the version of PostgreSQL that servers are to have.
fn over(layer: &str) -> String {
    postgres().map_or_else(|| layer.to_owned(), |version| format!("{layer}-{version}"))
}

/// The domain under which projects answer.
pub(crate) const DOMAIN: &str = "example.test";

/// Plays the program while the packages are installed, so that they do not depend on it.
const STAND_IN: &str = "#!/bin/sh\nexit 0\n";

/// The program under test; `None`, said loudly, when there is none to test.
pub(crate) fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("HOSTKIT_BINARY") {
        return Some(PathBuf::from(path));
    }
    assert!(std::env::var_os("CI").is_none(), "HOSTKIT_BINARY is not set: in CI nothing is skipped");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED {test}: HOSTKIT_BINARY names no program; run `tests/run vps {test}` as root");
    None
}

/// What a server is to have besides the program.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is there or not")]
pub(crate) struct Extras {
    pub(crate) garage: bool,
    pub(crate) tools: bool,
    pub(crate) clients: bool,
    pub(crate) limits: bool,
    pub(crate) authority: bool,
}

/// Boots a server with the program installed, and with what else is wanted.
pub(crate) fn boot(binary: &Path, extras: Extras) -> Server {
    // Made once; when it fails, it fails once, and every test says why.
    static LAYER: OnceLock<Result<(), String>> = OnceLock::new();
    let made = LAYER.get_or_init(|| {
        std::panic::catch_unwind(|| prepare(binary)).map_err(|panic| {
            panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "see the first failure".to_owned())
        })
    });
    if let Err(why) = made {
        panic!("no server with HostKit could be made: {why}");
    }
    let mut layers = Vec::new();
    if extras.garage {
        prepare_garage();
        layers.push(GARAGE);
    }
    if extras.authority {
        prepare_over_packages(AUTHORITY, b"set -eux\napt-get update -qq\napt-get install -y -qq pebble\n");
        layers.push(AUTHORITY);
    }
    if extras.tools {
        prepare_over_packages(TOOLS, &read(&root().join("tests/vps/inside/tools.sh")));
        layers.push(TOOLS);
    }
    let (clients, installed) = (over(CLIENTS), over(INSTALLED));
    if extras.clients {
        prepare_clients(&clients);
        layers.push(&clients);
    }
    layers.push(&installed);
    Server::up_with(if extras.limits { &["--limits"] } else { &[] }, &layers)
}

/// Makes the layer `name` over the packages, with this script.
fn prepare_over_packages(name: &str, script: &[u8]) {
    // Several tests begin at once.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let packages = key(&[&read(&root().join("install.sh"))]);
    let whole = key(&[packages.as_bytes(), script]);
    if server::has_layer(name, &whole) {
        return;
    }
    eprintln!("making the layer `{name}` (once)");
    let server = Server::up(&[PACKAGES]);
    let left = server.run(&["sh", "-s"].map(str::to_owned), script.to_vec());
    assert!(left.status.success(), "making `{name}`: {}", String::from_utf8_lossy(&left.stderr));
    server.save(name, &whole);
}

fn prepare_clients(layer: &str) {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let words = "apt-get install -y -qq --no-install-recommends celery python3-celery python3-sqlalchemy \
                 python3-psycopg2 python3-redis python3-boto3";
    let whole = key(&[&read(&root().join("install.sh")), words.as_bytes()]);
    if server::has_layer(layer, &whole) {
        return;
    }
    eprintln!("installing clients into the layer `{layer}` (once)");
    let server = Server::up(&[&over(PACKAGES)]);
    succeed(&server, &["apt-get", "update", "-qq"]);
    succeed(&server, &["sh", "-c", &format!("DEBIAN_FRONTEND=noninteractive {words}")]);
    server.save(layer, &whole);
}

fn prepare_garage() {
    let left = server::collect(Command::new(root().join("tests/garage")), Vec::new());
    assert!(left.status.success(), "tests/garage: {}", String::from_utf8_lossy(&left.stderr));
    let program = String::from_utf8_lossy(&left.stdout).trim().to_owned();
    let bytes = read(Path::new(&program));
    let whole = key(&[program.as_bytes(), &bytes.len().to_le_bytes()]);
    if server::has_layer(GARAGE, &whole) {
        return;
    }
    eprintln!("making the layer `{GARAGE}` (once)");
    let server = Server::up(&[]);
    let install = ["sh", "-c", "cat >/usr/local/bin/garage && chmod 0755 /usr/local/bin/garage"];
    let left = server.run(&install.map(str::to_owned), bytes);
    assert!(left.status.success(), "installing Garage: {}", String::from_utf8_lossy(&left.stderr));
    succeed(&server, &["apt-get", "update", "-qq"]);
    succeed(&server, &["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-boto3"]);
    // The layers above bring a Python of their own, whose directories hide those of this one.
    succeed(&server, &["cp", "-a", "/usr/lib/python3/dist-packages", "/opt/s3-client"]);
    server.save(GARAGE, &whole);
}

fn prepare(binary: &Path) {
    server::remove_orphans();
    let installer = read(&root().join("install.sh"));
    let packages = key(&[&installer]);
    if !server::has_layer(PACKAGES, &packages) {
        eprintln!("installing the packages of install.sh into the layer `{PACKAGES}` (once)");
        let server = Server::up(&[]);
        install(&server, &installer, STAND_IN.as_bytes());
        // The stand-in must not be taken for an older version.
        succeed(&server, &["/root/install.sh", "--uninstall", "--yes"]);
        succeed(&server, &["rm", "/root/install.sh", "/root/hostkit"]);
        server.save(PACKAGES, &packages);
    }
    if let Some(version) = postgres() {
        prepare_postgres(&version, &packages);
    }
    let program = read(binary);
    let whole = key(&[packages.as_bytes(), &program]);
    let (ground, installed) = (over(PACKAGES), over(INSTALLED));
    if !server::has_layer(&installed, &whole) {
        let server = Server::up(&[&ground]);
        install(&server, &installer, &program);
        server.save(&installed, &whole);
    }
}

/// Puts a cluster of another version in the place of the distribution's.
fn prepare_postgres(version: &str, packages: &str) {
    let mut fetch = Command::new(root().join("tests/postgres"));
    fetch.arg(version);
    let left = server::collect(fetch, Vec::new());
    assert!(left.status.success(), "tests/postgres: {}", String::from_utf8_lossy(&left.stderr));
    let archive = String::from_utf8_lossy(&left.stdout).trim().to_owned();
    let (layer, whole) = (over(PACKAGES), key(&[packages.as_bytes(), archive.as_bytes(), b"with clients"]));
    if server::has_layer(&layer, &whole) {
        return;
    }
    eprintln!("making the layer `{layer}` (once)");
    let server = Server::up(&[PACKAGES]);
    let unpack = ["tar", "-xz", "--no-same-owner", "-C", "/"].map(str::to_owned);
    let left = server.run(&unpack, read(Path::new(&archive)));
    assert!(left.status.success(), "unpacking PostgreSQL: {}", String::from_utf8_lossy(&left.stderr));
    let swap =
        "pg_lsclusters -h | while read -r old name rest; do pg_dropcluster --stop \"$old\" \"$name\"; done
                for program in psql pg_dump pg_restore; do
                    own=/usr/lib/postgresql/$0/bin/$program
                    [ -e \"$own\" ] || ln -s \"$(ls -d /usr/lib/postgresql/*/bin/$program | tail -n 1)\" \"$own\"
                done
                pg_createcluster \"$0\" main && systemctl start \"postgresql@$0-main\"
                pg_lsclusters -h | grep \"^$0 .* 5432 online\"";
    succeed(&server, &["sh", "-c", swap, version]);
    server.save(&layer, &whole);
}

fn install(server: &Server, installer: &[u8], program: &[u8]) {
    let files = Source::empty().program("install.sh", installer).program("hostkit", program);
    send(server, "/root", &files);
    succeed(server, &["/root/install.sh", "--yes", "--binary", "/root/hostkit", "--base-domain", DOMAIN]);
}

/// Puts files below a directory of the server.
pub(crate) fn send(server: &Server, directory: &str, files: &Source) {
    let words = ["sh", "-c", r#"mkdir -p "$0" && tar -C "$0" -xz"#, directory].map(str::to_owned);
    let left = server.run(&words, files.tar_gz());
    assert!(left.status.success(), "sending files: {}", String::from_utf8_lossy(&left.stderr));
}

fn succeed(server: &Server, words: &[&str]) {
    let argv: Vec<String> = words.iter().map(|&w| w.to_owned()).collect();
    let left = server.run(&argv, Vec::new());
    let (out, err) = (String::from_utf8_lossy(&left.stdout), String::from_utf8_lossy(&left.stderr));
    assert!(
        left.status.success(),
        "`{}` on the server ended with {}:\n{out}{err}",
        server::typed(&argv),
        left.status
    );
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn key(parts: &[&[u8]]) -> String {
    let recipe = read(&server::program());
    let mut hash = Sha256::new();
    for part in parts.iter().chain([&recipe.as_slice()]) {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
