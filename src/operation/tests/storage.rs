//! Object storage over the fake store: what is made, what dies half-way, what comes back, what is gone.

use super::scene::{
    Act, Scene, brought_back, deleted, deployed, provisioned, purged, restarted, stored, wish,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        secret::Secret,
    },
    operation::{
        lifecycle::collect,
        provision::{Ask, Wish, provision},
        session::{Outcome, Session},
        storage::{access, attach, info, list, presign, rotate},
        survey::doctor,
    },
    project::storage::{Place, QUOTA},
    system::objects::{Access, Rights, Verb},
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
/// Something that the project has written.
fn filled(session: &mut Session<'_>) -> anyhow::Result<()> {
    let at = access(session, &session.project(&"blog".parse()?)?.spec)?;
    session.host.objects.put(&at, "images/logo.png", &mut &b"a logo"[..]).map(drop)
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
    ("purge with storage", &[stored, provisioned, filled, deleted], purged),
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

#[test]
fn a_deleted_project_leaves_no_key_and_its_objects_come_back_with_it_and_go_for_good_with_it() {
    let scene = Scene::after(&[stored, provisioned, filled]);
    let old = blog(&scene);
    scene.act(deleted).unwrap();
    let names = |scene: &Scene| scene.act(|s| s.host.buckets.buckets()).unwrap();
    assert_eq!(names(&scene), ["blog-assets.2000.trash"]);
    assert!(scene.act(|s| s.host.buckets.keys()).unwrap().is_empty());
    // Its time is not over.
    assert_eq!(scene.act(collect).unwrap(), 0);
    scene.act(brought_back).unwrap();
    assert!(!opens(&scene, &old));
    let (entries, more) = scene.act(|s| list(s, &"blog".parse()?, "", 10)).unwrap();
    assert_eq!((entries.len(), entries[0].key.as_str(), more), (1, "images/logo.png", false));
    scene.act(deleted).unwrap();
    scene.act(purged).unwrap();
    assert!(names(&scene).is_empty());
    assert!(scene.act(|s| s.host.buckets.keys()).unwrap().is_empty());
    assert!(scene.world.state().objects.shelves.is_empty());
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
