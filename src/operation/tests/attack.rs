//! What a hostile or unlucky neighbour does must stay its own trouble.

use super::scene::{
    Scene, brought_back, deleted, deployed, deployed_otherwise, provisioned, stopped, trash, wish,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        layout,
    },
    operation::{
        lifecycle::{Farewell, collect, delete, restore},
        provision::{Wish, provision},
        session::Mode,
        survey::{doctor, repair},
    },
    plan::Foreign,
    resource::{Any, Directory},
    system::Tripwire,
};

fn code(error: &anyhow::Error) -> Code {
    error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap_or_else(|| panic!("{error:?}")).code
}

/// A shared directory that its project has replaced by a link out of its home.
fn link_away(scene: &Scene, shared: &str) {
    let path = scene.real("/home/blog/shared").join(shared);
    let _ = std::fs::remove_dir_all(&path);
    std::os::unix::fs::symlink("/etc", &path).unwrap();
}

#[test]
fn a_shared_directory_that_became_a_link_is_moved_aside_and_what_it_leads_to_is_not_touched() {
    let scene = Scene::after(&[provisioned, deployed_otherwise]);
    link_away(&scene, "uploads");
    let etc = std::fs::metadata(scene.real("/etc")).unwrap();
    scene.act(|s| repair(s, None)).unwrap();
    assert!(std::fs::symlink_metadata(scene.real("/home/blog/shared/uploads")).unwrap().is_dir());
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    assert_eq!(std::fs::metadata(scene.real("/etc")).unwrap().modified().unwrap(), etc.modified().unwrap());
}

#[test]
fn a_new_shared_directory_that_a_failed_release_replaced_does_not_keep_it_from_being_undone() {
    for replace in ["link", "file", "full"] {
        let scene = Scene::after(&[provisioned, deployed]);
        let mut host = scene.host(Tripwire::default());
        let path = ["home", "blog", "shared"].iter().fold(layout::host::homes().parent(), |p, e| p.join(e));
        let path = path.join("uploads");
        let trash = Some(layout::host::home_trash().join("blog.2000.left-uploads"));
        let (uid, gid) = (2000, 2000);
        let made: Any = Directory { path, uid, gid, mode: 0o2770, visitor: None, trash, whole: false }.into();
        made.apply(&mut host).unwrap();
        let real = scene.real("/home/blog/shared/uploads");
        match replace {
            "link" => link_away(&scene, "uploads"),
            "file" => {
                std::fs::remove_dir(&real).unwrap();
                std::fs::write(&real, "").unwrap();
            }
            _ => std::fs::write(real.join("cat"), "meow").unwrap(),
        }
        made.restore(&made.nothing(), &mut host).unwrap();
        assert!(std::fs::symlink_metadata(&real).is_err(), "{replace}");
        assert_eq!(
            super::scene::trash(&scene),
            ["blog.2000.left-uploads"],
            "{replace}: what people made is kept"
        );
    }
}

#[test]
fn a_project_can_be_stopped_and_deleted_whatever_it_has_made_of_its_own_files() {
    for damage in ["link", "env"] {
        let scene = Scene::after(&[provisioned, deployed_otherwise]);
        match damage {
            "link" => link_away(&scene, "uploads"),
            _ => std::fs::write(scene.real("/home/blog/.env"), b"\xff\xfe").unwrap(),
        }
        scene.act(stopped).unwrap();
        assert!(!scene.world.state().units.contains_key("hostkit-blog.service"), "{damage}");
        // What cannot be read cannot be backed up, and has to be given up by name.
        assert_eq!(scene.act(deleted).is_ok(), damage == "link");
        if damage == "env" {
            scene.act(|s| delete(s, &"blog".parse()?, Farewell::NONE).map(drop)).unwrap();
        }
    }
}

#[test]
fn a_name_that_is_a_persons_costs_that_person_nothing() {
    let scene = Scene::new();
    scene.world.state().accounts.insert("alice".into(), (1000, "/home/alice".into()));
    let hers = ["releases/.staging-work/file", "releases/.notes.manifest", "releases/.x.hostkit-new"];
    for file in hers {
        let path = scene.real("/home/alice").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "hers").unwrap();
    }
    assert_eq!(code(&scene.act(|s| provision(s, &wish("alice"))).unwrap_err()), Code::NameTaken);
    for file in hers {
        assert!(scene.real("/home/alice").join(file).exists(), "{file}");
    }
}

#[test]
fn an_account_with_other_groups_or_a_number_of_the_systems_is_not_taken_over() {
    let scene = Scene::new();
    let adopt = |name: &str| Wish { foreign: Foreign::Adopt, ..wish(name) };
    scene.world.state().accounts.insert("svc1".into(), (1500, "/home/svc1".into()));
    scene.world.state().groups.insert("svc1".into(), vec!["shadow".into()]);
    scene.world.state().accounts.insert("nobody".into(), (65534, "/nonexistent".into()));
    scene.world.state().accounts.insert("boss".into(), (1001, "/srv/boss".into()));
    for name in ["svc1", "nobody", "boss"] {
        assert_eq!(code(&scene.act(|s| provision(s, &adopt(name))).unwrap_err()), Code::NameTaken, "{name}");
    }
}

#[test]
fn the_number_of_an_adopted_account_is_not_where_counting_goes_on() {
    let scene = Scene::new();
    scene.world.state().accounts.insert("blog".into(), (59_999, "/home/blog".into()));
    scene.act(|s| provision(s, &Wish { foreign: Foreign::Adopt, ..wish("blog") })).unwrap();
    assert_eq!(scene.act(|s| provision(s, &wish("shop"))).unwrap().1.uid, 2000);
}

#[test]
fn what_the_registry_knows_nothing_of_stays_in_the_trash() {
    let scene = Scene::after(&[provisioned, deployed, deleted]);
    let before = trash(&scene);
    let db = rusqlite::Connection::open(scene.real("/var/lib/hostkit/registry.db")).unwrap();
    db.execute_batch("DELETE FROM trash").unwrap();
    assert_eq!(scene.act(collect).unwrap(), 0);
    assert_eq!(trash(&scene), before);
}

#[test]
fn one_project_that_cannot_be_put_back_does_not_stop_the_others_from_being_mended() {
    let scene = Scene::after(&[provisioned, deployed]);
    scene.act(|s| provision(s, &wish("shop"))).unwrap();
    std::fs::remove_file(scene.real("/etc/logrotate.d/hostkit-shop")).unwrap();
    std::fs::write(scene.real("/home/blog/.env"), b"\xff\xfe").unwrap();
    scene.act(|s| repair(s, None)).unwrap_err();
    assert!(scene.real("/etc/logrotate.d/hostkit-shop").exists());
}

#[test]
fn a_directory_that_the_application_made_itself_may_later_be_shared() {
    let scene = Scene::after(&[provisioned, deployed]);
    std::fs::create_dir(scene.real("/home/blog/shared/uploads")).unwrap();
    std::fs::write(scene.real("/home/blog/shared/uploads/cat"), "meow").unwrap();
    scene.act(deployed_otherwise).unwrap();
    assert_eq!(std::fs::read_to_string(scene.real("/home/blog/app/uploads/cat")).unwrap(), "meow");
}

#[test]
fn a_clock_that_was_ahead_once_does_not_stop_later_deploys() {
    let scene = Scene::after(&[provisioned, deployed]);
    let db = rusqlite::Connection::open(scene.real("/var/lib/hostkit/registry.db")).unwrap();
    db.execute("UPDATE release SET id = '20991231-235959'", []).unwrap();
    scene.act(deployed).unwrap();
    let newest = scene.act(|s| s.store.releases(2000)).unwrap().remove(0).id;
    assert_eq!(newest.as_str(), "21000101-000000");
}

#[test]
fn restoring_needs_the_name_to_be_free() {
    let scene = Scene::after(&[provisioned, deployed, deleted]);
    scene.act(provisioned).unwrap();
    assert_eq!(code(&scene.act(|s| restore(s, &"blog".parse()?)).unwrap_err()), Code::NameTaken);
    scene.act(deleted).unwrap();
    // The one that was deleted last.
    scene.act(brought_back).unwrap();
}

/// A first deploy whose process was killed when all but the last write was done, and whose `.env` has
/// since become unreadable: that one step cannot be put back.
fn undoable_but_for_one_step() -> Scene {
    let base = Scene::after(&[provisioned]);
    let wire = Tripwire::default();
    base.copy().act_wired(wire.clone(), Mode::Run, deployed).unwrap();
    let scene = base.copy();
    scene.act_wired(Tripwire::at(wire.crossed() - 1), Mode::Run, deployed).unwrap_err();
    std::fs::write(scene.real("/home/blog/.env"), b"\xff\xfe").unwrap();
    scene
}

#[test]
fn undoing_goes_on_past_what_cannot_be_put_back() {
    let scene = undoable_but_for_one_step();
    let site = scene.real("/etc/nginx/sites-available/hostkit-blog");
    assert!(std::fs::read_to_string(&site).unwrap().contains("proxy_pass"));
    scene.act(|s| s.enter("blog", "look").map(drop)).unwrap_err();
    assert!(std::fs::read_to_string(&site).unwrap().contains("has not been deployed yet"));
}

#[test]
fn an_operation_that_cannot_be_undone_stops_no_command_of_the_hosts_or_of_others() {
    let scene = undoable_but_for_one_step();
    scene.act(collect).unwrap();
    scene.act(|s| provision(s, &wish("shop"))).unwrap();
}

#[test]
fn a_commit_that_happened_is_not_undone_although_its_last_write_failed() {
    let base = Scene::new();
    let wire = Tripwire::default();
    base.copy().act_wired(wire.clone(), Mode::Run, provisioned).unwrap();
    let scene = base.copy();
    scene.act_wired(Tripwire::at(wire.crossed()), Mode::Run, provisioned).unwrap();
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    scene.act(|s| s.project(&"blog".parse()?)).unwrap();
}

#[test]
fn a_release_that_is_kept_is_never_garbage() {
    let scene = Scene::after(&[provisioned, deployed]);
    let kept = scene.act(|s| s.project(&"blog".parse()?)).unwrap().spec.kept.remove(0);
    // As it lies there while an operation that takes it away is open.
    std::fs::create_dir(scene.real(&format!("/home/.hostkit-trash/blog.2000.{kept}"))).unwrap();
    std::fs::create_dir(scene.real("/home/.hostkit-trash/blog.2000.20200101-000000")).unwrap();
    assert_eq!(scene.act(collect).unwrap(), 1);
    assert_eq!(trash(&scene), [format!("blog.2000.{kept}")]);
}
