//! The environment and the vault: versions, going back, hand edits, secrets, a lost key.

use super::scene::{
    Act, Scene, Snapshot, Warnings, brought_back, deleted, deployed, env_set, injected, provisioned, purged,
    put, rolled_back, secret_set,
};
use crate::{
    domain::{
        env::{EnvKey, EnvText},
        fault::{Code, Fault},
        name::ProjectName,
        secret::Secret,
    },
    operation::{
        environment::{self, Changed, view},
        lifecycle::{Power, power},
        rollback::{With, rollback},
        secrets::{self, Standing},
        session::{Mode, Outcome, Session},
        survey::doctor,
    },
};

fn blog() -> ProjectName {
    "blog".parse().unwrap()
}

fn key(name: &str) -> EnvKey {
    name.parse().unwrap()
}

fn code(error: &anyhow::Error) -> Code {
    error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap_or_else(|| panic!("{error:?}")).code
}

fn file(scene: &Scene) -> String {
    std::fs::read_to_string(scene.real("/home/blog/.env")).unwrap()
}

/// The project's part of the file.
fn part(scene: &Scene) -> String {
    scene.act(|s| view(s, &blog())).unwrap().part.to_string()
}

fn edit(scene: &Scene, from: &str, to: &str) {
    std::fs::write(scene.real("/home/blog/.env"), file(scene).replace(from, to)).unwrap();
}

fn append(scene: &Scene, line: &str) {
    std::fs::write(scene.real("/home/blog/.env"), file(scene) + line).unwrap();
}

fn terms(restart: bool) -> environment::Terms {
    environment::Terms { verb: "env set", restart, loader: false, seen: None }
}

fn set(session: &mut Session<'_>, name: &str, value: &str) -> anyhow::Result<(Outcome, Changed)> {
    environment::change(session, &blog(), &terms(true), |part, _| {
        let mut text = part.clone();
        text.set(&key(name), value)?;
        Ok(text)
    })
}

fn versions(scene: &Scene) -> Vec<String> {
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

fn put_secret(session: &mut Session<'_>, value: &str, keep: bool) -> anyhow::Result<Outcome> {
    let terms = secrets::Terms { verb: "secrets set", keep, loader: false };
    Ok(secrets::set(session, &blog(), &[(key("TOKEN"), Secret::new(value))], terms)?.0)
}

fn standing(scene: &Scene) -> Vec<Standing> {
    scene.act(|s| secrets::list(s, &blog())).unwrap().into_iter().map(|l| l.standing).collect()
}

fn reveal(scene: &Scene, before: bool) -> Result<String, Code> {
    let got = scene.act(|s| secrets::get(s, &blog(), &key("TOKEN"), before));
    got.map(|secret| secret.reveal().to_owned()).map_err(|e| code(&e))
}

#[test]
fn a_secret_waits_in_the_vault_and_every_start_gives_it_to_the_process() {
    let starts: [Act; 5] = [
        injected,
        deployed,
        env_set,
        |s| power(s, &blog(), Power::Restart).map(drop),
        |s| {
            power(s, &blog(), Power::Stop)?;
            power(s, &blog(), Power::Start).map(drop)
        },
    ];
    for start in starts {
        let scene = Scene::after(&[provisioned, deployed, secret_set]);
        assert!(!file(&scene).contains("poison"));
        assert_eq!(standing(&scene), [Standing::Waits]);
        scene.act(start).unwrap();
        assert!(file(&scene).contains("TOKEN='poison'"), "{}", file(&scene));
        assert_eq!(standing(&scene), [Standing::InUse]);
        assert!(!part(&scene).contains("TOKEN"));
        assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    }
}

#[test]
fn the_vault_wins_over_a_line_of_the_projects() {
    let scene = Scene::after(&[provisioned, deployed]);
    scene.act(|s| set(s, "TOKEN", "mine")).unwrap();
    scene.act(secret_set).unwrap();
    let mut heard = Warnings::default();
    scene.act_heard(&mut heard, Mode::Run, injected).unwrap();
    assert!(heard.0.iter().any(|w| w.contains("`TOKEN`")), "{:?}", heard.0);
    assert!(!file(&scene).contains("mine"));
    // Nor does going back let the line win.
    scene.act(|s| set(s, "A", "1")).unwrap();
    scene.act(rolled_back).unwrap();
    assert!(file(&scene).contains("TOKEN='poison'") && !file(&scene).contains("mine"), "{}", file(&scene));
    assert_eq!(versions(&scene).len(), 3, "{:?}", versions(&scene));
}

#[test]
fn a_rotated_secret_keeps_the_one_before_until_the_next_start() {
    let scene = Scene::after(&[provisioned, deployed, secret_set, injected]);
    assert_eq!(scene.act(|s| put_secret(s, "poison", false)).unwrap(), Outcome::Unchanged);
    scene.act(|s| put_secret(s, "venom", true)).unwrap();
    assert_eq!(standing(&scene), [Standing::Rotated]);
    assert_eq!((reveal(&scene, false), reveal(&scene, true)), (Ok("venom".into()), Ok("poison".into())));
    assert!(file(&scene).contains("TOKEN='poison'"));
    scene.act(|s| power(s, &blog(), Power::Restart)).unwrap();
    assert!(file(&scene).contains("TOKEN='venom'"));
    assert_eq!(reveal(&scene, true), Err(Code::VariableNotFound));
    assert_eq!(standing(&scene), [Standing::InUse]);
}

#[test]
fn a_secret_that_was_taken_out_leaves_with_the_next_start_and_its_number_is_not_given_again() {
    let scene = Scene::after(&[provisioned, deployed, secret_set, injected]);
    scene.act(|s| secrets::unset(s, &blog(), &[key("TOKEN")])).unwrap();
    assert_eq!(standing(&scene), [Standing::Leaves]);
    let again = scene.copy();
    scene.act(injected).unwrap();
    assert!(!file(&scene).contains("TOKEN"), "{}", file(&scene));
    assert_eq!(part(&scene), "");
    again.act(|s| put_secret(s, "venom", false)).unwrap();
    assert_eq!(standing(&again), [Standing::Rotated]);
    again.act(injected).unwrap();
    assert!(again.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    assert!(file(&again).contains("TOKEN='venom'"));
}

#[test]
fn the_vault_holds_fifty_secrets_and_none_that_cannot_be_passed_on() {
    let scene = Scene::after(&[provisioned]);
    let values = |n: usize| (0..n).map(|i| (key(&format!("K{i}")), Secret::new("x"))).collect::<Vec<_>>();
    let put = |values: &[(EnvKey, Secret)]| {
        let terms = secrets::Terms { verb: "secrets set", keep: false, loader: false };
        scene.act(|s| secrets::set(s, &blog(), values, terms)).map_err(|e| code(&e)).map(|done| done.0)
    };
    assert_eq!(put(&values(51)), Err(Code::InvalidValue));
    assert_eq!(put(&values(50)), Ok(Outcome::Changed));
    assert_eq!(put(&[(key("MORE"), Secret::new("x"))]), Err(Code::InvalidValue));
    for (name, value) in [("K1", "a\0b"), ("K1", "a\u{1b}"), ("PORT", "1"), ("LD_PRELOAD", "x")] {
        assert_eq!(put(&[(key(name), Secret::new(value))]), Err(Code::InvalidValue), "{name}");
    }
    assert_eq!(put(&[(key("K1"), Secret::new("x".repeat(65 << 10)))]), Err(Code::InvalidValue));
    let count = scene.act(|s| secrets::list(s, &blog())).unwrap().len();
    assert_eq!(count, 50);
}

#[test]
fn the_vault_goes_with_the_purge_and_not_before() {
    let scene = Scene::after(&[provisioned, deployed, env_set, secret_set, injected, deleted, brought_back]);
    assert_eq!(reveal(&scene, false), Ok("poison".into()));
    assert!(file(&scene).contains("TOKEN='poison'"));
    scene.act(rolled_back).unwrap();
    for act in [deleted, purged] {
        scene.act(act).unwrap();
    }
    assert!(scene.act(|s| s.store.secrets(2000)).unwrap().is_empty());
    assert!(scene.act(|s| s.store.environments(2000)).unwrap().is_empty());
}

const EXAMPLE: &str =
    "# Required\nMAIL_HOST=\nAPI_KEY= # required\n# Auto-generated\nSESSION_KEY=\n# Optional\nB=\n";

fn deploy_example(session: &mut Session<'_>) -> anyhow::Result<()> {
    put(session, &[("index.js", "1"), ("package.json", "{}"), (".env.example", EXAMPLE)]).map(drop)
}

#[test]
fn a_release_whose_required_variables_are_missing_is_refused_before_anything_starts() {
    let scene = Scene::after(&[provisioned, deployed]);
    let before = scene.snapshot();
    let starts = scene.world.state().starts;
    let error = scene.act(deploy_example).unwrap_err();
    assert_eq!(code(&error), Code::EnvMissing);
    assert!(error.to_string().contains("MAIL_HOST, API_KEY"), "{error}");
    assert_eq!(scene.snapshot(), before);
    assert_eq!(scene.world.state().starts, starts);
    scene.act(|s| set(s, "MAIL_HOST", "localhost")).unwrap();
    let terms = secrets::Terms { verb: "secrets set", keep: false, loader: false };
    scene.act(|s| secrets::set(s, &blog(), &[(key("API_KEY"), Secret::new("x"))], terms)).unwrap();
    scene.act(deploy_example).unwrap();
    assert!(scene.act(|s| secrets::verify(s, &blog())).unwrap().is_empty());
    scene.act(|s| secrets::unset(s, &blog(), &[key("API_KEY")])).unwrap();
    scene.act(injected).unwrap();
    let lacking = scene.act(|s| secrets::verify(s, &blog())).unwrap();
    assert_eq!(lacking, [(key("API_KEY"), ".env.example")]);
}

#[test]
fn what_is_auto_generated_is_made_up_once() {
    let scene = Scene::after(&[provisioned]);
    let example =
        [("index.js", "1"), ("package.json", "{}"), (".env.example", "SESSION_KEY= # auto-generated\n")];
    scene.act(|s| put(s, &example)).unwrap();
    let value = |scene: &Scene| {
        scene.act(|s| secrets::get(s, &blog(), &key("SESSION_KEY"), false)).unwrap().reveal().to_owned()
    };
    let first = value(&scene);
    assert_eq!(first.len(), 33);
    assert!(file(&scene).contains(&format!("SESSION_KEY='{first}'")));
    scene.act(|s| put(s, &example)).unwrap();
    assert_eq!(value(&scene), first);
    // One that the project set itself is left alone.
    let own = Scene::after(&[provisioned]);
    own.act(|s| set(s, "SESSION_KEY", "mine")).unwrap();
    own.act(|s| put(s, &example)).unwrap();
    assert!(own.act(|s| secrets::list(s, &blog())).unwrap().is_empty());
}

#[test]
fn without_the_master_key_what_needs_no_secret_goes_on_and_the_rest_says_why_not() {
    let scene = Scene::after(&[provisioned, deployed, env_set, secret_set, injected]);
    std::fs::remove_file(scene.real("/etc/hostkit/master.key")).unwrap();
    let env: Snapshot = scene.snapshot();
    let refused: [(&str, Act); 9] = [
        ("deploy", deployed),
        ("rollback", rolled_back),
        ("env set", env_set),
        ("env list", |s| view(s, &blog()).map(drop)),
        ("secrets set", |s| put_secret(s, "venom", false).map(drop)),
        ("secrets get", |s| secrets::get(s, &blog(), &key("TOKEN"), false).map(drop)),
        ("secrets inject", injected),
        // Its last backup could not be made.
        ("delete", deleted),
        ("init", |s| crate::operation::init::init(s, &crate::operation::init::Setup::default()).map(drop)),
    ];
    for (what, act) in refused {
        let error = scene.act(act).unwrap_err();
        assert_eq!(code(&error), Code::VaultKey, "{what}: {error:#}");
        assert_eq!(scene.snapshot(), env, "{what}");
    }
    let fine: [(&str, Act); 6] = [
        ("stop", |s| power(s, &blog(), Power::Stop).map(drop)),
        ("start", |s| power(s, &blog(), Power::Start).map(drop)),
        ("restart", |s| power(s, &blog(), Power::Restart).map(drop)),
        ("secrets list", |s| secrets::list(s, &blog()).map(drop)),
        ("env history", |s| s.store.environments(2000).map(drop)),
        ("doctor", |s| doctor(s, None).map(drop)),
    ];
    for (what, act) in fine {
        scene.act(act).unwrap_or_else(|e| panic!("{what}: {e:#}"));
    }
}

#[test]
fn no_value_is_in_the_registry_or_the_journal() {
    let scene = Scene::after(&[provisioned, deployed, secret_set, injected]);
    scene.act(|s| set(s, "PASSWORD", "poison")).unwrap();
    edit(&scene, "PASSWORD='poison'", "PASSWORD='poison2'");
    scene.act(deployed).unwrap();
    scene.act(rolled_back).unwrap();
    // One that dies leaves its steps.
    let wire = crate::system::Tripwire::at(5);
    scene.act_wired(wire, Mode::Run, |s| set(s, "PASSWORD", "poison3")).unwrap_err();
    assert!(!scene.act(|s| s.store.open_operations()).unwrap().is_empty());
    for entry in std::fs::read_dir(scene.real("/var/lib/hostkit")).unwrap() {
        let Ok(bytes) = std::fs::read(entry.unwrap().path()) else { continue };
        assert!(!String::from_utf8_lossy(&bytes).contains("poison"));
    }
    // The search would find it.
    scene.act(|s| s.note("blog", "control", "poison")).unwrap();
    let bytes = std::fs::read(scene.real("/var/lib/hostkit/registry.db")).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("poison"));
}
