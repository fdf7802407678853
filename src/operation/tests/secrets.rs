//! The vault: secrets on their way to a process, what an application requires, a lost key.

use super::{
    environment::{blog, code, edit, file, key, part, set, versions},
    scene::{
        Act, Scene, Snapshot, Warnings, brought_back, deleted, deployed, env_set, injected, provisioned,
        purged, put, rolled_back, secret_set,
    },
};
use crate::{
    domain::{env::EnvKey, fault::Code, secret::Secret},
    operation::{
        environment::view,
        lifecycle::{Power, power},
        secrets::{self, Standing},
        session::{Mode, Outcome, Session},
        survey::doctor,
    },
};

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
    assert!(format!("{error:#}").contains("MAIL_HOST, API_KEY"), "{error:#}");
    assert!(error.to_string().contains("stays live"), "{error}");
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
    assert_eq!(first.len(), 32);
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
