//! Copies of backups at an S3 provider: made, missed, fetched, and gone when their time is over.

use std::collections::BTreeSet;

use super::{
    backup::{backed_up, filled, scheduled, spoiled},
    scene::{Scene, Warnings, database_gone, deleted, deployed, provisioned, purged, written},
};
use crate::{
    domain::{
        backup::{Reason, Scope},
        fault::{Code, Fault},
        name::ProjectName,
        secret::Secret,
    },
    operation::{
        backup::{
            Place, create, delete, list,
            offsite::{aim, target, unset},
            prune,
            restore::{Origin, adopt, restore},
            survey,
            verify::verify,
        },
        lifecycle::collect,
        session::{Mode, Outcome, Session},
        survey::doctor,
    },
    system::{
        Tripwire,
        fake::objects::{Opener, Shelf},
        objects::{Access, Rights},
    },
};

fn blog() -> ProjectName {
    "blog".parse().unwrap()
}

fn code(error: &anyhow::Error) -> Code {
    error.downcast_ref::<Fault>().unwrap_or_else(|| panic!("{error:?}")).code
}

fn access() -> Access {
    Access {
        endpoint: "https://s3.example.test".into(),
        region: "eu".into(),
        bucket: "copies".into(),
        key: "GKcopies".into(),
        secret: Secret::new("the-secret-of-copies"),
    }
}

/// A bucket at a provider, and the key that opens it.
fn rent(scene: &Scene, rights: Rights) {
    let mut world = scene.world.state();
    let rights = [("GKcopies".to_owned(), rights)].into();
    world.objects.shelves.insert(9, Shelf { rights, ..Shelf::default() });
    world.objects.names.insert("copies".into(), 9);
    let opener = Opener { secret: access().secret.reveal().into(), ..Opener::default() };
    world.objects.keys.insert("GKcopies".into(), opener);
}

const ALL: Rights = Rights { read: true, write: true, owner: false };

fn aimed(session: &mut Session<'_>) -> anyhow::Result<()> {
    aim(session, access()).map(drop)
}

/// A host whose backups are copied, with a project that has something to lose.
fn scene() -> Scene {
    let scene = Scene::after(&[provisioned, deployed, filled]);
    rent(&scene, ALL);
    scene.act(aimed).unwrap();
    scene
}

/// What lies in the bucket.
fn copies(scene: &Scene) -> Vec<String> {
    scene.world.state().objects.shelf("copies").unwrap().objects.keys().cloned().collect()
}

fn local(scene: &Scene) -> Vec<String> {
    let dir = std::fs::read_dir(scene.real("/var/lib/hostkit/backups/blog.2000")).into_iter().flatten();
    let mut all: Vec<String> = dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

/// Loses what lies on the host.
fn lose(scene: &Scene) {
    for file in local(scene) {
        std::fs::remove_file(scene.real("/var/lib/hostkit/backups/blog.2000").join(file)).unwrap();
    }
}

/// What `doctor` says of backups and their target.
fn missing(scene: &Scene) -> Vec<String> {
    let survey = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
    let backups = survey.findings.into_iter().filter(|f| f.what.starts_with("backup"));
    backups.map(|f| format!("{}: {}", f.what, f.problem)).collect()
}

/// Renames a copy, as if it had been made at another time.
fn date(scene: &Scene, from: &str, to: &str) {
    let mut world = scene.world.state();
    let objects = &mut world.objects.shelf("copies").unwrap().objects;
    let key = objects.keys().find(|key| key.contains(from)).unwrap().clone();
    let bytes = objects[&key].clone();
    objects.insert(key.replace(from, to), bytes);
}

#[test]
fn a_backup_is_copied_and_comes_back_from_there_when_the_host_has_lost_it() {
    let scene = scene();
    let made = scene.act(|s| create(s, &blog(), Scope::Backup, Reason::Manual)).unwrap();
    assert_eq!(made.place, Place::Both);
    let print = scene.act(|s| s.host.vault.fingerprint()).unwrap();
    assert_eq!(copies(&scene), [format!("hostkit/{print}/blog.2000/{}.backup", made.id)]);
    let whole = std::fs::read(scene.real(&made.path.to_string())).unwrap();
    let copy = scene.world.state().objects.shelf("copies").unwrap().objects.values().next().unwrap().clone();
    assert!(copy == whole && !copy.windows(6).any(|w| w == b"poison"));
    assert_eq!(scene.act(|s| survey(s, &blog())).unwrap().0[0].place, Place::Both);
    lose(&scene);
    scene.act(spoiled).unwrap();
    let (all, problem) = scene.act(|s| survey(s, &blog())).unwrap();
    assert_eq!((all.len(), all[0].place, problem), (1, Place::Offsite, None));
    assert_eq!(scene.act(|s| verify(s, &blog(), None)).unwrap().id, made.id);
    let from = Origin::Project { name: blog(), id: Some(made.id) };
    scene.act(|s| restore(s, &blog(), Scope::Backup, &from, &BTreeSet::new())).unwrap();
    let state = scene.world.state();
    assert_eq!(state.postgres.as_ref().unwrap().databases["blog_db"].contents, ["INSERT one", "INSERT two"]);
    drop(state);
    assert_eq!(local(&scene).len(), 1, "what was fetched stays nowhere, but for the safety backup");
    let left: Vec<_> = std::fs::read_dir(scene.real("/var/lib/hostkit")).unwrap().collect();
    assert!(!left.iter().any(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("scratch")));
}

#[test]
fn a_target_that_does_not_open_is_refused_with_what_is_wrong_and_the_one_before_stays() {
    let scene = scene();
    let before = scene.act(|s| target(s)).unwrap();
    let refused = |at: Access| {
        let error = scene.act(|s| aim(s, at)).unwrap_err();
        assert!(scene.act(|s| target(s)).unwrap() == before && copies(&scene).is_empty());
        code(&error)
    };
    assert_eq!(refused(Access { secret: Secret::new("another"), ..access() }), Code::StorageRefused);
    assert_eq!(refused(Access { bucket: "nothing".into(), ..access() }), Code::StorageRefused);
    assert_eq!(refused(Access { bucket: "a b".into(), ..access() }), Code::InvalidValue);
    assert_eq!(refused(Access { endpoint: "http://s3.example.test".into(), ..access() }), Code::InvalidValue);
    rent(&scene, Rights { write: false, ..ALL });
    assert_eq!(refused(access()), Code::StorageRefused);
    rent(&scene, Rights { read: false, ..ALL });
    assert_eq!(code(&scene.act(aimed).unwrap_err()), Code::StorageRefused);
    assert!(copies(&scene).is_empty(), "what was written to try it is gone");
    scene.world.state().objects.down = true;
    assert_eq!(code(&scene.act(aimed).unwrap_err()), Code::ServiceDown);
    assert_eq!(scene.act(|s| target(s)).unwrap(), before);
    let registry = std::fs::read(scene.real("/var/lib/hostkit/registry.db")).unwrap();
    assert!(registry.windows(8).any(|w| w == b"GKcopies"), "the search finds what is there");
    assert!(!registry.windows(20).any(|w| w == b"the-secret-of-copies"));
}

#[test]
fn saying_the_same_target_again_changes_nothing_and_without_one_nothing_is_copied() {
    let scene = scene();
    assert_eq!(scene.act(|s| aim(s, access())).unwrap(), Outcome::Unchanged);
    assert_eq!(scene.act(unset).unwrap(), Outcome::Changed);
    assert_eq!(scene.act(unset).unwrap(), Outcome::Unchanged);
    assert_eq!(scene.act(|s| create(s, &blog(), Scope::Backup, Reason::Manual)).unwrap().place, Place::Here);
    assert!(copies(&scene).is_empty());
    let wire = Tripwire::default();
    scene.act_wired(wire.clone(), Mode::DryRun, |s| aim(s, access())).unwrap();
    assert_eq!(wire.crossed(), 0);
}

#[test]
fn a_target_that_is_down_costs_no_backup_is_missed_and_gets_the_next_time_what_it_lacks() {
    let scene = scene();
    scene.world.state().objects.down = true;
    let mut heard = Warnings::default();
    let made = scene
        .act_heard(&mut heard, Mode::Run, |s| create(s, &blog(), Scope::Backup, Reason::Schedule))
        .unwrap();
    assert_eq!((made.place, local(&scene).len()), (Place::Here, 1));
    assert!(heard.0.len() == 1 && heard.0[0].contains("tried again"), "{:?}", heard.0);
    assert!(scene.act(|s| survey(s, &blog())).unwrap().1.is_some());
    assert!(missing(&scene)[0].starts_with("backup target: no copies can be made"));
    scene.act(|s| prune(s, &blog())).unwrap();
    scene.world.state().objects.down = false;
    assert_eq!(missing(&scene), [""; 0], "it is not late yet");
    let db = rusqlite::Connection::open(scene.real("/var/lib/hostkit/registry.db")).unwrap();
    let sql = "UPDATE setting SET value = replace(value, '2096-11-20T', '2096-11-18T')";
    db.execute(sql, []).unwrap();
    assert_eq!(missing(&scene), ["backups: no copy offsite has succeeded since 2096-11-18T08:02:31Z"]);
    scene.act(backed_up).unwrap();
    assert_eq!((copies(&scene).len(), missing(&scene)), (2, vec![]));
    // An old copy will not do.
    date(&scene, "20961120-080231", "20961118-080231");
    scene.world.state().objects.shelf("copies").unwrap().objects.retain(|key, _| key.contains("1118"));
    assert_eq!(missing(&scene), ["backups: the last copy offsite that succeeded is 48 hours old"]);
}

#[test]
fn copies_are_kept_for_thirty_days_and_the_newest_for_ever() {
    let scene = scene();
    scene.act(backed_up).unwrap();
    for day in ["20961001", "20961020", "20961022"] {
        date(&scene, "20961120", day);
    }
    let gone = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| prune(s, &blog())).unwrap();
    assert_eq!((gone.len(), copies(&scene).len()), (2, 4));
    let gone = scene.act(|s| prune(s, &blog())).unwrap();
    let ids: Vec<&str> = gone.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["20961001-080231", "20961020-080231"]);
    assert_eq!(copies(&scene).len(), 2);
    // `gc` does it for all, also for those that are gone.
    date(&scene, "20961120", "20961002");
    assert_eq!(scene.act(collect).unwrap(), 1);
    let keep = |key: &String, _: &mut Vec<u8>| key.contains("1022");
    scene.world.state().objects.shelf("copies").unwrap().objects.retain(keep);
    date(&scene, "20961022", "20960901");
    scene.world.state().objects.shelf("copies").unwrap().objects.retain(|key, _| key.contains("0901"));
    assert!(scene.act(|s| prune(s, &blog())).unwrap().is_empty() && copies(&scene).len() == 1);
    // What lies here and is that old is not copied again.
    std::fs::rename(
        scene.real("/var/lib/hostkit/backups/blog.2000/20961120-080231.backup"),
        scene.real("/var/lib/hostkit/backups/blog.2000/20961001-080231.backup"),
    )
    .unwrap();
    scene.act(backed_up).unwrap();
    assert_eq!(copies(&scene).len(), 2);
}

#[test]
fn a_backup_is_deleted_with_its_copy() {
    let scene = scene();
    scene.act(backed_up).unwrap();
    let id = scene.act(|s| list(s, &blog())).unwrap()[0].id.clone();
    scene.act(|s| delete(s, &blog(), Scope::Backup, &id)).unwrap();
    assert!(copies(&scene).is_empty() && local(&scene).is_empty());
    scene.act(backed_up).unwrap();
    lose(&scene);
    scene.act(|s| delete(s, &blog(), Scope::Backup, &id)).unwrap();
    assert!(copies(&scene).is_empty());
    let error = scene.act(|s| delete(s, &blog(), Scope::Backup, &id)).unwrap_err();
    assert_eq!(code(&error), Code::BackupNotFound);
}

#[test]
fn another_backup_in_the_place_of_a_copy_is_refused() {
    let scene = scene();
    scene.act(backed_up).unwrap();
    date(&scene, "20961120", "20961119");
    lose(&scene);
    let id = "20961119-080231".parse().unwrap();
    let from = Origin::Project { name: blog(), id: Some(id) };
    let before = scene.snapshot();
    let error = scene.act(|s| restore(s, &blog(), Scope::Backup, &from, &BTreeSet::new())).unwrap_err();
    assert_eq!((code(&error), scene.snapshot()), (Code::InvalidBackup, before));
}

#[test]
fn the_last_backup_of_a_deleted_project_lies_offsite_too_now_or_later() {
    let scene = scene();
    scene.act(deleted).unwrap();
    assert_eq!(copies(&scene).len(), 1);
    scene.world.state().objects.shelf("copies").unwrap().objects.clear();
    scene.act(collect).unwrap();
    assert_eq!(copies(&scene).len(), 1);
    // When nobody can have the project back, it goes in its time.
    date(&scene, "20961120", "20961001");
    scene.world.state().objects.shelf("copies").unwrap().objects.retain(|key, _| key.contains("1001"));
    std::fs::remove_dir_all(scene.real("/var/lib/hostkit/backups/blog.2000")).unwrap();
    scene.act(collect).unwrap();
    assert_eq!(copies(&scene).len(), 1);
    scene.act(purged).unwrap();
    scene.act(collect).unwrap();
    assert!(copies(&scene).is_empty());
}

#[test]
fn a_host_with_the_old_master_key_finds_the_copies_of_the_one_that_is_lost() {
    let there = scene();
    there.act(backed_up).unwrap();
    let here = Scene::new();
    let key = std::fs::read(there.real("/etc/hostkit/master.key")).unwrap();
    std::fs::write(here.real("/etc/hostkit/master.key"), key).unwrap();
    let lost = there.world.state().objects.clone();
    here.world.state().objects = lost;
    here.act(aimed).unwrap();
    assert_eq!(here.act(|s| survey(s, &blog())).unwrap().0.len(), 1);
    here.act(|s| adopt(s, &Origin::Project { name: blog(), id: None }, &blog(), &BTreeSet::new())).unwrap();
    let state = here.world.state();
    assert_eq!(state.postgres.as_ref().unwrap().databases["blog_db"].contents, ["INSERT one", "INSERT two"]);
}

#[test]
fn dying_anywhere_leaves_a_whole_copy_or_none_and_the_next_backup_makes_good_for_it() {
    let scene = Scene::after(&[provisioned, filled, scheduled]);
    rent(&scene, ALL);
    scene.act(aimed).unwrap();
    let wire = Tripwire::default();
    scene.copy().act_wired(wire.clone(), Mode::Run, backed_up).unwrap();
    let mut lacking = 0;
    for n in 1..=wire.crossed() {
        let scene = scene.copy();
        let _ = scene.act_wired(Tripwire::at(n), Mode::Run, backed_up);
        lacking += usize::from(local(&scene).len() == 1 && copies(&scene).is_empty());
        scene.act(backed_up).unwrap();
        let here = local(&scene);
        let there: Vec<String> =
            copies(&scene).iter().map(|k| k.rsplit('/').next().unwrap().into()).collect();
        assert_eq!(here, there, "died at {n}");
        assert!(scene.act(|s| list(s, &blog())).unwrap().iter().all(|b| b.inside.is_ok()), "died at {n}");
    }
    assert!(lacking > 0, "no death left a backup without a copy");
}

#[test]
fn a_database_that_is_deleted_leaves_a_checkpoint_unless_none_is_wanted() {
    let scene = Scene::after(&[provisioned, written]);
    std::fs::rename(scene.real("/etc/hostkit/master.key"), scene.real("/etc/hostkit/key")).unwrap();
    let before = scene.snapshot();
    let error = scene.act(database_gone).unwrap_err();
    assert!(error.downcast_ref::<Fault>().unwrap().next.iter().any(|n| n.contains("--no-backup")));
    assert_eq!((code(&error), scene.snapshot()), (Code::VaultKey, before));
    std::fs::rename(scene.real("/etc/hostkit/key"), scene.real("/etc/hostkit/master.key")).unwrap();
    scene.act(database_gone).unwrap();
    let all = scene.act(|s| list(s, &blog())).unwrap();
    assert_eq!((all.len(), all[0].scope), (1, Scope::Checkpoint));
    assert_eq!(all[0].inside.as_ref().unwrap().0, Reason::Delete);
    scene.act(|s| crate::operation::database::create(s, &blog())).unwrap();
    let from = Origin::Project { name: blog(), id: None };
    scene.act(|s| restore(s, &blog(), Scope::Checkpoint, &from, &BTreeSet::new())).unwrap();
    let contents =
        |s: &Scene| s.world.state().postgres.as_ref().unwrap().databases["blog_db"].contents.clone();
    assert_eq!(contents(&scene), ["INSERT INTO t VALUES (1)"]);
    let made = local(&scene).len();
    scene.act(|s| crate::operation::database::delete(s, &blog(), false)).unwrap();
    assert_eq!(local(&scene).len(), made);
}
