//! Builds over the fakes: what they make, what they share, and how they fail.

use std::os::unix::fs::MetadataExt;

use super::scene::{
    Scene, brought_back, built, deleted, deployed, deployed_built, deployed_built_otherwise,
    provisioned_bare, put,
};
use crate::{
    domain::fault::{Code, Fault},
    event::{Event, Ui},
    operation::{
        deploy::{
            build::{State, cancel, list, log},
            set_rails,
        },
        session::{Mode, Outcome, Session},
        survey::{doctor, repair},
    },
};

fn ino(scene: &Scene, path: &str) -> u64 {
    std::fs::metadata(scene.real(path)).unwrap().ino()
}

/// The live release's directory.
fn app(scene: &Scene) -> String {
    let target = std::fs::read_link(scene.real("/home/blog/app")).unwrap();
    format!("/home/blog/{}", target.display())
}

fn text(scene: &Scene, path: &str) -> String {
    std::fs::read_to_string(scene.real(&format!("{}/{path}", app(scene)))).unwrap()
}

/// Hears what builds say.
#[derive(Default)]
struct Ear(Vec<String>);

impl Ui for Ear {
    fn emit(&mut self, event: Event<'_>) {
        match event {
            Event::Output { what, line } => self.0.push(format!("{what}: {line}")),
            Event::Warned { message } => self.0.push(message.to_owned()),
            _ => {}
        }
    }
}

#[test]
fn what_a_build_makes_goes_live_and_is_written_down() {
    let scene = Scene::after(&[provisioned_bare]);
    let mut ear = Ear::default();
    scene.act_heard(&mut ear, Mode::Run, deployed_built).unwrap();
    assert_eq!(text(&scene, "lib/made.js"), "one");
    assert_eq!(ear.0, ["build: hello"]);
    let made = std::fs::metadata(scene.real(&format!("{}/lib/made.js", app(&scene)))).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (0, 0o640));
    let (id, said) = scene.act(|s| log(s, &"blog".parse()?, None)).unwrap();
    assert!(said.contains("$ say hello\nhello\n# built in "), "{said}");
    let manifest =
        std::fs::read_to_string(scene.real(&format!("/home/blog/releases/.{id}.manifest"))).unwrap();
    assert!(manifest.contains(" lib/made.js\n"), "{manifest}");
    let builds = scene.act(|s| list(s, &"blog".parse()?)).unwrap();
    assert!(matches!(builds.as_slice(), [past] if matches!(past.state, State::Done(_))), "{builds:?}");
    assert!(scene.world.state().firewall.as_ref().is_some_and(|rules| rules.contains("40000-59999")));
}

#[test]
fn whoever_builds_is_the_projects_alone_and_goes_with_it() {
    let scene = Scene::after(&[provisioned_bare, deployed]);
    assert!(!scene.world.state().accounts.contains_key("hkb40000"), "nothing had to be built");
    scene.act(deployed_built).unwrap();
    assert_eq!(scene.world.state().accounts["hkb40000"].0, 40_000);
    scene.act(deployed_built_otherwise).unwrap();
    assert!(!scene.world.state().accounts.contains_key("hkb40001"), "it has somebody who builds");
    assert!(scene.real("/var/cache/hostkit/blog.2000").is_dir());
    scene.act(deleted).unwrap();
    assert!(!scene.world.state().accounts.contains_key("hkb40000"));
    assert!(!scene.real("/var/cache/hostkit/blog.2000").exists());
    scene.act(brought_back).unwrap();
    assert!(scene.world.state().accounts.contains_key("hkb40000"));
    scene.act(deployed_built).unwrap();
    assert_eq!(text(&scene, "lib/made.js"), "one");
}

#[test]
fn builds_that_fail_are_told_apart_and_leave_what_was_live() {
    let scene = Scene::after(&[provisioned_bare, deployed_built]);
    let before = scene.snapshot();
    for (command, code, next) in [
        ("['fail', '3']", Code::BuildFailed, "hostkit builds log blog"),
        ("['starve']", Code::BuildOutOfMemory, "--build-memory"),
        ("['dawdle']", Code::BuildTimeout, "--build-timeout"),
        ("['hoard']", Code::BuildTooLarge, "--build-disk"),
        ("['nowhere']", Code::ProgramMissing, "install `nowhere`"),
    ] {
        let error = scene.act(|s| built(s, &format!("[{command}, ['write', 'x', 'y']]"))).unwrap_err();
        let fault = error.downcast_ref::<Fault>().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(fault.code, code);
        assert!(fault.next.iter().any(|line| line.contains(next)), "{:?}", fault.next);
        assert_eq!(scene.snapshot().files, before.files, "{command}");
    }
    let builds = scene.act(|s| list(s, &"blog".parse()?)).unwrap();
    assert!(
        builds.iter().any(|past| matches!(&past.state, State::Failed(why) if why.contains("BUILD_TIMEOUT")))
    );
}

#[test]
fn files_that_have_not_changed_are_the_same_files() {
    let scene = Scene::after(&[provisioned_bare, deployed]);
    let first = app(&scene);
    scene.act(|s| put(s, &[("index.js", "1"), ("other.js", "new"), ("package.json", "{}")])).unwrap();
    let second = app(&scene);
    assert_ne!(first, second);
    assert_eq!(ino(&scene, &format!("{first}/index.js")), ino(&scene, &format!("{second}/index.js")));
    // Built ones too, and a build writes to none that another release has.
    scene.act(deployed_built).unwrap();
    let third = app(&scene);
    assert_eq!(ino(&scene, &format!("{second}/package.json")), ino(&scene, &format!("{third}/package.json")));
    scene.act(deployed_built_otherwise).unwrap();
    assert_eq!(std::fs::read_to_string(scene.real(&format!("{third}/lib/made.js"))).unwrap(), "one");
    assert_eq!(text(&scene, "lib/made.js"), "two");
}

#[test]
fn a_static_site_that_becomes_a_program_takes_no_file_from_the_web_server() {
    let page = [("index.html", "<p>"), ("package.json", "{}"), ("hostkit.toml", "runtime = 'static'")];
    let scene = Scene::after(&[provisioned_bare]);
    scene.act(|s| put(s, &page)).unwrap();
    let first = app(&scene);
    let group = |path: &str| std::fs::metadata(scene.real(path)).unwrap().gid();
    assert_eq!(group(&format!("{first}/index.html")), 33);
    let toml = "start = 'node index.html'\nruntime = 'node'\n";
    scene.act(|s| put(s, &[("index.html", "<p>"), ("package.json", "{}"), ("hostkit.toml", toml)])).unwrap();
    assert_eq!(group(&format!("{first}/index.html")), 33, "the old release is nginx's still");
    assert_eq!(group(&format!("{}/index.html", app(&scene))), 2000);
}

/// An application of which npm installs what it depends on: here a program of the fake's.
fn npm(lock: &str) -> Vec<(&'static str, String)> {
    let lock = format!(
        r#"{{"name":"x","lockfileVersion":3,"packages":{{"":{{"name":"x","dependencies":{{"dep":"1.0.0"}}}},"node_modules/dep":{{"version":"1.0.0"{lock}}}}}}}"#
    );
    vec![
        ("index.js", "1".into()),
        ("package.json", r#"{"name":"x","main":"index.js","dependencies":{"dep":"1.0.0"}}"#.into()),
        ("package-lock.json", lock),
    ]
}

fn deploy_npm(scene: &Scene, lock: &str) {
    let files = npm(lock);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    scene.act(|s| put(s, &files)).unwrap();
}

#[test]
fn the_same_lockfile_is_installed_once() {
    let scene = Scene::after(&[provisioned_bare]);
    deploy_npm(&scene, "");
    let first = app(&scene);
    assert_eq!(scene.world.state().built.len(), 1);
    deploy_npm(&scene, "");
    assert_eq!(scene.world.state().built.len(), 1, "nothing has changed");
    let path = "node_modules/dep/index.js";
    assert_eq!(ino(&scene, &format!("{first}/{path}")), ino(&scene, &format!("{}/{path}", app(&scene))));
    deploy_npm(&scene, r#","x":1"#);
    assert_eq!(scene.world.state().built.len(), 2, "the lockfile is another");
    // Another version of the program that installs.
    std::fs::write(scene.real("/usr/bin/node"), "newer").unwrap();
    deploy_npm(&scene, r#","x":1"#);
    assert_eq!(scene.world.state().built.len(), 3);
}

fn deploy_files(scene: &Scene, files: &[(&str, &str)]) -> usize {
    scene.act(|s| put(s, files)).unwrap();
    scene.world.state().built.len()
}

#[test]
fn what_a_workspace_installs_is_taken_over_wherever_it_lies() {
    let scene = Scene::after(&[provisioned_bare]);
    let root = r#"{"name":"x","main":"index.js","workspaces":["packages/*"],"dependencies":{"dep":"1.0.0"}}"#;
    let lock = r#"{"name":"x","lockfileVersion":3,"packages":{"":{"name":"x","workspaces":["packages/*"],"dependencies":{"dep":"1.0.0"}},"node_modules/dep":{"version":"1.0.0"},"packages/a":{"version":"1.0.0"}}}"#;
    let with = |index: &'static str, package: &'static str| {
        [
            ("index.js", index),
            ("package.json", root),
            ("package-lock.json", lock),
            ("packages/a/package.json", package),
        ]
    };
    let package = r#"{"name":"a","version":"1.0.0","scripts":{"build":"x"}}"#;
    assert_eq!(deploy_files(&scene, &with("1", package)), 1);
    let first = app(&scene);
    assert_eq!(
        deploy_files(&scene, &with("2", r#"{"name":"a","version":"1.0.1"}"#)),
        1,
        "nothing it goes by"
    );
    for path in ["node_modules/dep/index.js", "packages/a/node_modules/own/index.js"] {
        assert_eq!(ino(&scene, &format!("{first}/{path}")), ino(&scene, &format!("{}/{path}", app(&scene))));
    }
    let needs = r#"{"name":"a","version":"1.0.1","dependencies":{"dep":"1.0.0"}}"#;
    assert_eq!(deploy_files(&scene, &with("2", needs)), 2, "a package asks for something else");
    let hooked = r#"{"name":"a","version":"1.0.1","scripts":{"postinstall":"node index.js"}}"#;
    assert_eq!(deploy_files(&scene, &with("2", hooked)), 3);
    assert_eq!(deploy_files(&scene, &with("2", hooked)), 3, "all of the source is the same");
    assert_eq!(deploy_files(&scene, &with("3", hooked)), 4, "what it runs may read anything");
}

#[test]
fn a_command_of_ones_own_installs_again_when_anything_of_the_source_is_another() {
    let scene = Scene::after(&[provisioned_bare]);
    let toml = "install = [['write', 'made/x', 'one']]\n";
    let with = |index: &'static str| [("index.js", index), ("package.json", "{}"), ("hostkit.toml", toml)];
    assert_eq!(deploy_files(&scene, &with("1")), 1);
    let first = app(&scene);
    assert_eq!(deploy_files(&scene, &with("1")), 1);
    assert_eq!(ino(&scene, &format!("{first}/made/x")), ino(&scene, &format!("{}/made/x", app(&scene))));
    assert_eq!(deploy_files(&scene, &with("2")), 2);
    // What it changes of the source it has changed in what is taken over, too.
    let toml = "install = [['write', 'index.js', 'changed'], ['write', 'new', 'x']]\n";
    let with = [("index.js", "1"), ("package.json", "{}"), ("hostkit.toml", toml)];
    assert_eq!(deploy_files(&scene, &with), 4);
    assert_eq!(deploy_files(&scene, &with), 4);
    assert_eq!(text(&scene, "index.js"), "changed");
    assert_eq!(text(&scene, "new"), "x");
}

#[test]
fn a_dry_run_says_what_would_be_built_and_changes_nothing() {
    let scene = Scene::after(&[provisioned_bare]);
    let lock = npm("");
    let mut files: Vec<(&str, &str)> = lock.iter().map(|(path, text)| (*path, text.as_str())).collect();
    files.push(("hostkit.toml", "[build]\ncommands = [['write', 'lib/made.js', 'x']]\nmemory = '300M'\n"));
    let before = scene.snapshot();
    let dry = |scene: &Scene| {
        let act = |s: &mut Session<'_>| put(s, &files);
        scene.act_heard(&mut Ear::default(), Mode::DryRun, act).unwrap().1.forecast.unwrap()
    };
    let build = dry(&scene);
    assert_eq!((build.install.len(), build.build.len(), build.memory), (1, 1, 300 << 20));
    assert_eq!((build.installed_as_in, build.shared, build.files), (None, 0, 4));
    assert_eq!(scene.snapshot(), before);
    assert!(scene.world.state().built.is_empty());
    scene.act(|s| put(s, &files)).unwrap();
    let build = dry(&scene);
    assert!(build.installed_as_in.is_some());
    assert_eq!(build.shared, 4);
}

#[test]
fn a_build_that_asks_for_more_than_an_administrator_allows_is_refused_before_it_begins() {
    let scene = Scene::after(&[provisioned_bare, deployed]);
    let before = scene.snapshot();
    let toml = "[build]\ncommands = [['write', 'x', 'y']]\ntimeout = 7200\n";
    let files = [("index.js", "1"), ("package.json", "{}"), ("hostkit.toml", toml)];
    let error = scene.act(|s| put(s, &files)).unwrap_err();
    let fault = error.downcast_ref::<Fault>().unwrap();
    assert_eq!(fault.code, Code::InvalidValue);
    assert!(
        fault.next.iter().any(|next| next.contains("hostkit rails blog --build-timeout 7200")),
        "{fault:?}"
    );
    assert_eq!(scene.snapshot().files, before.files);
    scene.act(|s| set_rails(s, &"blog".parse()?, |rails| rails.build.timeout = Some(7200))).unwrap();
    assert_eq!(deploy_files(&scene, &files), 1);
}

#[test]
fn a_build_that_outlives_its_hostkit_is_ended_by_the_next_command() {
    let scene = Scene::after(&[provisioned_bare, deployed_built]);
    let before = scene.snapshot();
    let unit = "hostkit-blog_build.service";
    let link = scene.real(&format!("/run/systemd/units/invocation:{unit}"));
    std::os::unix::fs::symlink("0", &link).unwrap();
    std::fs::create_dir(scene.real("/home/blog/releases/.staging-20961120-080500")).unwrap();
    std::fs::write(scene.real("/run/hostkit/locks/blog_build.env"), "TOKEN=x").unwrap();
    scene.act(|s| cancel(s, &"blog".parse()?)).unwrap();
    std::os::unix::fs::symlink("0", &link).unwrap();
    let found = scene.act(|s| doctor(s, None)).unwrap();
    let remains: Vec<_> = found.findings.iter().filter(|f| f.what == "remains").collect();
    assert_eq!(remains.len(), 2, "{:?}", found.findings);
    assert!(remains[0].problem.contains("a build that nobody waits for"), "{}", remains[0].problem);
    let busy = scene.act(|s| {
        let _held = crate::system::lock::Lock::take(
            &s.host.root.real(&crate::domain::layout::host::locks()),
            "blog",
            "deploy blog",
            s.host.clock.now(),
        )?;
        doctor(s, Some(&"blog".parse()?))
    });
    let busy = busy.unwrap();
    assert!(busy.findings.iter().all(|f| f.what != "remains"), "somebody is at work: {:?}", busy.findings);
    let mut ear = Ear::default();
    let (outcome, mended) = scene.act_heard(&mut ear, Mode::Run, |s| repair(s, None)).unwrap();
    assert_eq!((outcome, mended), (Outcome::Changed, 2));
    assert!(ear.0.iter().any(|said| said.contains("nobody waits for any more was ended")), "{:?}", ear.0);
    assert!(!link.is_symlink());
    assert!(!scene.real("/run/hostkit/locks/blog_build.env").exists());
    assert_eq!(scene.snapshot().files, before.files);
    let error = scene.act(|s| cancel(s, &"blog".parse()?)).unwrap_err();
    assert_eq!(error.downcast_ref::<Fault>().unwrap().code, Code::WrongState);
}
