//! The environment and the vault: versions, going back, hand edits, secrets, a lost key.

use super::scene::{Scene, Warnings, deployed, env_set, injected, provisioned, rolled_back, secret_set};
use crate::{
    domain::{
        env::{EnvKey, EnvText},
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        environment::{self, Changed, view},
        lifecycle::{Power, power},
        rollback::{With, rollback},
        session::{Mode, Outcome, Session},
        survey::doctor,
    },
};

pub(super) fn blog() -> ProjectName {
    "blog".parse().unwrap()
}

pub(super) fn key(name: &str) -> EnvKey {
    name.parse().unwrap()
}

pub(super) fn code(error: &anyhow::Error) -> Code {
    error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap_or_else(|| panic!("{error:?}")).code
}

pub(super) fn file(scene: &Scene) -> String {
    std::fs::read_to_string(scene.real("/home/blog/.env")).unwrap()
}

/// The project's part of the file.
pub(super) fn part(scene: &Scene) -> String {
    scene.act(|s| view(s, &blog())).unwrap().part.to_string()
}

pub(super) fn edit(scene: &Scene, from: &str, to: &str) {
    std::fs::write(scene.real("/home/blog/.env"), file(scene).replace(from, to)).unwrap();
}

fn append(scene: &Scene, line: &str) {
    std::fs::write(scene.real("/home/blog/.env"), file(scene) + line).unwrap();
}

pub(super) fn terms(restart: bool) -> environment::Terms {
    environment::Terms { verb: "env set", restart, loader: false, seen: None }
}

pub(super) fn set(session: &mut Session<'_>, name: &str, value: &str) -> anyhow::Result<(Outcome, Changed)> {
    environment::change(session, &blog(), &terms(true), |part, _| {
        let mut text = part.clone();
        text.set(&key(name), value)?;
        Ok(text)
    })
}

pub(super) fn versions(scene: &Scene) -> Vec<String> {
    let rows = scene.act(|s| s.store.environments(2000)).unwrap();
    rows.into_iter().map(|r| format!("{} {} {}", r.version, r.changed_by, r.what)).collect()
}

#[test]
fn a_change_is_a_version_of_its_own_and_a_rollback_goes_back_to_the_one_before() {
    let scene = Scene::after(&[provisioned, deployed]);
    let release = scene.act(|s| s.project(&blog())).unwrap().spec.live_release().unwrap().clone();
    let starts = scene.world.state().starts;
    let (outcome, done) = scene.act(|s| set(s, "A", "1")).unwrap();
    assert_eq!((outcome, done.restarted, done.spec.env), (Outcome::Changed, true, Some(2)));
    // The surge instance, and then the regular one.
    assert_eq!(scene.world.state().starts, starts + 2);
    scene.act(|s| set(s, "A", "2")).unwrap();
    assert_eq!(scene.act(|s| set(s, "A", "2")).unwrap().0, Outcome::Unchanged);
    assert_eq!(versions(&scene), ["3 root ~A", "2 root +A", "1 root as it began"]);
    let (_, back) = scene.act(|s| rollback(s, &blog(), None, With::Its)).unwrap();
    assert_eq!((back.to.id.clone(), back.spec.env, back.from.env), (release, Some(2), Some(3)));
    assert_eq!(part(&scene), "A='1'\n");
    scene.act(rolled_back).unwrap();
    assert_eq!(part(&scene), "");
    let error = scene.act(rolled_back).unwrap_err();
    assert_eq!(code(&error), Code::ReleaseNotFound);
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
}

#[test]
fn a_release_comes_back_with_the_environment_it_ran_with_last_unless_the_code_alone_goes_back() {
    let scene = Scene::after(&[provisioned, deployed]);
    let live = || scene.act(|s| s.project(&blog())).unwrap().spec.live_release().unwrap().clone();
    scene.act(|s| set(s, "A", "old")).unwrap();
    let first = live();
    scene.act(deployed).unwrap();
    let second = live();
    scene.act(|s| set(s, "A", "new")).unwrap();
    let base = scene.copy();
    scene.act(|s| rollback(s, &blog(), Some(&first), With::Its)).unwrap();
    assert_eq!((live(), part(&scene)), (first.clone(), "A='old'\n".to_owned()));
    scene.act(|s| rollback(s, &blog(), Some(&second), With::Its)).unwrap();
    assert_eq!((live(), part(&scene)), (second, "A='new'\n".to_owned()));
    let live = || base.act(|s| s.project(&blog())).unwrap().spec.live_release().unwrap().clone();
    base.act(|s| rollback(s, &blog(), None, With::Kept)).unwrap();
    assert_eq!((live(), part(&base)), (first, "A='new'\n".to_owned()));
    base.act(|s| rollback(s, &blog(), None, With::Version(1))).unwrap();
    assert_eq!(part(&base), "");
    let error = base.act(|s| rollback(s, &blog(), None, With::Version(99))).unwrap_err();
    assert_eq!(code(&error), Code::VariableNotFound);
}

#[test]
fn what_was_edited_by_hand_is_taken_in_by_the_next_change_and_is_never_lost() {
    for act in [deployed, rolled_back, env_set] {
        let scene = Scene::after(&[provisioned, deployed, deployed]);
        append(&scene, "# by me\nHAND='made'\n");
        scene.act(act).unwrap();
        let versions = versions(&scene);
        assert!(versions.iter().any(|v| v == "2 root by hand: +HAND"), "{versions:?}");
        let kept = scene.act(|s| {
            let spec = s.project(&blog())?.spec;
            environment::version(s, &spec, 2)
        });
        assert_eq!(kept.unwrap().to_string(), "# by me\nHAND='made'\n");
    }
}

#[test]
fn a_hand_edit_stays_over_a_deploy_and_a_change_and_belongs_to_where_it_was_made() {
    let scene = Scene::after(&[provisioned, deployed]);
    append(&scene, "HAND='made'\n");
    scene.act(deployed).unwrap();
    assert_eq!(part(&scene), "HAND='made'\n");
    scene.act(|s| set(s, "A", "1")).unwrap();
    assert_eq!(part(&scene), "HAND='made'\nA='1'\n");
    scene.act(rolled_back).unwrap();
    assert_eq!(part(&scene), "HAND='made'\n");
    scene.act(rolled_back).unwrap();
    assert_eq!(part(&scene), "HAND='made'\n", "the release before had it too");
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
}

#[test]
fn a_release_that_is_left_takes_its_hand_edit_with_it_and_brings_it_back() {
    let scene = Scene::after(&[provisioned, deployed, deployed]);
    let live = scene.act(|s| s.project(&blog())).unwrap().spec.live_release().unwrap().clone();
    append(&scene, "HAND='made'\n");
    scene.act(rolled_back).unwrap();
    assert_eq!(part(&scene), "");
    scene.act(|s| rollback(s, &blog(), Some(&live), With::Its)).unwrap();
    assert_eq!(part(&scene), "HAND='made'\n");
}

#[test]
fn an_environment_file_that_is_gone_comes_back_as_it_was_known() {
    let scene = Scene::after(&[provisioned, deployed, env_set]);
    let before = file(&scene);
    std::fs::remove_file(scene.real("/home/blog/.env")).unwrap();
    let repaired = scene.copy();
    scene.act(deployed).unwrap();
    assert_eq!(file(&scene), before);
    repaired.act(|s| crate::operation::survey::repair(s, None)).unwrap();
    assert_eq!(file(&repaired), before);
    assert!(repaired.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    append(&repaired, "HAND='made'\n");
    let findings = repaired.act(|s| doctor(s, None)).unwrap().findings;
    assert!(findings.iter().all(|f| !f.what.starts_with("env:")), "{findings:?}");
}

#[test]
fn what_is_hostkits_is_dropped_from_the_projects_part_with_a_warning() {
    let scene = Scene::after(&[provisioned, deployed]);
    append(&scene, "PORT='9'\nA='1'\n");
    let findings = scene.act(|s| doctor(s, None)).unwrap().findings;
    assert!(findings.iter().any(|f| f.problem.contains("`PORT` is HostKit's")), "{findings:?}");
    let mut heard = Warnings::default();
    scene.act_heard(&mut heard, Mode::Run, |s| set(s, "B", "2")).unwrap();
    assert!(heard.0.iter().any(|w| w.contains("`PORT`")), "{:?}", heard.0);
    assert_eq!(part(&scene), "A='1'\nB='2'\n");
    assert!(!file(&scene).contains("PORT='9'"));
}

#[test]
fn what_hostkit_or_the_vault_sets_and_what_changes_the_loader_is_refused_and_changes_nothing() {
    let scene = Scene::after(&[provisioned, deployed, env_set, secret_set, injected]);
    let before = scene.snapshot();
    for name in ["PORT", "HOST", "PROJECT_NAME", "TOKEN", "LD_PRELOAD", "PATH", "NODE_OPTIONS"] {
        let error = scene.act(|s| set(s, name, "x")).unwrap_err();
        assert_eq!(code(&error), Code::InvalidValue, "{name}");
        assert!(!format!("{error:#}").contains("poison"), "{error:#}");
    }
    // What is only a beginning may be said otherwise.
    assert_eq!(scene.snapshot(), before);
    scene.act(|s| set(s, "NODE_ENV", "staging")).unwrap();
}

#[test]
fn more_than_fits_is_refused_before_anything_is_touched() {
    let scene = Scene::after(&[provisioned, deployed]);
    let before = scene.snapshot();
    let error = scene.act(|s| set(s, "BIG", &"x".repeat(2 << 20))).unwrap_err();
    assert_eq!(code(&error), Code::InvalidValue);
    assert!(error.to_string().contains("256 KiB"), "{error}");
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn an_environment_that_makes_the_process_sick_is_put_back() {
    let scene = Scene::after(&[provisioned, deployed]);
    let before = scene.snapshot();
    // Where the fake looks whether a release answers.
    let release = std::fs::read_link(scene.real("/home/blog/app")).unwrap();
    let sick = scene.real("/home/blog").join(release).join("crash");
    std::fs::write(&sick, "").unwrap();
    let error = scene.act(|s| set(s, "A", "1")).unwrap_err();
    std::fs::remove_file(&sick).unwrap();
    assert!(matches!(code(&error), Code::Unhealthy | Code::Down | Code::Unfinished), "{error:#}");
    scene.act(|s| crate::operation::survey::repair(s, None)).unwrap();
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn without_a_restart_the_process_stays_and_is_known_to_be_older() {
    let scene = Scene::after(&[provisioned, deployed]);
    let starts = scene.world.state().starts;
    let (_, done) = scene
        .act(|s| {
            environment::change(s, &blog(), &terms(false), |part, _| {
                let mut text = part.clone();
                text.set(&key("A"), "1")?;
                Ok(text)
            })
        })
        .unwrap();
    assert!(!done.restarted);
    assert_eq!(scene.world.state().starts, starts);
    let findings = scene.act(|s| doctor(s, None)).unwrap().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].problem, "is older than what it was started from");
    scene.act(|s| power(s, &blog(), Power::Restart)).unwrap();
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
}

#[test]
fn a_text_that_was_changed_in_between_is_not_overwritten() {
    let scene = Scene::after(&[provisioned, deployed, env_set]);
    let seen = scene.act(|s| view(s, &blog())).unwrap().seen;
    append(&scene, "HAND='made'\n");
    let before = scene.snapshot();
    let terms = environment::Terms { seen: Some(seen), ..terms(true) };
    let error =
        scene.act(|s| environment::change(s, &blog(), &terms, |_, _| Ok(EnvText::default()))).unwrap_err();
    assert_eq!(code(&error), Code::WrongState);
    assert_eq!(scene.snapshot(), before);
}
