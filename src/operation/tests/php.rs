//! Applications in PHP: who serves what, and who may read it. And what a release is told besides.

use std::os::unix::fs::PermissionsExt;

use super::scene::{Scene, archive, deployed, provisioned_bare, put};
use crate::{
    domain::fault::{Code, Fault},
    operation::{
        deploy::{Upload, deploy},
        session::Session,
    },
    system::{Tripwire, source::Stream},
};

/// A front controller beside what is nobody's business, in version `version`.
fn application(session: &mut Session<'_>, version: &str) -> anyhow::Result<()> {
    let files = [
        ("public/index.php", version),
        ("public/style.css", "body {}"),
        ("public/.env", "TOKEN=x"),
        ("src/Secret.php", "<?php"),
        ("hostkit.toml", "shared = ['public/uploads']"),
    ];
    put(session, &files).map(drop)
}

fn read(scene: &Scene, path: &str) -> String {
    std::fs::read_to_string(scene.real(path)).unwrap()
}

/// Where the live release lies.
fn live(scene: &Scene) -> String {
    let link = std::fs::read_link(scene.real("/home/blog/app")).unwrap();
    format!("/home/blog/{}", link.display())
}

#[test]
fn php_fpm_answers_on_the_port_of_the_instance_and_ends_with_its_answers() {
    let scene = Scene::after(&[provisioned_bare, |s| application(s, "1")]);
    let unit = read(&scene, "/etc/systemd/system/hostkit-blog.service");
    assert!(unit.contains("ExecStart=\"/usr/bin/php-fpm8.2\" \"--nodaemonize\""), "{unit}");
    assert!(unit.contains("KillSignal=SIGQUIT"), "{unit}");
    let config = read(&scene, "/home/blog/.php-fpm.conf");
    assert!(config.contains("listen = 127.0.0.1:${PORT}\n"), "{config}");
    assert!(config.contains("session.save_path] = /home/blog/shared/.php-sessions\n"), "{config}");
    assert!(scene.real("/home/blog/shared/.php-sessions").is_dir());
}

#[test]
fn nginx_names_scripts_by_their_release() {
    let scene = Scene::after(&[provisioned_bare, |s| application(s, "1")]);
    let site = || read(&scene, "/etc/nginx/sites-available/hostkit-blog");
    let first = live(&scene);
    assert!(
        site().contains(&format!("root {first}/public;")) && site().contains("fastcgi_pass"),
        "{}",
        site()
    );
    scene.act(|s| application(s, "2")).unwrap();
    assert_ne!(live(&scene), first);
    assert!(site().contains(&format!("root {}/public;", live(&scene))), "{}", site());
}

#[test]
fn the_web_server_reads_what_is_public_and_no_program() {
    let scene = Scene::after(&[provisioned_bare, |s| application(s, "1")]);
    let mode = |path: &str| {
        let path = scene.real(&format!("{}/{path}", live(&scene)));
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("public"), mode("public/style.css")), (0o751, 0o751, 0o644));
    for closed in ["public/index.php", "public/.env", "src/Secret.php", "hostkit.toml"] {
        assert_eq!(mode(closed), 0o640, "{closed}");
    }
    assert_eq!(mode("src"), 0o750);
    // The same once more, from the files of the release before.
    scene.act(|s| application(s, "1")).unwrap();
    assert_eq!((mode("public/style.css"), mode("public/index.php")), (0o644, 0o640));
}

#[test]
fn what_was_php_leaves_nothing_of_it_behind() {
    let scene = Scene::after(&[provisioned_bare, |s| application(s, "1"), deployed]);
    assert!(!scene.real("/home/blog/.php-fpm.conf").exists());
    let site = read(&scene, "/etc/nginx/sites-available/hostkit-blog");
    assert!(site.contains("proxy_pass") && !site.contains("fastcgi"), "{site}");
}

#[test]
fn a_deploy_of_php_that_dies_anywhere_is_undone_or_done() {
    let base = Scene::after(&[provisioned_bare, |s| application(s, "1")]);
    let before = base.snapshot().files;
    let done = base.copy();
    done.act(|s| application(s, "2")).unwrap();
    let after = done.snapshot().files;
    for n in (1..).step_by(7) {
        let scene = base.copy();
        let wire = Tripwire::at(n);
        let _ = scene.act_wired(wire.clone(), crate::operation::session::Mode::Run, |s| application(s, "2"));
        if !wire.died() {
            return;
        }
        scene.recover(Tripwire::default()).unwrap();
        let files = scene.snapshot().files;
        let other = |wanted: &std::collections::BTreeMap<String, String>| {
            wanted.iter().find(|(path, text)| files.get(*path) != Some(text)).map(|(path, _)| path.clone())
        };
        assert!(
            other(&before).is_none() || other(&after).is_none(),
            "{n}: {:?} {:?}",
            other(&before),
            other(&after)
        );
    }
}

#[test]
fn a_version_that_does_not_fit_is_said_before_anything_is_built() {
    let scene = Scene::after(&[provisioned_bare]);
    std::fs::write(scene.real("/usr/bin/node"), "v18.19.0").unwrap();
    let package = |engine: &str| format!(r#"{{"main":"index.js","engines":{{"node":"{engine}"}}}}"#);
    let try_it = |package: &str, pin: &str| {
        scene.act(|s| put(s, &[("index.js", ""), ("package.json", package), (".nvmrc", pin)]))
    };
    let error = try_it(&package(">=20"), "").unwrap_err();
    let fault = error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap();
    assert_eq!(fault.code, Code::ProgramMissing);
    assert!(fault.message.contains("node >=20 (engines in package.json), and node 18.19.0 is installed"));
    assert_eq!(fault.next, ["npm install --global node@20"]);
    assert!(!scene.real("/home/blog/app").exists(), "nothing is live, as before");
    // What somebody has pinned is asked for, and does not keep it from being deployed.
    let (_, deployed) = try_it("{}", "22").unwrap();
    assert!(deployed.warnings.iter().any(|w| w.contains("node 22 (.nvmrc)")), "{:?}", deployed.warnings);
}

#[test]
fn a_process_is_told_the_commit_it_was_made_from() {
    let scene = Scene::after(&[provisioned_bare]);
    let commit = |commit: Option<&str>| {
        scene.act(|s| {
            let mut stream =
                Stream(archive(&[("index.js", commit.unwrap_or_default()), ("package.json", "{}")]));
            let commit = commit.map(str::to_owned);
            let mut upload = Upload { commit, ..Upload::new(&mut stream, "a test".into()) };
            deploy(s, &"blog".parse()?, &mut upload).map(drop)
        })
    };
    commit(Some("0123abcd")).unwrap();
    let env = read(&scene, "/home/blog/.env");
    assert!(env.contains("GIT_SHA='0123abcd'\n") && env.contains("SOURCE_VERSION='0123abcd'\n"), "{env}");
    commit(None).unwrap();
    assert!(!read(&scene, "/home/blog/.env").contains("GIT_SHA"), "it is not known of this one");
}
