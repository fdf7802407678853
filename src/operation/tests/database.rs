//! A project's database over the fakes: what a rotation leaves, what is refused, and what a host without
//! a server says.

use super::scene::{
    Act, Scene, Warnings, database_gone, database_made, deleted, deployed, provisioned, provisioned_bare,
    restarted, rotated, wish, written,
};
use crate::{
    domain::fault::{Code, Fault},
    operation::{
        database::{copy, rotate},
        init::{Setup, init},
        lifecycle::collect,
        provision::provision,
        session::{Mode, Session},
        survey::doctor,
    },
    project::database::Login,
    system::{
        Tripwire,
        fake::postgres::{Cluster, Kept},
    },
};

fn cluster(scene: &Scene) -> Cluster {
    scene.world.state().postgres.clone().unwrap()
}

fn roles(scene: &Scene) -> Vec<String> {
    cluster(scene).roles.into_keys().filter(|name| name.starts_with("blog")).collect()
}

fn fault<T: std::fmt::Debug>(
    scene: &Scene,
    act: impl FnOnce(&mut Session<'_>) -> anyhow::Result<T>,
) -> Fault {
    let before = scene.snapshot();
    let error = scene.act(act).unwrap_err();
    assert_eq!(scene.snapshot(), before, "{error:#}");
    error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap_or_else(|| panic!("{error:?}")).clone()
}

#[test]
fn both_passwords_are_good_until_the_process_was_started_anew() {
    let scene = Scene::after(&[provisioned, deployed, written]);
    let spec = |scene: &Scene| scene.act(|s| Ok(s.project(&"blog".parse()?)?.spec)).unwrap();
    let first = cluster(&scene).roles["blog_db"].clone();
    let starts = scene.world.state().starts;
    scene.act(rotated).unwrap();
    assert_eq!(scene.world.state().starts, starts, "what runs is left alone");
    assert_eq!(cluster(&scene).roles["blog_db"], first);
    let second = cluster(&scene).roles["blog_db_b"].clone();
    assert!(second.login && second.within.contains("blog_db"), "{second:?}");
    assert_eq!(second.settings["role"].as_deref(), Some("blog_db"));
    assert_eq!(spec(&scene).database.unwrap().login, Login::Second);
    // Once more, before the process could hear of it: what it knows stays good.
    scene.act(rotated).unwrap();
    assert_eq!(cluster(&scene).roles["blog_db"], first);
    assert_ne!(cluster(&scene).roles["blog_db_b"].verifier, second.verifier);
    scene.act(restarted).unwrap();
    let owner = cluster(&scene).roles["blog_db"].clone();
    assert!(!owner.login && owner.verifier.is_none());
    assert!(std::fs::read_to_string(scene.real("/home/blog/.env")).unwrap().contains("//blog_db_b:"));
    scene.act(rotated).unwrap();
    scene.act(restarted).unwrap();
    assert_eq!(roles(&scene), ["blog_db"], "the second login is gone when nobody needs it");
    assert_eq!(cluster(&scene).databases["blog_db"].contents.len(), 1);
}

#[test]
fn what_was_started_anew_is_done_although_the_old_password_cannot_go_yet() {
    let scene = Scene::after(&[provisioned, deployed, rotated]);
    scene.world.state().postgres.as_mut().unwrap().down = true;
    let mut said = Warnings::default();
    scene.act_heard(&mut said, Mode::Run, restarted).unwrap();
    assert!(said.0.iter().any(|w| w.contains("are still valid")), "{:?}", said.0);
    scene.world.state().postgres.as_mut().unwrap().down = false;
    scene.act(restarted).unwrap();
    assert_eq!(roles(&scene).len(), 2, "{:?}", roles(&scene));
}

#[test]
fn with_now_or_without_a_process_the_old_password_goes_at_once() {
    let setups: [(&[Act], bool); 2] = [(&[provisioned, deployed, rotated], true), (&[provisioned], false)];
    for (setup, now) in setups {
        let scene = Scene::after(setup);
        let (_, spec) = scene.act(|s| rotate(s, &"blog".parse()?, now)).unwrap();
        assert_eq!(spec.database.unwrap().retiring, None);
        assert_eq!(cluster(&scene).roles.values().filter(|r| r.login && r.connections == 20).count(), 1);
        assert!(
            scene
                .act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None))
                .unwrap()
                .findings
                .is_empty()
        );
    }
}

#[test]
fn deleting_leaves_no_role_and_no_database() {
    for act in [deleted as Act, database_gone] {
        let scene = Scene::after(&[provisioned, deployed, written, rotated]);
        scene.act(act).unwrap();
        assert_eq!(roles(&scene), [""; 0]);
        assert!(!cluster(&scene).databases.keys().any(|name| name.starts_with("blog")));
    }
}

#[test]
fn what_could_not_be_dropped_is_collected_later_and_never_becomes_somebodys() {
    let scene = Scene::after(&[provisioned, deployed, written]);
    // The server goes away right after the operation.
    let base = scene.copy();
    let mut left = None;
    for n in 1.. {
        let scene = base.copy();
        let ended = scene.act_wired(Tripwire::at(n), Mode::Run, database_gone).is_ok();
        scene.recover(Tripwire::default()).unwrap();
        let closed = scene.act(|s| Ok(s.project(&"blog".parse()?)?.spec.database.is_none())).unwrap();
        if closed && cluster(&scene).databases.keys().any(|name| name.contains("_gone_")) {
            left = Some(scene);
        }
        if ended {
            break;
        }
    }
    let left = left.expect("there is a moment at which it is closed and not dropped");
    let again = left.copy();
    left.act(collect).unwrap();
    assert!(!cluster(&left).databases.keys().any(|name| name.contains("_gone_")));
    again.act(database_made).unwrap();
    assert_eq!(cluster(&again).databases["blog_db"].contents, [""; 0], "a new database is empty");
}

#[test]
fn names_that_somebody_else_has_in_the_server_are_refused() {
    let scene = Scene::new();
    let take = |name: &str| {
        let mut state = scene.world.state();
        let cluster = state.postgres.as_mut().unwrap();
        cluster.databases.insert(name.into(), Kept::default());
    };
    take("blog_db");
    let refused = fault(&scene, provisioned);
    assert_eq!(refused.code, Code::NameTaken);
    assert!(refused.next.iter().any(|n| n.contains("--no-db")), "{refused:?}");
    scene.act(provisioned_bare).unwrap();
    assert_eq!(fault(&scene, database_made).code, Code::NameTaken);
}

#[test]
fn a_server_that_is_down_or_missing_is_said_and_nothing_is_half_made() {
    let scene = Scene::new();
    scene.world.state().postgres.as_mut().unwrap().down = true;
    assert_eq!(fault(&scene, provisioned).code, Code::ServiceDown);
    let mut heard = Warnings::default();
    scene.act_heard(&mut heard, Mode::Run, |s| init(s, &Setup::default())).unwrap();
    assert_eq!(heard.0.len(), 1, "{:?}", heard.0);
    scene.act(provisioned_bare).unwrap();
    scene.world.state().postgres.as_mut().unwrap().down = false;
    scene.act(provisioned).unwrap();
    scene.act(|s| init(s, &Setup::default())).unwrap();
    assert!(
        scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap().findings.is_empty()
    );

    let scene = Scene::new();
    scene.world.state().postgres = None;
    let missing = fault(&scene, provisioned);
    assert_eq!(missing.code, Code::ProgramMissing);
    assert!(missing.next[0].contains("apt-get install postgresql"), "{missing:?}");
    scene.act(|s| init(s, &Setup::default())).unwrap();

    // Installed after `init`.
    scene.world.state().postgres = Some(Cluster::default());
    assert_eq!(fault(&scene, provisioned).code, Code::NotInitialised);
    scene.act(|s| init(s, &Setup::default())).unwrap();
    scene.act(provisioned).unwrap();
}

#[test]
fn a_database_is_copied_only_into_another_that_is_empty() {
    let scene = Scene::after(&[provisioned, written]);
    scene.act(|s| provision(s, &wish("shop"))).unwrap();
    assert_eq!(fault(&scene, |s| copy(s, &"blog".parse()?, &"blog".parse()?)).code, Code::InvalidValue);
    assert_eq!(fault(&scene, |s| copy(s, &"shop".parse()?, &"blog".parse()?)).code, Code::WrongState);
}

#[test]
fn what_a_login_made_as_itself_is_given_to_the_project_when_that_login_goes() {
    let scene = Scene::after(&[provisioned, written, rotated]);
    {
        let mut state = scene.world.state();
        let cluster = state.postgres.as_mut().unwrap();
        cluster.databases.get_mut("blog_db").unwrap().owners.insert("blog_db_b".into());
    }
    scene.act(|s| rotate(s, &"blog".parse()?, true).map(drop)).unwrap();
    {
        let state = scene.world.state();
        let cluster = state.postgres.as_ref().unwrap();
        let roles: Vec<&String> = cluster.roles.keys().filter(|r| r.starts_with("blog")).collect();
        assert_eq!(roles, ["blog_db"]);
        assert!(cluster.databases["blog_db"].owners.is_empty());
    }
    scene.act(|s| rotate(s, &"blog".parse()?, true).map(drop)).unwrap();
}
