//! What becomes of backups over the life of a project: the last one, another name, another host, the clock.

use std::collections::BTreeSet;

use super::{
    backup::{backed_up, blog, code, contents, filled, from, held, scheduled, shared, unscheduled},
    scene::{Scene, brought_back, deleted, deployed, provisioned, purged},
};
use crate::{
    domain::{
        backup::Reason,
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        backup::{
            list,
            restore::{Origin, adopt},
        },
        session::{Mode, Outcome},
        survey::doctor,
    },
    system::Tripwire,
};

#[test]
fn a_deleted_project_comes_back_with_its_data_from_its_last_backup() {
    let scene = Scene::after(&[provisioned, deployed, filled, deleted]);
    let gone = |scene: &Scene| {
        let state = scene.world.state();
        !state.postgres.as_ref().unwrap().databases.keys().any(|name| name.contains("blog"))
    };
    assert!(gone(&scene), "nothing of it is left in the server");
    let reasons: Vec<_> =
        scene.act(|s| list(s, &blog())).unwrap().iter().map(|b| b.inside.as_ref().unwrap().0).collect();
    assert_eq!(reasons, [Reason::Final]);
    assert_eq!(held(&scene), 0);
    scene.act(brought_back).unwrap();
    assert_eq!(contents(&scene), ["INSERT one", "INSERT two"]);
    assert_eq!(held(&scene), 3);
    assert!(scene.world.state().redis["redis-server.service"].marked.is_empty());
    assert_eq!(shared(&scene, "uploads/photo").as_deref(), Some("the photo"));
    scene.act(deleted).unwrap();
    scene.act(purged).unwrap();
    assert!(!scene.real("/var/lib/hostkit/backups/blog.2000").exists());
}

#[test]
fn a_project_whose_last_backup_cannot_be_made_is_not_deleted_unless_none_is_wanted() {
    let scene = Scene::after(&[provisioned, deployed, filled]);
    let before = scene.snapshot();
    std::fs::remove_file(scene.real("/etc/hostkit/master.key")).unwrap();
    let error = scene.act(deleted).unwrap_err();
    assert_eq!(code(&error), Code::VaultKey);
    assert!(error.downcast_ref::<Fault>().unwrap().next.iter().any(|n| n.contains("--no-backup")));
    let after = scene.snapshot();
    assert_eq!(after.rest(), before.rest());
    assert!(scene.real("/home/blog/.env").exists());
}

#[test]
fn a_new_project_is_made_of_a_deleted_ones_backup() {
    let scene = Scene::after(&[provisioned, deployed, filled, deleted]);
    let new: ProjectName = "again".parse().unwrap();
    let from = from(None);
    scene.act(|s| adopt(s, &from, &new, &BTreeSet::new())).unwrap();
    let state = scene.world.state();
    let databases = &state.postgres.as_ref().unwrap().databases;
    assert_eq!(databases["again_db"].contents, ["INSERT one", "INSERT two"]);
    drop(state);
    let env = std::fs::read_to_string(scene.real("/home/again/.env")).unwrap();
    assert!(env.contains("PROJECT_NAME='again'") && env.contains("TOKEN='poison'"), "{env}");
    assert!(!env.contains("blog"), "{env}");
    assert!(scene.real("/home/again/shared/uploads/photo").exists());
    let error = scene.act(|s| adopt(s, &from, &new, &BTreeSet::new())).unwrap_err();
    assert_eq!(code(&error), Code::NameTaken);
}

#[test]
fn a_backup_of_another_host_needs_that_hosts_key() {
    let (there, here) = (Scene::after(&[provisioned, filled, backed_up]), Scene::new());
    std::fs::write(here.real("/etc/hostkit/master.key"), format!("{}A", "B".repeat(42))).unwrap();
    let file = there.act(|s| Ok(s.host.root.real(&list(s, &blog())?[0].path))).unwrap();
    let origin = |key: Option<&str>| Origin::File { file: file.clone(), key: key.map(|k| there.real(k)) };
    let (none, before) = (BTreeSet::new(), here.snapshot());
    let error = here.act(|s| adopt(s, &origin(None), &blog(), &none)).unwrap_err();
    assert_eq!(code(&error), Code::WrongKey);
    assert_eq!(here.snapshot(), before);
    here.act(|s| adopt(s, &origin(Some("/etc/hostkit/master.key")), &blog(), &none)).unwrap();
    assert_eq!(contents(&here), ["INSERT one", "INSERT two"]);
}

#[test]
fn a_new_project_that_stores_something_is_backed_up_every_day_until_somebody_says_otherwise() {
    use crate::operation::provision::{Wish, provision};
    let scene = Scene::new();
    let wish = |name| Wish { backups: true, ..super::scene::wish(name) };
    let has = |name: &str| {
        let timer = format!("hostkit-{name}_backup.timer");
        scene.real(&format!("/etc/systemd/system/{timer}")).exists()
    };
    scene.act(|s| provision(s, &wish("blog"))).unwrap();
    scene.act(|s| provision(s, &Wish { backups: false, ..wish("shop") })).unwrap();
    let bare =
        Wish { database: false, redis: None, storage: crate::operation::provision::Ask::No, ..wish("site") };
    scene.act(|s| provision(s, &bare)).unwrap();
    assert_eq!((has("blog"), has("shop"), has("site")), (true, false, false));
    scene.act(unscheduled).unwrap();
    assert_eq!(scene.act(|s| provision(s, &wish("blog"))).unwrap().0, Outcome::Unchanged);
    assert!(!has("blog"), "what was said stays so");
}

#[test]
fn doctor_misses_the_backups_that_were_to_be_made() {
    let scene = Scene::after(&[provisioned, scheduled]);
    let missing = |scene: &Scene| {
        let survey = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
        survey.findings.into_iter().map(|f| format!("{}: {}", f.what, f.problem)).collect::<Vec<_>>()
    };
    assert_eq!(missing(&scene), [""; 0], "none can be missing yet");
    let age = |scene: &Scene| {
        let db = rusqlite::Connection::open(scene.real("/var/lib/hostkit/registry.db")).unwrap();
        let sql = "UPDATE project SET spec = replace(spec, '2096-11-20T', '2096-11-18T')";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    };
    age(&scene);
    assert_eq!(missing(&scene), ["backups: none has succeeded since 2096-11-18T08:02:31Z"]);
    scene.act(backed_up).unwrap();
    assert_eq!(missing(&scene), [""; 0]);
    // An old one will not do.
    let dir = scene.real("/var/lib/hostkit/backups/blog.2000");
    std::fs::rename(dir.join("20961120-080231.backup"), dir.join("20961118-080231.backup")).unwrap();
    assert_eq!(missing(&scene), ["backups: the last one that succeeded is 48 hours old"]);
}
