//! Backups that cannot be read, and what those leave that die over them.

use super::{
    backup::filled,
    scene::{Scene, deleted, env_set, provisioned, trash},
};
use crate::{
    domain::{
        backup::{Reason, Scope},
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        backup::{
            create, list,
            restore::{Origin, restore},
            schedule::schedule,
            verify::verify,
        },
        lifecycle,
        session::{Mode, Session},
        survey::doctor,
    },
    system::Tripwire,
};

fn blog() -> ProjectName {
    "blog".parse().unwrap()
}

fn fault(error: &anyhow::Error) -> Fault {
    error.downcast_ref::<Fault>().unwrap_or_else(|| panic!("{error:?}")).clone()
}

fn kept(session: &mut Session<'_>) -> anyhow::Result<()> {
    create(session, &blog(), Scope::Backup, Reason::Manual).map(drop)
}

fn newest(session: &mut Session<'_>) -> anyhow::Result<()> {
    let origin = Origin::Project { name: blog(), id: None };
    restore(session, &blog(), Scope::Backup, &origin, &[].into()).map(drop)
}

fn checked(session: &mut Session<'_>) -> anyhow::Result<()> {
    verify(session, &blog(), None).map(drop)
}

/// What the doctor finds.
fn findings(scene: &Scene) -> Vec<(String, String)> {
    let survey = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
    survey.findings.into_iter().map(|f| (f.what, f.problem)).collect()
}

/// Cuts the newest backup short; the names of the two, newest first.
fn cut(scene: &Scene) -> Vec<String> {
    let all = scene.act(|s| list(s, &blog())).unwrap();
    let path = scene.real(&all[0].path.to_string());
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 10]).unwrap();
    all.into_iter().map(|s| s.id.to_string()).collect()
}

#[test]
fn a_damaged_newest_backup_is_not_passed_over_for_an_older_one() {
    let scene = Scene::after(&[provisioned, filled, kept, kept]);
    assert_eq!(findings(&scene), []);
    let ids = cut(&scene);
    for act in [newest, checked] {
        let fault = fault(&scene.act(act).unwrap_err());
        assert_eq!(fault.code, Code::InvalidBackup);
        assert!(ids.iter().all(|id| fault.message.contains(id)), "{fault}: {ids:?}");
        assert!(fault.next.iter().any(|n| n.contains(&ids[1])), "{fault:?}");
    }
    let found = findings(&scene);
    assert!(found.iter().any(|(what, _)| *what == format!("backup:{}", ids[0])), "{found:?}");
    // The older one is there for whoever names it.
    let id = ids[1].parse().unwrap();
    scene.act(|s| verify(s, &blog(), Some(&id))).unwrap();
}

#[test]
fn a_deleted_project_whose_last_backup_is_damaged_does_not_come_back_empty() {
    let scene = Scene::after(&[provisioned, filled, deleted]);
    cut(&scene);
    let fault = fault(&scene.act(|s| lifecycle::restore(s, &blog())).unwrap_err());
    assert_eq!(fault.code, Code::InvalidBackup);
    assert!(fault.next.iter().any(|n| n.contains("backup delete")), "{fault:?}");
    assert!(scene.act(|s| Ok(s.store.project(&blog())?.is_none())).unwrap());
}

#[test]
fn a_lost_master_key_is_said_and_not_that_there_is_no_backup() {
    let scene = Scene::after(&[provisioned, filled, kept]);
    std::fs::remove_file(scene.real("/etc/hostkit/master.key")).unwrap();
    for act in [newest, checked] {
        let fault = fault(&scene.act(act).unwrap_err());
        assert_eq!(fault.code, Code::VaultKey, "{fault}");
        assert!(!fault.next.iter().any(|n| n.contains("init")), "{fault:?}");
    }
    let found = findings(&scene);
    assert!(!found.iter().any(|(what, _)| what.starts_with("backup:")), "{found:?}");
}

#[test]
fn what_a_check_that_died_has_left_goes_with_the_next_command() {
    let ground = Scene::after(&[provisioned, filled, kept]);
    let (mut left, mut seen) = (0, 0);
    for n in 1.. {
        let scene = ground.copy();
        let died = scene.act_wired(Tripwire::at(n), Mode::Run, checked).is_err();
        let beside = || {
            let state = scene.world.state();
            let cluster = state.postgres.as_ref().unwrap();
            cluster.databases.keys().chain(cluster.roles.keys()).filter(|k| k.contains("_gone_")).count()
        };
        left += beside();
        seen += findings(&scene).iter().filter(|(_, problem)| problem.contains("lies beside")).count();
        scene.act(env_set).unwrap();
        assert_eq!(beside(), 0, "died at {n}");
        assert_eq!(findings(&scene), [], "died at {n}");
        if !died {
            break;
        }
    }
    assert!(left > 0 && seen > 0, "none died with something beside: {left}, {seen}");
    assert_eq!(trash(&ground), Vec::<String>::new());
}

#[test]
fn a_failed_unit_and_what_was_taken_away_and_is_still_there_are_found() {
    let scene = Scene::after(&[provisioned, filled, kept]);
    scene.act(|s| schedule(s, &blog(), Some("03:15".parse()?)).map(drop)).unwrap();
    assert_eq!(findings(&scene), []);
    scene.world.state().failed.insert("hostkit-blog_backup.service".into());
    let found = findings(&scene);
    assert!(found.iter().any(|(what, _)| what == "unit:hostkit-blog_backup.service"), "{found:?}");
    scene.world.state().failed.clear();
    let uid = scene.act(|s| Ok(s.project(&blog())?.spec.uid)).unwrap();
    {
        let mut state = scene.world.state();
        let cluster = state.postgres.as_mut().unwrap();
        let kept = cluster.databases["blog_db"].clone();
        cluster.databases.insert(format!("blog_db_old_gone_{uid}"), kept);
    }
    let found = findings(&scene);
    assert!(found.iter().any(|(what, _)| what == "database"), "{found:?}");
}
