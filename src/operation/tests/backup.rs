//! Backups: what was there comes back, and what is no backup changes nothing.

use std::collections::BTreeSet;

use super::scene::{Scene, deployed, provisioned, restarted, trash};
use crate::{
    domain::{
        backup::{BackupId, Reason, Scope},
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        backup::{
            create, delete, list, prune,
            restore::{Origin, Piece, restore},
            schedule::schedule,
            verify::verify,
        },
        lifecycle::collect,
        session::{Mode, Outcome, Session},
    },
    system::{Tripwire, postgres::Question},
};

pub(super) fn blog() -> ProjectName {
    "blog".parse().unwrap()
}

/// The project's own backup of this name, or its newest.
pub(super) fn from(id: Option<BackupId>) -> Origin {
    Origin::Project { name: blog(), id }
}

pub(super) fn code(error: &anyhow::Error) -> Code {
    error.downcast_ref::<Fault>().unwrap_or_else(|| panic!("{error:?}")).code
}

/// Gives the project something to lose.
pub(super) fn filled(session: &mut Session<'_>) -> anyhow::Result<()> {
    let shared = session.host.root.real(&blog().shared());
    std::fs::create_dir_all(shared.join("uploads"))?;
    std::fs::write(shared.join("uploads/photo"), "the photo")?;
    keys(session, 3);
    tell(session, "INSERT one");
    tell(session, "INSERT two");
    write_env(session, "# mine\nTOKEN='poison'\n")
}

/// Has the project's Redis hold so many keys.
fn keys(session: &mut Session<'_>, count: u64) {
    let redis = session.project(&blog()).unwrap().spec.redis.unwrap();
    let (door, text) = (redis.door(&blog()), count.to_string());
    session.host.redis.flush(&door, redis.number()).unwrap();
    session.host.redis.load(&door, redis.number(), &mut text.as_bytes()).unwrap();
    session.host.redis.unmark(&door, redis.number()).unwrap();
}

/// How many keys the first project's Redis holds.
pub(super) fn held(scene: &Scene) -> u64 {
    scene.world.state().redis["redis-server.service"].keys.get(&1).copied().unwrap_or(0)
}

/// Writes something to the project's database.
fn tell(session: &Session<'_>, sql: &str) {
    let spec = session.project(&blog()).unwrap().spec;
    let url = crate::operation::database::login(session, &spec).unwrap();
    let question = Question { sql: sql.to_owned(), limit: 1, write: true };
    session.host.postgres.ask(&url, &question).unwrap();
}

/// What is in the project's database.
pub(super) fn contents(scene: &Scene) -> Vec<String> {
    let state = scene.world.state();
    state.postgres.as_ref().unwrap().databases["blog_db"].contents.clone()
}

fn write_env(session: &Session<'_>, users: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut env = std::fs::OpenOptions::new().append(true).open(session.host.root.real(&blog().env()))?;
    Ok(env.write_all(users.as_bytes())?)
}

pub(super) fn backed_up(session: &mut Session<'_>) -> anyhow::Result<()> {
    create(session, &blog(), Scope::Backup, Reason::Manual).map(drop)
}

/// Loses some, spoils some, and makes more.
pub(super) fn spoiled(session: &mut Session<'_>) -> anyhow::Result<()> {
    let shared = session.host.root.real(&blog().shared());
    std::fs::remove_file(shared.join("uploads/photo"))?;
    std::fs::write(shared.join("new"), "made later")?;
    keys(session, 1);
    tell(session, "DELETE two");
    write_env(session, "LATER='1'\n")?;
    restarted(session)
}

pub(super) fn gone_back(session: &mut Session<'_>) -> anyhow::Result<()> {
    let id = first(session)?;
    restore(session, &blog(), Scope::Backup, &from(Some(id)), &BTreeSet::new()).map(drop)
}

fn first(session: &Session<'_>) -> anyhow::Result<BackupId> {
    Ok(list(session, &blog())?.pop().expect("there is a backup").id)
}

pub(super) fn shared(scene: &Scene, path: &str) -> Option<String> {
    std::fs::read_to_string(scene.real(&format!("/home/blog/shared/{path}"))).ok()
}

pub(super) fn env(scene: &Scene) -> String {
    std::fs::read_to_string(scene.real("/home/blog/.env")).unwrap()
}

#[test]
fn what_was_there_comes_back_and_what_came_later_goes() {
    let scene = Scene::after(&[provisioned, deployed, filled, backed_up, spoiled]);
    let starts = scene.world.state().starts;
    scene.act(gone_back).unwrap();
    assert_eq!(shared(&scene, "uploads/photo").as_deref(), Some("the photo"));
    assert_eq!(shared(&scene, "new"), None);
    assert!(env(&scene).ends_with("# mine\nTOKEN='poison'\n"), "{}", env(&scene));
    assert!(env(&scene).contains("PORT="));
    assert_eq!(
        scene.world.state().starts,
        starts + 2,
        "the surge instance takes over, and the process has its new data"
    );
    assert_eq!(contents(&scene), ["INSERT one", "INSERT two"]);
    assert_eq!(held(&scene), 3);
    assert_eq!(scene.world.state().redis["redis-server.service"].keys.len(), 1, "nothing lies beside it");
    assert!(scene.world.state().redis["redis-server.service"].marked.is_empty());
    assert!(!scene.real("/home/blog/.shared-incoming").exists());
    let databases =
        scene.world.state().postgres.as_ref().unwrap().databases.keys().cloned().collect::<Vec<_>>();
    assert_eq!(databases, ["blog_db", "postgres", "template1"]);
}

#[test]
fn before_it_goes_back_it_makes_a_backup_to_go_forward_to() {
    let scene = Scene::after(&[provisioned, deployed, filled, backed_up, spoiled, gone_back]);
    let all = scene.act(|s| list(s, &blog())).unwrap();
    let reasons: Vec<_> = all.iter().map(|b| b.inside.as_ref().unwrap().0).collect();
    assert_eq!(reasons, [Reason::Restore, Reason::Manual]);
    let newest = all[0].id.clone();
    scene.act(|s| restore(s, &blog(), Scope::Backup, &from(Some(newest)), &BTreeSet::new())).unwrap();
    assert_eq!(shared(&scene, "new").as_deref(), Some("made later"));
    assert!(env(&scene).ends_with("TOKEN='poison'\nLATER='1'\n"));
}

#[test]
fn some_of_it_can_be_gone_back_to_alone() {
    let scene = Scene::after(&[provisioned, deployed, filled, backed_up, spoiled]);
    assert_eq!(held(&scene), 1);
    let only = [Piece::Env].into();
    scene.act(|s| restore(s, &blog(), Scope::Backup, &from(None), &only)).unwrap();
    assert_eq!(shared(&scene, "new").as_deref(), Some("made later"));
    assert!(!env(&scene).contains("LATER"));
    assert_eq!(contents(&scene).len(), 3);
    let only = [Piece::Database].into();
    let first = scene.act(|s| first(s)).unwrap();
    scene.act(|s| restore(s, &blog(), Scope::Backup, &from(Some(first)), &only)).unwrap();
    assert_eq!(contents(&scene).len(), 2);
    assert_eq!(shared(&scene, "new").as_deref(), Some("made later"));
}

#[test]
fn a_checkpoint_is_of_the_database_alone_and_holds_nothing_else() {
    let scene = Scene::after(&[provisioned, deployed, filled]);
    scene.act(|s| create(s, &blog(), Scope::Checkpoint, Reason::Manual)).unwrap();
    scene.act(spoiled).unwrap();
    let only = [Piece::Shared].into();
    let error = scene.act(|s| restore(s, &blog(), Scope::Checkpoint, &from(None), &only)).unwrap_err();
    assert_eq!(code(&error), Code::InvalidValue);
    scene.act(|s| restore(s, &blog(), Scope::Checkpoint, &from(None), &BTreeSet::new())).unwrap();
    assert_eq!(contents(&scene), ["INSERT one", "INSERT two"]);
    assert_eq!(shared(&scene, "new").as_deref(), Some("made later"));
}

#[test]
fn a_process_that_does_not_like_its_old_data_gets_its_new_data_back() {
    let scene = Scene::after(&[provisioned, deployed, filled, backed_up, spoiled]);
    let before = scene.snapshot();
    std::fs::write(scene.real("/home/blog/app/unhealthy"), "").unwrap();
    let error = scene.act(gone_back).unwrap_err();
    assert_eq!(code(&error), Code::Unhealthy);
    std::fs::remove_file(scene.real("/home/blog/app/unhealthy")).unwrap();
    assert_eq!(shared(&scene, "new").as_deref(), Some("made later"));
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn a_damaged_a_foreign_and_a_misplaced_backup_change_nothing() {
    let scene = Scene::after(&[provisioned, deployed, filled, backed_up, spoiled]);
    let path = scene.act(|s| Ok(s.host.root.real(&list(s, &blog())?[0].path))).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let before = scene.snapshot();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (bytes, wanted) in [
        (&flipped[..], Code::InvalidBackup),
        (&whole[..whole.len() / 2], Code::InvalidBackup),
        (b"PGDMP", Code::InvalidBackup),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(code(&scene.act(gone_back).unwrap_err()), wanted);
        assert_eq!(scene.snapshot(), before);
    }
    // One of another project, with the right name in the right place.
    let other = Scene::after(&[
        |s| crate::operation::provision::provision(s, &super::scene::wish("shop")).map(drop),
        |s| create(s, &"shop".parse()?, Scope::Backup, Reason::Manual).map(drop),
    ]);
    let theirs = other.act(|s| Ok(s.host.root.real(&list(s, &"shop".parse()?)?[0].path))).unwrap();
    std::fs::copy(&theirs, &path).unwrap();
    assert_eq!(code(&scene.act(gone_back).unwrap_err()), Code::InvalidBackup);
}

#[test]
fn a_backup_is_for_root_alone_and_holds_no_secret_in_clear() {
    use std::os::unix::fs::MetadataExt;
    let scene = Scene::after(&[provisioned, filled, backed_up]);
    let path = scene.act(|s| Ok(s.host.root.real(&list(s, &blog())?[0].path))).unwrap();
    let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(6).any(|w| w == b"poison"));
}

#[test]
fn a_checkpoint_wants_a_database() {
    let scene = Scene::after(&[provisioned]);
    scene.act(|s| crate::operation::database::delete(s, &blog(), true)).unwrap();
    let error = scene.act(|s| create(s, &blog(), Scope::Checkpoint, Reason::Manual)).unwrap_err();
    assert_eq!(code(&error), Code::WrongState);
}

#[test]
fn what_a_dead_backup_left_is_gone_after_the_next_command() {
    let scene = Scene::after(&[provisioned, filled]);
    let wire = Tripwire::default();
    scene.copy().act_wired(wire.clone(), Mode::Run, backed_up).unwrap();
    let mut left = 0;
    for n in 1..=wire.crossed() {
        let scene = scene.copy();
        let _ = scene.act_wired(Tripwire::at(n), Mode::Run, backed_up);
        let files = |scene: &Scene| {
            let dir = std::fs::read_dir(scene.real("/var/lib/hostkit/backups/blog.2000"));
            dir.map_or(0, |d| {
                d.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count()
            })
        };
        left += files(&scene);
        scene.recover(Tripwire::default()).unwrap();
        assert_eq!(files(&scene), 0, "died at {n}");
        for backup in scene.act(|s| list(s, &blog())).unwrap() {
            assert!(backup.inside.is_ok(), "died at {n}");
        }
    }
    assert!(left > 0, "no death left anything");
}

#[test]
fn old_ones_go_and_what_somebody_wanted_stays() {
    let scene = Scene::after(&[provisioned, backed_up]);
    for _ in 0..3 {
        scene.act(|s| create(s, &blog(), Scope::Backup, Reason::Schedule)).unwrap();
    }
    let gone = scene.act(|s| prune(s, &blog())).unwrap();
    assert_eq!(gone.len(), 2);
    let left = scene.act(|s| list(s, &blog())).unwrap();
    let reasons: Vec<_> = left.iter().map(|b| b.inside.as_ref().unwrap().0).collect();
    assert_eq!(reasons, [Reason::Schedule, Reason::Manual]);
    let id = left[1].id.clone();
    assert_eq!(scene.act(|s| delete(s, &blog(), Scope::Backup, &id)).unwrap(), Outcome::Changed);
    let again = scene.act(|s| delete(s, &blog(), Scope::Backup, &id)).unwrap_err();
    assert_eq!(code(&again), Code::BackupNotFound);
    assert!(trash(&scene).is_empty());
}

#[test]
fn a_dry_run_reads_the_whole_backup_and_changes_nothing() {
    let scene = Scene::after(&[provisioned, deployed, filled, backed_up, spoiled]);
    let (before, wire) = (scene.snapshot(), Tripwire::default());
    let (outcome, restored) = scene
        .act_wired(wire.clone(), Mode::DryRun, |s| {
            restore(s, &blog(), Scope::Backup, &from(None), &BTreeSet::new())
        })
        .unwrap();
    assert_eq!(outcome, Outcome::WouldChange);
    assert_eq!(restored.pieces, Piece::ALL[..4]);
    assert_eq!((scene.snapshot(), wire.crossed()), (before, 0));
}

pub(super) fn scheduled(session: &mut Session<'_>) -> anyhow::Result<()> {
    schedule(session, &blog(), Some("03:15".parse()?)).map(drop)
}

pub(super) fn unscheduled(session: &mut Session<'_>) -> anyhow::Result<()> {
    schedule(session, &blog(), None).map(drop)
}

#[test]
fn a_backup_is_proven_by_loading_it_and_leaves_nothing_behind() {
    let scene = Scene::after(&[provisioned, deployed, filled, backed_up]);
    let before = scene.snapshot();
    let proven = scene.act(|s| verify(s, &blog(), None)).unwrap();
    assert_eq!(proven.tables.unwrap()[0].rows, 2);
    assert_eq!(scene.snapshot(), before);
    let left = |scene: &Scene| {
        let state = scene.world.state();
        let cluster = state.postgres.as_ref().unwrap();
        cluster.roles.keys().chain(cluster.databases.keys()).any(|name| name.contains("_gone_"))
    };
    assert!(!left(&scene));
    // Whatever a dead one leaves goes with the trash.
    let wire = Tripwire::default();
    scene.copy().act_wired(wire.clone(), Mode::Run, |s| verify(s, &blog(), None)).unwrap();
    let mut seen = false;
    for n in 1..=wire.crossed() {
        let scene = scene.copy();
        let _ = scene.act_wired(Tripwire::at(n), Mode::Run, |s| verify(s, &blog(), None));
        seen |= left(&scene);
        scene.act(collect).unwrap();
        assert!(!left(&scene), "died at {n}");
        assert_eq!(contents(&scene).len(), 2, "died at {n}");
    }
    assert!(seen, "no death left anything");
}
