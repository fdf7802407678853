//! A project's Redis, over the fake: what is given out, what stays, and that nobody is locked out.

use super::scene::{
    Act, Scene, brought_back, deleted, deployed, provisioned, purged, restarted, setup, wish,
};
use crate::{
    domain::{acl::Grant, fault::Fault, layout, name::ProjectName},
    operation::{
        init::{Setup, init},
        lifecycle::{Farewell, delete},
        provision::{Wish, provision},
        redis::{Asked, Takeover, flush, info, rotate},
        session::{Mode, Outcome, Session},
        survey::{doctor, repair},
    },
    project::redis::Home,
    resource::Any,
    system::{
        Tripwire,
        fake::redis_commands,
        redis::{Door, Entry, Stranger, sum},
    },
};

fn blog() -> ProjectName {
    "blog".parse().unwrap()
}

fn make(name: &str, asked: Asked) -> impl Fn(&mut Session<'_>) -> anyhow::Result<()> {
    let wish = Wish { redis: Some(asked), ..wish(name) };
    move |session| provision(session, &wish).map(drop)
}

fn number(scene: &Scene, name: &str) -> u32 {
    scene.act(|s| Ok(s.project(&name.parse()?)?.spec.redis.unwrap().number())).unwrap()
}

fn code(error: &anyhow::Error) -> &'static str {
    error.downcast_ref::<Fault>().map_or("none", |f| f.code.text())
}

/// The passwords in the environment of `blog`, by variable.
fn urls(scene: &Scene) -> Vec<String> {
    let env = std::fs::read_to_string(scene.real("/home/blog/.env")).unwrap();
    env.lines().filter(|l| l.contains("redis://")).map(str::to_owned).collect()
}

fn password(url: &str) -> String {
    url.split("//blog:").nth(1).unwrap().split('@').next().unwrap().to_owned()
}

/// Sums of the passwords that let `blog` in.
fn accepted(scene: &Scene) -> Vec<String> {
    let words = scene.host(Tripwire::default()).redis.user(&Door::shared(), "blog").unwrap().unwrap();
    Grant::of(&words, &redis_commands()).passwords.into_iter().collect()
}

#[test]
fn a_project_gets_a_database_a_user_and_three_variables() {
    let scene = Scene::after(&[provisioned]);
    let urls = urls(&scene);
    assert_eq!(urls.len(), 3, "{urls:?}");
    for (key, url) in ["CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "REDIS_URL"].iter().zip(&urls) {
        assert!(
            url.starts_with(key) && url.trim_end_matches(['"', '\'']).ends_with("@localhost:6379/1"),
            "{url}"
        );
    }
    assert_eq!(accepted(&scene), [sum(&password(&urls[0]))]);
    let db = std::fs::read(scene.real("/var/lib/hostkit/registry.db")).unwrap();
    let secret = password(&urls[0]);
    assert!(!db.windows(secret.len()).any(|w| w == secret.as_bytes()), "the password is in the registry");
}

#[test]
fn a_number_is_given_out_again_only_when_nobody_can_have_it_back_and_it_is_empty() {
    let scene = Scene::after(&[provisioned]);
    scene.act(make("shop", Asked::Any)).unwrap();
    assert_eq!((number(&scene, "blog"), number(&scene, "shop")), (1, 2));
    scene.world.state().redis.get_mut("redis-server.service").unwrap().keys.insert(3, 7);
    scene.act(make("full", Asked::Any)).unwrap();
    assert_eq!(number(&scene, "full"), 4, "what is in database 3 is somebody's");
    scene.act(deleted).unwrap();
    scene.act(make("next", Asked::Any)).unwrap();
    assert_eq!(number(&scene, "next"), 5, "blog may come back");
    scene.act(purged).unwrap();
    scene.act(make("last", Asked::Any)).unwrap();
    assert_eq!(number(&scene, "last"), 1);
}

#[test]
fn deleting_empties_the_database_and_bringing_back_gives_the_same_number_and_password() {
    let scene = Scene::after(&[provisioned]);
    let before = urls(&scene);
    scene.world.state().redis.get_mut("redis-server.service").unwrap().keys.insert(1, 9);
    scene.act(deleted).unwrap();
    let host = scene.host(Tripwire::default());
    assert!(host.redis.contents(&Door::shared()).unwrap().is_empty());
    assert_eq!(host.redis.user(&Door::shared(), "blog").unwrap(), None);
    scene.act(brought_back).unwrap();
    assert_eq!(urls(&scene), before);
    assert_eq!(accepted(&scene), [sum(&password(&before[0]))]);
}

#[test]
fn a_thousand_numbers_are_enough_for_a_thousand_projects_and_the_end_is_said() {
    let scene = Scene::new();
    for number in 1..1000 {
        scene.world.state().redis.get_mut("redis-server.service").unwrap().keys.insert(number, 1);
    }
    scene.act(provisioned).unwrap();
    assert_eq!(number(&scene, "blog"), 1000);
    for number in 1001..1024 {
        scene.world.state().redis.get_mut("redis-server.service").unwrap().keys.insert(number, 1);
    }
    let error = scene.act(make("shop", Asked::Any)).unwrap_err();
    assert_eq!(code(&error), "NAME_TAKEN");
}

#[test]
fn rotating_restarts_nothing_and_both_passwords_work_until_the_process_is_new() {
    let scene = Scene::after(&[provisioned, deployed]);
    let (old, starts) = (password(&urls(&scene)[0]), scene.world.state().starts);
    let outcome = scene.act(|s| rotate(s, &blog(), false)).unwrap();
    assert_eq!(outcome, Outcome::Changed);
    let new = password(&urls(&scene)[0]);
    assert_ne!(new, old);
    assert_eq!(scene.world.state().starts, starts, "nothing was restarted");
    let both = |a: &str, b: &str| {
        let mut sums = vec![sum(a), sum(b)];
        sums.sort();
        sums
    };
    assert_eq!(accepted(&scene), both(&old, &new));
    // Again without a restart: the process still uses the first.
    scene.act(|s| rotate(s, &blog(), false)).unwrap();
    let newest = password(&urls(&scene)[0]);
    assert_eq!(accepted(&scene), both(&old, &newest));
    scene.act(restarted).unwrap();
    assert_eq!(accepted(&scene), [sum(&newest)]);
    scene.act(|s| rotate(s, &blog(), true)).unwrap();
    assert_eq!(accepted(&scene), [sum(&password(&urls(&scene)[0]))]);
    let survey = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
    assert!(survey.findings.is_empty(), "{:?}", survey.findings);
}

#[test]
fn flushing_takes_only_what_is_the_projects() {
    let scene = Scene::after(&[provisioned]);
    let keys = |scene: &Scene| scene.world.state().redis["redis-server.service"].keys.clone();
    scene.world.state().redis.get_mut("redis-server.service").unwrap().keys = [(0, 1), (1, 5), (2, 3)].into();
    assert_eq!(scene.act(|s| info(s, &blog())).unwrap().content.keys, 5);
    let dry = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| flush(s, &blog())).unwrap();
    assert_eq!((dry, keys(&scene).len()), ((Outcome::WouldChange, 5), 3));
    assert_eq!(scene.act(|s| flush(s, &blog())).unwrap(), (Outcome::Changed, 5));
    assert_eq!(keys(&scene), [(0, 1), (2, 3)].into());
    assert_eq!(scene.act(|s| flush(s, &blog())).unwrap(), (Outcome::Unchanged, 0));
}

#[test]
fn no_project_is_called_like_a_user_of_redis_or_of_hostkit() {
    for name in ["default", crate::system::redis::ADMIN] {
        assert!(name.parse::<ProjectName>().is_err(), "{name}");
    }
}

#[test]
fn what_somebody_does_to_a_user_is_found_and_mended() {
    let tamper: &[fn(&Scene)] = &[
        |s| drop(server(s).users.remove("blog")),
        |s| server(s).users.get_mut("blog").unwrap().push("+flushall".into()),
        |s| server(s).users.get_mut("blog").unwrap().push("nopass".into()),
        |s| drop(server(s).users.insert("default".into(), vec!["on".into(), "nopass".into()])),
        |s| std::fs::write(s.real("/etc/redis/users.acl"), "").unwrap(),
        |s| server(s).settings.policy = "allkeys-lru".into(),
        |s| drop(s.world.state().redis.remove("redis-server.service")),
    ];
    for (n, tamper) in tamper.iter().enumerate() {
        let scene = Scene::after(&[provisioned]);
        let before = scene.snapshot();
        tamper(&scene);
        let look = |s: &Scene| s.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
        assert!(!look(&scene).findings.is_empty(), "{n}: nothing was found");
        scene.act(|s| repair(s, None)).unwrap();
        assert!(look(&scene).findings.is_empty(), "{n}: {:?}", look(&scene).findings);
        assert!(scene.snapshot().files == before.files, "{n}: the files are not as before");
    }
}

fn server(scene: &Scene) -> Mine<'_> {
    Mine(scene.world.state())
}

/// The shared server's state.
struct Mine<'s>(std::sync::MutexGuard<'s, crate::system::fake::State>);

impl std::ops::Deref for Mine<'_> {
    type Target = crate::system::fake::RedisServer;
    fn deref(&self) -> &Self::Target {
        &self.0.redis["redis-server.service"]
    }
}
impl std::ops::DerefMut for Mine<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.redis.get_mut("redis-server.service").unwrap()
    }
}

// --- the host ---------------------------------------------------------------------------------------

fn set_up(takeover: Takeover) -> impl Fn(&mut Session<'_>) -> anyhow::Result<()> {
    move |session| init(session, &Setup { takeover, ..setup(None) }).map(drop)
}

#[test]
fn a_redis_that_somebody_uses_is_not_taken_over_unasked() {
    let used: &[fn(&Scene)] = &[
        |s| server(s).keys = [(0, 1)].into(),
        |s| server(s).others = 1,
        |s| drop(server(s).users.insert("default".into(), vec!["on".into(), "#ab".into()])),
        |s| std::fs::write(s.real("/etc/redis/redis.conf"), "port 6379\nuser ann on\n").unwrap(),
    ];
    for (n, used) in used.iter().enumerate() {
        let scene = Scene::bare();
        used(&scene);
        let before = server(&scene).clone();
        let error = scene.act(set_up(Takeover::Unused)).unwrap_err();
        assert_eq!(code(&error), "FOREIGN", "{n}: {error:#}");
        assert_eq!(*server(&scene), before, "{n}: it was touched");
        scene.act(set_up(Takeover::Leave)).unwrap();
        assert_eq!(*server(&scene), before, "{n}: it was touched");
        scene.act(set_up(Takeover::Unused)).unwrap();
        scene.act(provisioned).unwrap();
        let spec = scene.act(|s| Ok(s.project(&blog())?.spec)).unwrap();
        assert!(matches!(spec.redis.unwrap().home, Home::Dedicated { .. }), "{n}");
    }
    let scene = Scene::bare();
    server(&scene).keys.insert(0, 1);
    scene.act(set_up(Takeover::Close)).unwrap();
    assert_eq!(server(&scene).keys, [(0, 1)].into(), "nothing is lost");
    scene.act(set_up(Takeover::Unused)).unwrap();
    scene.act(provisioned).unwrap();
}

#[test]
fn without_redis_the_host_is_set_up_all_the_same() {
    let scene = Scene::bare();
    std::fs::remove_file(scene.real("/usr/bin/redis-server")).unwrap();
    scene.act(set_up(Takeover::Unused)).unwrap();
    assert_eq!(code(&scene.act(provisioned).unwrap_err()), "PROGRAM_MISSING");
    let wish = Wish { redis: None, ..wish("blog") };
    scene.act(|s| provision(s, &wish)).unwrap();
}

#[test]
fn dying_anywhere_while_redis_is_taken_over_locks_nobody_out_and_loses_nothing() {
    let theirs = "user ann on #ab ~* &* +@all\n";
    for n in 1.. {
        let scene = Scene::bare();
        server(&scene).keys.insert(0, 1);
        std::fs::write(scene.real("/etc/redis/users.acl"), theirs).unwrap();
        let died = scene.act_wired(Tripwire::at(n), Mode::Run, set_up(Takeover::Close)).is_err();
        let host = scene.host(Tripwire::default());
        let ours = matches!(host.redis.enter(&Door::shared()).unwrap(), Entry::Open(_));
        let open = matches!(host.redis.stranger().unwrap(), Stranger::Let { .. });
        assert!(ours || open, "died at {n}: nobody gets in");
        assert_eq!(server(&scene).keys, [(0, 1)].into(), "died at {n}");
        // A later command undoes it, or an `init` goes on.
        let undone = scene.act(|s| s.enter("", "look").map(drop));
        undone.unwrap();
        let text = std::fs::read_to_string(scene.real("/etc/redis/users.acl")).unwrap();
        assert!(text.contains(theirs.trim()), "died at {n}: {text}");
        if died && scene.act(|s| s.store.owned("")).unwrap().is_empty() {
            assert_eq!(text, theirs, "died at {n}");
            assert!(matches!(host.redis.stranger().unwrap(), Stranger::Let { keys: 1, .. }), "died at {n}");
            assert!(!scene.real(&layout::redis::conf().to_string()).exists(), "died at {n}");
        }
        scene.act(set_up(Takeover::Close)).unwrap();
        assert!(matches!(host.redis.enter(&Door::shared()).unwrap(), Entry::Open(_)), "died at {n}");
        assert_eq!(host.redis.stranger().unwrap(), Stranger::Refused);
        assert_eq!(server(&scene).keys, [(0, 1)].into(), "died at {n}");
        if !died {
            break;
        }
    }
}

// --- a server of its own ----------------------------------------------------------------------------

#[test]
fn a_redis_of_its_own_comes_goes_and_comes_back() {
    let scene = Scene::new();
    scene.act(make("blog", Asked::Dedicated(32))).unwrap();
    let unit = "hostkit-blog_redis.service";
    {
        let state = scene.world.state();
        assert_eq!(state.redis[unit].settings.memory, 32 << 20);
        assert!(state.redis[unit].users.contains_key("blog"));
        assert!(!state.redis["redis-server.service"].users.contains_key("blog"));
    }
    let first = urls(&scene);
    assert!(first[0].contains("@localhost:14001/0"), "{first:?}");
    scene.act(make("blog", Asked::Any)).unwrap();
    assert_eq!(code(&scene.act(make("blog", Asked::Shared)).unwrap_err()), "WRONG_STATE");
    scene.act(make("blog", Asked::Dedicated(128))).unwrap();
    assert_eq!(scene.world.state().redis[unit].settings.memory, 128 << 20);
    scene.act(deleted).unwrap();
    assert!(!scene.world.state().redis.contains_key(unit));
    scene.act(brought_back).unwrap();
    assert!(scene.world.state().redis[unit].users.contains_key("blog"));
    scene.act(deleted).unwrap();
    scene.act(purged).unwrap();
    let left = std::fs::read_dir(scene.real("/var/lib/hostkit/redis")).unwrap().count();
    assert_eq!(left, 0, "its data is still there");
    let keys = std::fs::read_dir(scene.real("/etc/hostkit/secrets")).unwrap().count();
    assert_eq!(keys, 1, "its key is still there");
}

#[test]
fn a_redis_of_its_own_that_talks_nonsense_keeps_nothing_from_being_rotated_mended_or_deleted() {
    let unit = "hostkit-blog_redis.service";
    let ground = Scene::after(&[own_redis]);
    ground.world.state().redis.get_mut(unit).unwrap().nonsense = true;
    let old = urls(&ground);

    let scene = ground.copy();
    let error = scene.act(deleted).unwrap_err();
    let fault = error.downcast_ref::<Fault>().unwrap();
    assert!(fault.next.iter().any(|next| next.contains("--no-backup")), "{fault:?}");
    scene.act(|s| delete(s, &blog(), Farewell::NONE)).unwrap();
    assert!(!scene.world.state().redis.contains_key(unit));
    scene.act(purged).unwrap();
    let left = std::fs::read_dir(scene.real("/etc/hostkit")).unwrap().flatten().map(|e| e.file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().contains("blog")), "something is left");

    let scene = ground.copy();
    scene.act(|s| rotate(s, &blog(), false)).unwrap();
    assert_ne!(urls(&scene), old);
    let survey = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
    assert!(survey.findings.iter().any(|f| f.what.starts_with("redis-server:")), "{:?}", survey.findings);
    scene.act(|s| repair(s, None)).unwrap();
    let state = scene.world.state();
    let passwords = Grant::of(&state.redis[unit].users["blog"], &redis_commands()).passwords;
    assert!(passwords.contains(&sum(&password(&urls(&scene)[0]))), "the new password is not the server's");
}

#[test]
fn the_users_of_a_redis_of_its_own_lie_where_the_project_cannot_change_them() {
    let scene = Scene::after(&[own_redis]);
    let redis = scene.act(|s| Ok(s.project(&blog())?.spec.redis.unwrap())).unwrap();
    let door = redis.door(&blog());
    assert_eq!(door.users.parent(), layout::host::etc());
    let meta = scene.host(Tripwire::default()).root.meta(&door.users).unwrap().unwrap();
    let uid = scene.act(|s| Ok(s.project(&blog())?.spec.uid)).unwrap();
    assert_eq!((meta.attr.uid, meta.attr.gid, meta.attr.mode & 0o777), (0, uid, 0o640));
    let text = std::fs::read_to_string(scene.real(&door.users.to_string())).unwrap();
    assert!(text.contains("user blog ") && text.contains("user hkadmin "), "{text}");
}

/// For the crash matrix.
pub(super) fn own_redis(session: &mut Session<'_>) -> anyhow::Result<()> {
    make("blog", Asked::Dedicated(64))(session)
}
pub(super) fn rotated(session: &mut Session<'_>) -> anyhow::Result<()> {
    rotate(session, &blog(), false).map(drop)
}
pub(super) const ACTS: &[(&str, &[Act], Act)] = &[
    ("provision with a Redis of its own", &[], own_redis),
    ("delete with a Redis of its own", &[own_redis], deleted),
    ("restore with a Redis of its own", &[own_redis, deleted], brought_back),
];

#[test]
fn every_kind_of_redis_is_among_the_crash_tests() {
    let scene = Scene::after(&[own_redis]);
    let owned = scene.act(|s| s.store.owned("blog")).unwrap();
    assert!(owned.iter().any(|r| matches!(r, Any::RedisServer(_))));
    assert!(owned.iter().any(|r| matches!(r, Any::RedisUser(_))));
    let _ = rotated;
}
