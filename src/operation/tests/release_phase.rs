//! The release phase and the guard rails over the fakes.

use anyhow::Result;

use super::scene::{Act, Scene, archive, deployed, deployed_migrated, provisioned, provisioned_bare, put};
use crate::{
    domain::{
        backup::{Reason, Scope},
        fault::{Code, Fault},
        release::ReleaseState,
    },
    event::{Event, Ui},
    operation::{
        HostState,
        backup::{Stored, list},
        deploy::{Upload, deploy, resume, set_rails},
        session::{Mode, Outcome, Session},
    },
    store::ReleaseRow,
    system::source::Stream,
};

/// An application whose release runs this first.
fn migrating(release: &str) -> [(&'static str, String); 3] {
    [
        ("index.js", "2".into()),
        ("package.json", "{}".into()),
        ("hostkit.toml", format!("start = 'node index.js'\nrelease = {release}\n")),
    ]
}

fn upload(session: &mut Session<'_>, release: &str, skip: bool, over: bool) -> Result<()> {
    let files = migrating(release);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let mut stream = Stream(archive(&files));
    let mut upload =
        Upload { skip_migrate: skip, override_rails: over, ..Upload::new(&mut stream, "a test".into()) };
    deploy(session, &"blog".parse()?, &mut upload).map(drop)
}

fn releases(scene: &Scene) -> Vec<ReleaseRow> {
    scene
        .act(|s| {
            let uid = s.project(&"blog".parse()?)?.spec.uid;
            s.store.releases(uid)
        })
        .unwrap()
}

fn checkpoints(scene: &Scene) -> Vec<Stored> {
    let all = scene.act(|s| list(s, &"blog".parse()?)).unwrap();
    all.into_iter().filter(|stored| stored.scope == Scope::Checkpoint).collect()
}

fn code(error: &anyhow::Error) -> Code {
    error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap_or_else(|| panic!("{error:?}")).code
}

/// Hears what applications say.
#[derive(Default)]
struct Said(Vec<String>);

impl Ui for Said {
    fn emit(&mut self, event: Event<'_>) {
        if let Event::Output { what, line } = event {
            self.0.push(format!("{what}: {line}"));
        }
    }
}

#[test]
fn migrations_run_one_after_the_other_after_a_checkpoint_and_the_record_says_so() {
    let scene = Scene::after(&[provisioned, deployed]);
    let mut said = Said::default();
    let two = "['node migrate.js up', ['python3', 'seed.py', '$PORT', '$$']]";
    scene.act_heard(&mut said, Mode::Run, |s| upload(s, two, false, true)).unwrap();
    let (live, id) = (&releases(&scene)[0], checkpoints(&scene)[0].id.clone());
    assert_eq!(live.state, ReleaseState::Live);
    assert_eq!(live.phase.checkpoint.as_ref(), Some(&id));
    assert_eq!(checkpoints(&scene)[0].inside.as_ref().unwrap().0, Reason::Deploy);
    let ran: Vec<&str> = live.phase.ran.iter().map(|ran| ran.command.as_str()).collect();
    assert_eq!(ran, ["node migrate.js up", "python3 seed.py ${PORT} $$"]);
    assert!(live.phase.ran.iter().all(|ran| ran.failed.is_none()), "{:?}", live.phase);
    let jobs = scene.world.state().jobs.clone();
    assert_eq!(jobs[0][0], "/usr/bin/node");
    // The variables are systemd's to fill in: none of them is on a command line.
    assert_eq!(jobs[1][1..], ["seed.py", "${PORT}", "$$"]);
    assert!(said.0[0].starts_with("migrate: /usr/bin/node migrate.js"), "{said:?}", said = said.0);
}

#[test]
fn nothing_is_kept_of_a_database_that_is_not_there_or_not_changed() {
    let scene = Scene::after(&[provisioned, deployed]);
    assert!(checkpoints(&scene).is_empty() && !releases(&scene)[0].phase.changed());
    let scene = Scene::after(&[provisioned_bare]);
    scene.act(deployed_migrated).unwrap();
    let live = &releases(&scene)[0];
    assert!(live.phase.changed() && live.phase.checkpoint.is_none(), "{:?}", live.phase);
}

#[test]
fn a_migration_that_fails_leaves_the_old_release_live_and_says_how_to_have_the_database_back() {
    let scene = Scene::after(&[provisioned, deployed]);
    let before = scene.snapshot();
    for (release, why) in [("'node fail'", "exit status 1"), ("'node forever'", "took too long")] {
        let error = scene.act(|s| upload(s, release, false, true)).unwrap_err();
        assert_eq!(code(&error), Code::ReleasePhaseFailed);
        let fault = error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap();
        assert!(fault.message.contains(why), "{fault}");
        let id = &checkpoints(&scene)[0].id;
        assert!(fault.next.iter().any(|n| n.contains(&format!("checkpoint restore blog {id}"))), "{fault:?}");
        let state = error.downcast_ref::<HostState>().unwrap().to_string();
        assert!(state.contains("is live; the database may be changed"), "{state}");
        let failed = &releases(&scene)[0];
        assert_eq!(failed.state, ReleaseState::Failed);
        assert!(failed.phase.ran[0].failed.as_ref().unwrap().contains(why), "{:?}", failed.phase);
        // Neither the release nor its environment is left, and what served serves.
        assert_eq!(scene.snapshot(), before);
    }
}

#[test]
fn a_program_that_is_missing_is_said_before_anything_runs() {
    let scene = Scene::after(&[provisioned, deployed]);
    let error = scene.act(|s| upload(s, "['node ok.js', './missing']", false, true)).unwrap_err();
    assert_eq!(code(&error), Code::InvalidSource);
    assert!(scene.world.state().jobs.is_empty() && checkpoints(&scene).is_empty());
}

#[test]
fn migrations_that_somebody_leaves_out_do_not_run_and_the_record_says_so() {
    let scene = Scene::after(&[provisioned, deployed]);
    scene.act(|s| upload(s, "'node fail'", true, true)).unwrap();
    let live = &releases(&scene)[0];
    assert!(live.phase.skipped && !live.phase.changed() && checkpoints(&scene).is_empty());
}

#[test]
fn of_a_release_that_fails_after_its_migrations_the_error_says_that_the_database_is_changed() {
    let scene = Scene::after(&[provisioned, deployed]);
    let toml = "start = 'node index.js'\nrelease = 'node migrate.js'\n";
    let files = [("index.js", ""), ("package.json", "{}"), ("crash", ""), ("hostkit.toml", toml)];
    let error = scene.act(|s| put(s, &files)).unwrap_err();
    assert_eq!(code(&error), Code::Unhealthy);
    let state = error.downcast_ref::<HostState>().unwrap().to_string();
    assert!(state.contains("migrations have run"), "{state}");
    let fault = error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap();
    assert!(fault.next.iter().any(|next| next.contains("checkpoint restore")), "{fault:?}");
    assert!(releases(&scene)[0].phase.changed());
}

fn failing(session: &mut Session<'_>) -> Result<()> {
    upload(session, "'node fail'", false, false)
}
fn fine(session: &mut Session<'_>) -> Result<()> {
    upload(session, "'node fine'", false, false)
}
fn over(session: &mut Session<'_>) -> Result<()> {
    upload(session, "'node fine'", false, true)
}

/// A provisioned project after these, whatever came of them.
fn having(acts: &[Act]) -> Scene {
    let scene = Scene::after(&[provisioned_bare]);
    for act in acts {
        let _ = scene.act(act);
    }
    scene
}

#[test]
fn three_failures_in_a_row_are_followed_by_a_rest() {
    let scene = having(&[failing, failing]);
    scene.act(fine).unwrap();
    let scene = having(&[failing, failing, failing]);
    let error = scene.act(fine).unwrap_err();
    assert_eq!(code(&error), Code::RateLimited);
    assert!(format!("{error:#}").contains("possible in 300 s"), "{error:#}");
    // An administrator may go past it, and that is recorded.
    scene.act(over).unwrap();
    let history = scene.act(|s| s.store.history(Some("blog"), 10)).unwrap();
    assert!(history.iter().any(|row| row.verb == "override"), "{history:?}");
    // One that went well ends the row of failures.
    scene.act(fine).unwrap();
    scene.act_later(301, fine).unwrap();
}

#[test]
fn a_rest_is_over_after_its_time_or_when_somebody_says_so() {
    let scene = having(&[failing, failing, failing]);
    scene.act_later(299, fine).unwrap_err();
    scene.act_later(300, fine).unwrap();
    let scene = having(&[failing, failing, failing]);
    scene.act_later(1, |s| resume(s, &"blog".parse()?).map(drop)).unwrap();
    scene.act_later(2, fine).unwrap();
    let again = scene.act_later(3, |s| resume(s, &"blog".parse()?)).unwrap();
    assert_eq!(again.0, Outcome::Unchanged);
}

#[test]
fn ten_deploys_an_hour_are_enough_unless_the_project_may_have_more() {
    let scene = having(&[fine as Act; 10]);
    let error = scene.act(fine).unwrap_err();
    assert_eq!(code(&error), Code::RateLimited);
    scene.act_later(3599, fine).unwrap_err();
    let raised = scene.copy();
    let more = |s: &mut Session<'_>| set_rails(s, &"blog".parse()?, |rails| rails.hourly = 11).map(drop);
    raised.act(more).unwrap();
    raised.act(fine).unwrap();
    raised.act(fine).unwrap_err();
    scene.act_later(3600, fine).unwrap();
}

#[test]
fn what_is_refused_for_what_it_is_counts_for_nothing() {
    let scene = having(&[]);
    for _ in 0..12 {
        let error = scene.act(|s| upload(s, "7", false, false)).unwrap_err();
        assert_eq!(code(&error), Code::InvalidConfig);
    }
    scene.act(fine).unwrap();
}

#[test]
fn many_failures_pause_a_project_that_wants_to_be_paused() {
    for pause in [false, true] {
        let scene = having(&[]);
        scene.act(|s| set_rails(s, &"blog".parse()?, |rails| rails.pause = pause)).unwrap();
        for _ in 0..5 {
            scene.act(|s| upload(s, "'node fail'", false, true)).unwrap_err();
        }
        let error = scene.act_later(400, fine);
        if !pause {
            error.unwrap();
            continue;
        }
        assert_eq!(code(&error.unwrap_err()), Code::Paused);
        scene.act_later(86_400, fine).unwrap_err();
        scene.act_later(86_400, |s| resume(s, &"blog".parse()?).map(drop)).unwrap();
        scene.act_later(86_401, fine).unwrap();
    }
}
