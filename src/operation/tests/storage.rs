//! Object storage over the fake store: what is made, what dies half-way, what comes back, what is gone.

use std::collections::BTreeSet;

use super::scene::{
    Act, Scene, Warnings, brought_back, deleted, deployed, provisioned, purged, restarted, stored, wish,
};
use crate::{
    domain::{
        backup::{Reason, Scope},
        fault::{Code, Fault},
        secret::Secret,
    },
    operation::{
        backup::{
            self, create_with,
            restore::{Origin, Piece, adopt, restore},
        },
        lifecycle::{Farewell, collect, delete},
        provision::{Ask, Wish, provision},
        session::{Mode, Outcome, Session},
        storage::{Fate, access, attach, info, presign, rotate},
        survey::doctor,
    },
    project::storage::{Place, QUOTA},
    system::{
        Tripwire,
        objects::{Access, Headers, Rights, Verb},
    },
};

fn rotated(session: &mut Session<'_>) -> anyhow::Result<()> {
    rotate(session, &"blog".parse()?, false).map(drop)
}
fn rotated_at_once(session: &mut Session<'_>) -> anyhow::Result<()> {
    rotate(session, &"blog".parse()?, true).map(drop)
}
fn limited(session: &mut Session<'_>) -> anyhow::Result<()> {
    provision(session, &Wish { quota: Some(5), ..wish("blog") }).map(drop)
}
/// What is said of it.
fn image() -> Headers {
    [("content-type".to_owned(), "image/png".to_owned())].into()
}
/// Something that the project has written.
fn filled(session: &mut Session<'_>) -> anyhow::Result<()> {
    let at = access(session, &session.project(&"blog".parse()?)?.spec)?;
    session.host.objects.put(&at, "images/logo.png", &image(), &mut &b"a logo"[..]).map(drop)
}

/// Something else instead.
fn changed(session: &mut Session<'_>) -> anyhow::Result<()> {
    let at = access(session, &session.project(&"blog".parse()?)?.spec)?;
    session.host.objects.delete(&at, &["images/logo.png".to_owned()])?;
    session.host.objects.put(&at, "later", &Headers::new(), &mut &b"something"[..]).map(drop)
}
fn backed_up(session: &mut Session<'_>) -> anyhow::Result<()> {
    create_with(session, &"blog".parse()?, Scope::Backup, Reason::Manual, true).map(drop)
}
fn gone_back(session: &mut Session<'_>) -> anyhow::Result<()> {
    let id = backup::list(session, &"blog".parse()?)?.pop().expect("there is a backup").id;
    let from = Origin::Project { name: "blog".parse()?, id: Some(id) };
    restore(session, &"blog".parse()?, Scope::Backup, &from, &BTreeSet::new()).map(drop)
}
fn kept(session: &mut Session<'_>) -> anyhow::Result<()> {
    delete(session, &"blog".parse()?, Farewell { objects: Fate::Kept, ..Farewell::WHOLE }).map(drop)
}
fn given_up(session: &mut Session<'_>) -> anyhow::Result<()> {
    delete(session, &"blog".parse()?, Farewell { objects: Fate::Lost, ..Farewell::WHOLE }).map(drop)
}

/// Kinds of operations with what comes before them, for the crash matrix; the first ones also die twice.
pub(super) const ACTS: &[(&str, &[Act], Act)] = &[
    ("provision with storage", &[stored], provisioned),
    ("rotate", &[stored, provisioned, deployed], rotated),
    ("delete with storage", &[stored, provisioned, filled], deleted),
    ("init with storage", &[], stored),
    ("storage for a project that had none", &[provisioned, deployed, stored], provisioned),
    ("another quota", &[stored, provisioned, filled], limited),
    ("restart after a rotation", &[stored, provisioned, deployed, rotated], restarted),
    ("restore with storage", &[stored, provisioned, filled, deleted], brought_back),
    ("purge with storage", &[stored, provisioned, filled, kept], purged),
    ("delete that keeps the objects", &[stored, provisioned, filled], kept),
    ("delete that gives the objects up", &[stored, provisioned, filled], given_up),
    ("restore of what was kept", &[stored, provisioned, filled, kept], brought_back),
    ("going back to a backup with objects", &[stored, provisioned, filled, backed_up, changed], gone_back),
];
/// How many of them die twice: each such pair takes a recovery of its own.
pub(super) const TWICE: usize = 1;

fn code(error: &anyhow::Error) -> Code {
    error.downcast_ref::<Fault>().expect("a fault").code
}

fn opens(scene: &Scene, at: &Access) -> bool {
    scene.act(|s| s.host.objects.list(at, "", None, 10)).is_ok()
}

fn blog(scene: &Scene) -> Access {
    scene.act(|s| access(s, &s.project(&"blog".parse()?)?.spec)).unwrap()
}

#[test]
fn a_project_gets_a_bucket_that_its_environment_opens_and_nobody_elses() {
    let scene = Scene::after(&[stored, provisioned]);
    scene.act(|s| provision(s, &wish("shop"))).unwrap();
    let env = std::fs::read_to_string(scene.real("/home/blog/.env")).unwrap();
    let value = |key: &str| {
        let line = env.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key} in {env}")).trim_matches(['\'', '"']).to_owned()
    };
    let at = Access {
        endpoint: value("S3_ENDPOINT"),
        region: value("S3_REGION"),
        bucket: value("S3_BUCKET"),
        key: value("S3_ACCESS_KEY"),
        secret: Secret::new(value("S3_SECRET_KEY")),
    };
    assert!(opens(&scene, &at));
    assert!(!opens(&scene, &Access { bucket: "shop-assets".into(), ..at.clone() }));
    let rights = scene.world.state().objects.shelf("blog-assets").unwrap().rights[&at.key];
    assert_eq!(rights, Rights { read: true, write: true, owner: false });
    let (storage, bucket) = scene.act(|s| info(s, &"blog".parse()?)).unwrap();
    assert_eq!(storage.place, Place::Own { quota: QUOTA });
    assert_eq!(bucket.unwrap().quota, Some(QUOTA));
}

#[test]
fn the_secret_is_in_the_environment_file_and_nowhere_else() {
    let scene = Scene::after(&[stored, provisioned, deployed, rotated]);
    let secret = blog(&scene).secret;
    let registry = std::fs::read(scene.real("/var/lib/hostkit/registry.db")).unwrap();
    let found = |bytes: &[u8]| bytes.windows(secret.reveal().len()).any(|w| w == secret.reveal().as_bytes());
    assert!(!found(&registry));
    assert!(found(&std::fs::read(scene.real("/home/blog/.env")).unwrap()), "the search finds it where it is");
}

#[test]
fn where_the_host_has_no_store_a_project_goes_without_unless_it_was_asked_for() {
    let scene = Scene::after(&[provisioned]);
    assert_eq!(scene.act(|s| info(s, &"blog".parse()?)).map_err(|e| code(&e)).unwrap_err(), Code::WrongState);
    let wish = Wish { storage: Ask::Yes, ..wish("shop") };
    let error = scene.act(|s| provision(s, &wish)).unwrap_err();
    assert_eq!(code(&error), Code::NotInitialised);
    assert!(!scene.real("/home/shop").exists());
}

#[test]
fn both_keys_open_the_bucket_until_the_process_has_been_started_anew() {
    let scene = Scene::after(&[stored, provisioned, deployed]);
    let old = blog(&scene);
    scene.act(rotated).unwrap();
    let new = blog(&scene);
    assert_ne!(old.key, new.key);
    assert!(opens(&scene, &old) && opens(&scene, &new));
    // Another one now would take away the key that the process has.
    assert_eq!(code(&scene.act(rotated).unwrap_err()), Code::WrongState);
    scene.act(restarted).unwrap();
    assert!(!opens(&scene, &old) && opens(&scene, &new));
    scene.act(rotated_at_once).unwrap();
    assert!(!opens(&scene, &new) && opens(&scene, &blog(&scene)));
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    // What opens nothing any more is removed later, and the one that is used is not.
    assert_eq!(scene.act(collect).unwrap(), 2);
    assert!(opens(&scene, &blog(&scene)));
    assert_eq!(scene.act(collect).unwrap(), 0);
}

#[test]
fn a_project_without_a_process_has_one_key_after_a_rotation() {
    let scene = Scene::after(&[stored, provisioned]);
    let old = blog(&scene);
    scene.act(rotated).unwrap();
    assert!(!opens(&scene, &old) && opens(&scene, &blog(&scene)));
}

fn buckets(scene: &Scene) -> Vec<String> {
    scene.act(|s| s.host.buckets.buckets()).unwrap()
}
/// What lies in a project's bucket, with what is said of it.
fn lies(scene: &Scene, bucket: &str) -> Vec<(String, Vec<u8>, Headers)> {
    let mut state = scene.world.state();
    let shelf = state.objects.shelf(bucket).unwrap_or_else(|| panic!("no bucket {bucket}"));
    let one = |(key, bytes): (&String, &Vec<u8>)| (key.clone(), bytes.clone(), shelf.headers[key].clone());
    shelf.objects.iter().map(one).collect()
}
fn logo() -> Vec<(String, Vec<u8>, Headers)> {
    vec![("images/logo.png".to_owned(), b"a logo".to_vec(), image())]
}

#[test]
fn a_deleted_project_leaves_no_key_and_no_bucket_and_its_objects_come_back_with_it() {
    let scene = Scene::after(&[stored, provisioned, filled]);
    let old = blog(&scene);
    scene.act(deleted).unwrap();
    assert_eq!(buckets(&scene), [""; 0]);
    assert!(scene.act(|s| s.host.buckets.keys()).unwrap().is_empty());
    assert_eq!(scene.act(collect).unwrap(), 0, "there is nothing left to be collected");
    scene.act(brought_back).unwrap();
    assert!(!opens(&scene, &old) && opens(&scene, &blog(&scene)));
    assert_eq!(lies(&scene, "blog-assets"), logo());
    assert_eq!(buckets(&scene), ["blog-assets"]);
    assert_eq!(scene.act(|s| s.host.buckets.keys()).unwrap().len(), 1);
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    scene.act(deleted).unwrap();
    scene.act(purged).unwrap();
    assert!(scene.world.state().objects.shelves.is_empty());
    assert!(scene.act(|s| s.host.buckets.keys()).unwrap().is_empty());
}

#[test]
fn objects_that_are_to_be_kept_stay_closed_until_the_project_is_back_or_gone_for_good() {
    let scene = Scene::after(&[stored, provisioned, filled, kept]);
    assert_eq!(buckets(&scene), ["blog-assets.2000.trash"]);
    assert!(scene.act(|s| s.host.buckets.keys()).unwrap().is_empty());
    // Its time is not over.
    assert_eq!(scene.act(collect).unwrap(), 0);
    scene.act(brought_back).unwrap();
    assert_eq!(lies(&scene, "blog-assets"), logo());
    scene.act(kept).unwrap();
    scene.act(purged).unwrap();
    assert!(scene.world.state().objects.shelves.is_empty());
}

#[test]
fn objects_that_are_given_up_are_gone_at_once() {
    let scene = Scene::after(&[stored, provisioned, filled, given_up]);
    assert!(scene.world.state().objects.shelves.is_empty());
    scene.act(brought_back).unwrap();
    assert_eq!(lies(&scene, "blog-assets"), []);
    // Without a last backup nothing can be saved.
    scene.act(filled).unwrap();
    scene.act(|s| delete(s, &"blog".parse()?, Farewell::NONE)).unwrap();
    assert!(scene.world.state().objects.shelves.is_empty());
}

#[test]
fn what_was_written_while_the_last_backup_was_made_stays_closed_and_is_told() {
    let scene = Scene::after(&[stored, provisioned, filled]);
    scene.world.state().objects.meddler = Some(("blog-assets".to_owned(), "late".to_owned()));
    let mut heard = Warnings::default();
    scene.act_heard(&mut heard, Mode::Run, deleted).unwrap();
    assert!(heard.0.iter().any(|w| w.contains("stays, closed")), "{:?}", heard.0);
    assert_eq!(buckets(&scene), ["blog-assets.2000.trash"]);
    assert_eq!(scene.act(collect).unwrap(), 0, "it may still be wanted");
    scene.act(brought_back).unwrap();
    let keys: Vec<String> = lies(&scene, "blog-assets").into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, ["images/logo.png", "late"]);
}

#[test]
fn whoever_died_after_deleting_leaves_the_bucket_to_gc() {
    let scene = Scene::after(&[stored, provisioned, filled]);
    let wire = Tripwire::default();
    scene.copy().act_wired(wire.clone(), Mode::Run, deleted).unwrap();
    let mut closed = 0;
    for n in (1..=wire.crossed()).rev().take(12) {
        let died = scene.copy();
        let _ = died.act_wired(Tripwire::at(n), Mode::Run, deleted);
        died.recover(Tripwire::default()).unwrap();
        if died.act(|s| s.store.trash()).unwrap().is_empty() {
            break;
        }
        closed += usize::from(!buckets(&died).is_empty());
        died.act(collect).unwrap();
        assert_eq!(buckets(&died), [""; 0], "died at {n}");
        assert!(died.act(|s| s.host.buckets.keys()).unwrap().is_empty(), "died at {n}");
        died.act(brought_back).unwrap();
        assert_eq!(lies(&died, "blog-assets"), logo(), "died at {n}");
    }
    assert!(closed > 1, "{closed}");
}

#[test]
fn a_bucket_too_large_for_the_disk_keeps_its_project_from_being_deleted_unless_told_otherwise() {
    let scene = Scene::after(&[stored, provisioned, filled]);
    {
        let mut state = scene.world.state();
        state.objects.weight = 1 << 60;
    }
    let before = scene.snapshot();
    for mode in [Mode::DryRun, Mode::Run] {
        let error = scene.act_wired(Tripwire::default(), mode, deleted).unwrap_err();
        assert_eq!(code(&error), Code::DiskFull);
        let fault = error.downcast_ref::<Fault>().unwrap();
        assert!(fault.message.contains("1152921504606846982 bytes"), "{}", fault.message);
        assert!(fault.next.iter().any(|n| n.contains("--objects keep")), "{:?}", fault.next);
        assert!(fault.next.iter().any(|n| n.contains("--objects drop")), "{:?}", fault.next);
    }
    let error = scene.act(backed_up).unwrap_err();
    assert_eq!(code(&error), Code::DiskFull);
    assert_eq!(scene.snapshot(), before);
    scene.act(kept).unwrap();
    assert_eq!(buckets(&scene), ["blog-assets.2000.trash"]);
}

#[test]
fn objects_come_out_of_a_backup_as_they_went_in_and_under_another_name_too() {
    let scene = Scene::after(&[stored, provisioned, filled, backed_up, changed, gone_back]);
    assert_eq!(lies(&scene, "blog-assets"), logo());
    assert!(opens(&scene, &blog(&scene)), "its key opens what came back");
    assert_eq!(scene.world.state().objects.shelf("blog-assets").unwrap().quota, Some(QUOTA));
    assert_eq!(buckets(&scene), ["blog-assets"], "nothing lies beside it");
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    // Forward again, to what there was before.
    let newest = Origin::Project { name: "blog".parse().unwrap(), id: None };
    scene.act(|s| restore(s, &"blog".parse()?, Scope::Backup, &newest, &BTreeSet::new())).unwrap();
    assert_eq!(lies(&scene, "blog-assets")[0].0, "later");
    scene.act(deleted).unwrap();
    scene.act(|s| adopt(s, &newest, &"again".parse()?, &BTreeSet::new())).unwrap();
    assert_eq!(lies(&scene, "again-assets")[0].0, "later");
    assert_eq!(buckets(&scene), ["again-assets"]);
}

#[test]
fn objects_want_a_bucket_to_be_put_into() {
    let scene = Scene::after(&[stored, provisioned, filled, deleted]);
    let bare = Scene::new();
    let newest = Origin::Project { name: "blog".parse().unwrap(), id: None };
    let (file, key) = scene
        .act(|s| {
            let stored = backup::list(s, &"blog".parse()?)?;
            Ok((s.host.root.real(&stored[0].path), scene.real("/etc/hostkit/master.key")))
        })
        .unwrap();
    let file = Origin::File { file, key: Some(key) };
    let before = bare.snapshot();
    let error = bare.act(|s| adopt(s, &file, &"blog".parse()?, &BTreeSet::new())).unwrap_err();
    assert_eq!(code(&error), Code::NotInitialised);
    assert_eq!(bare.snapshot(), before);
    let only = [Piece::Shared, Piece::Env].into();
    bare.act(|s| adopt(s, &file, &"blog".parse()?, &only)).unwrap();
    // And of a project that has none, none can be taken.
    assert_eq!(code(&bare.act(backed_up).unwrap_err()), Code::WrongState);
    let error =
        bare.act(|s| restore(s, &"blog".parse()?, Scope::Backup, &file, &BTreeSet::new())).unwrap_err();
    assert_eq!(code(&error), Code::WrongState);
    drop(newest);
}

#[test]
fn an_empty_bucket_goes_with_its_project_at_once() {
    let scene = Scene::after(&[stored, provisioned, deleted]);
    assert!(scene.act(|s| s.host.buckets.buckets()).unwrap().is_empty());
}

#[test]
fn what_a_failed_provision_left_is_removed_later() {
    let scene = Scene::after(&[stored]);
    scene.world.state().nginx_down = true;
    scene.act(provisioned).unwrap_err();
    assert!(!scene.real("/home/blog").exists());
    assert_eq!(scene.act(|s| s.host.buckets.buckets()).unwrap(), ["blog-assets.2000.trash"]);
    assert_eq!(scene.act(collect).unwrap(), 2);
    assert!(scene.world.state().objects.shelves.is_empty());
    scene.world.state().nginx_down = false;
    scene.act(provisioned).unwrap();
    assert!(opens(&scene, &blog(&scene)));
}

#[test]
fn a_bucket_that_is_somebody_elses_is_refused_and_left_alone() {
    let scene = Scene::after(&[stored]);
    scene.act(|s| s.host.buckets.create("blog-assets")).unwrap();
    assert_eq!(code(&scene.act(provisioned).unwrap_err()), Code::Foreign);
    assert_eq!(scene.act(|s| s.host.buckets.bucket("blog-assets")).unwrap().unwrap().quota, None);
    assert!(!scene.real("/home/blog").exists());
}

#[test]
fn a_store_that_is_down_is_named_and_nothing_is_changed() {
    let scene = Scene::after(&[stored, provisioned, deployed]);
    let before = scene.snapshot();
    scene.world.state().objects.down = true;
    for act in [rotated as Act, deleted, limited] {
        assert_eq!(code(&scene.act(act).unwrap_err()), Code::ServiceDown);
    }
    // It does not keep a project from being restarted, or the trash from being emptied.
    scene.act(restarted).unwrap();
    assert_eq!(scene.act(collect).unwrap(), 0);
    scene.world.state().objects.down = false;
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn a_bucket_elsewhere_is_attached_when_its_key_opens_it() {
    let scene = Scene::after(&[provisioned]);
    scene
        .act(|s| {
            s.host.buckets.create("elsewhere")?;
            s.host.buckets.import("AKIAELSEWHERE", &Secret::new("the-secret-of-elsewhere"), "x")?;
            s.host.buckets.permit(
                "AKIAELSEWHERE",
                "elsewhere",
                Rights { read: true, write: true, owner: false },
            )
        })
        .unwrap();
    let at = |secret: &str, endpoint: &str| Access {
        endpoint: endpoint.into(),
        region: "eu-1".into(),
        bucket: "elsewhere".into(),
        key: "AKIAELSEWHERE".into(),
        secret: Secret::new(secret),
    };
    let before = scene.snapshot();
    let good = "https://s3.example.com";
    for bad in [at("a-wrong-secret", good), at("the-secret-of-elsewhere", "http://s3.example.com")] {
        scene.act(|s| attach(s, &"blog".parse()?, bad)).unwrap_err();
    }
    assert_eq!(scene.snapshot(), before);
    let right = at("the-secret-of-elsewhere", good);
    assert_eq!(scene.act(|s| attach(s, &"blog".parse()?, right.clone())).unwrap().0, Outcome::Changed);
    let env = std::fs::read_to_string(scene.real("/home/blog/.env")).unwrap();
    assert!(env.contains(good) && env.contains("the-secret-of-elsewhere") && env.contains("eu-1"), "{env}");
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    assert_eq!(scene.act(|s| attach(s, &"blog".parse()?, right)).unwrap().0, Outcome::Unchanged);
    assert_eq!(code(&scene.act(rotated).unwrap_err()), Code::WrongState);
    // What is elsewhere is not HostKit's to delete.
    scene.act(deleted).unwrap();
    scene.act(purged).unwrap();
    assert_eq!(scene.act(|s| s.host.buckets.buckets()).unwrap(), ["elsewhere"]);
}

#[test]
fn an_address_is_made_for_one_object_and_the_bucket_of_its_project() {
    let scene = Scene::after(&[stored, provisioned]);
    let make = |key: &str| {
        scene.act(|s| presign(s, &"blog".parse()?, Verb::Get, key, std::time::Duration::from_hours(1)))
    };
    assert!(make("a.png").unwrap().starts_with("http://127.0.0.1:3900/blog-assets/a.png?"));
    assert_eq!(code(&make("../shop-assets/a.png").unwrap_err()), Code::InvalidValue);
}
