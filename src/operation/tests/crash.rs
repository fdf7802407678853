//! The crash matrix: die at every effect and every write to the journal, then again while recovering.
//! Afterwards the world is exactly as before, or exactly as it was to become.

use super::{
    backup::{backed_up, filled, gone_back, scheduled, spoiled, unscheduled},
    scene::{
        Act, Scene, Snapshot, brought_back, database_gone, database_made, deleted, deployed, deployed_alone,
        deployed_built, deployed_built_otherwise, deployed_migrated, deployed_otherwise, deployed_static,
        deployed_with_worker, env_set, injected, provisioned, provisioned_bare, purged, restarted,
        rolled_back, rotated, scaled_down, scaled_up, secret_set, secret_unset, stopped, written,
    },
};
use crate::{
    operation::{session::Mode, survey::doctor},
    system::Tripwire,
};

/// Every kind of operation, with what comes before it. What has nothing to do with services is done
/// without them: each adds effects to every operation, and so points to die at.
const OPERATIONS: &[(&str, &[Act], Act)] = &[
    ("provision", &[], provisioned),
    ("first deploy", &[provisioned_bare], deployed),
    ("deploy of another unit", &[provisioned_bare, deployed], deployed_otherwise),
    ("deploy of a static site", &[provisioned_bare, deployed], deployed_static),
    ("deploy of what is built", &[provisioned_bare, deployed_built], deployed_built_otherwise),
    ("delete of what was built", &[provisioned_bare, deployed_built], deleted),
    ("deploy with a migration", &[provisioned, deployed], deployed_migrated),
    ("rollback", &[provisioned_bare, deployed, deployed_otherwise], rolled_back),
    ("rollback from static", &[provisioned_bare, deployed, deployed_static], rolled_back),
    ("stop", &[provisioned_bare, deployed], stopped),
    ("scale up", &[provisioned_bare, deployed_with_worker], scaled_up),
    ("scale down", &[provisioned_bare, deployed_with_worker, scaled_up], scaled_down),
    ("deploy of three instances", &[provisioned_bare, deployed_with_worker, scaled_up], deployed_with_worker),
    ("deploy that does without a worker", &[provisioned_bare, deployed_with_worker, scaled_up], deployed),
    ("deploy of what cannot run twice", &[provisioned_bare, deployed], deployed_alone),
    ("restart", &[provisioned_bare, deployed], restarted),
    ("delete", &[provisioned, deployed, deployed_otherwise], deleted),
    ("restore", &[provisioned, deployed, deployed_otherwise, deleted], brought_back),
    ("db create", &[provisioned_bare, deployed], database_made),
    ("db delete", &[provisioned, deployed, written], database_gone),
    ("db delete of an empty one", &[provisioned], database_gone),
    ("db delete after a rotation", &[provisioned, deployed, written, rotated], database_gone),
    ("db rotate", &[provisioned, deployed, written], rotated),
    ("db rotate back", &[provisioned, deployed, rotated, restarted], rotated),
    ("restart after a rotation", &[provisioned, deployed, written, rotated], restarted),
    ("delete with data", &[provisioned, deployed, written], deleted),
    ("change of the environment", &[provisioned_bare, deployed], env_set),
    ("rollback of the environment", &[provisioned_bare, deployed, env_set], rolled_back),
    ("secret", &[provisioned_bare, deployed], secret_set),
    ("inject", &[provisioned_bare, deployed, env_set, secret_set], injected),
    ("inject of less", &[provisioned_bare, deployed, secret_set, injected, secret_unset], injected),
    ("deploy with a secret", &[provisioned_bare, deployed, secret_set], deployed),
    ("purge", &[provisioned_bare, deployed, deleted], purged),
    ("going back to a backup", &[provisioned, deployed, filled, backed_up, spoiled], gone_back),
    ("having backups made", &[provisioned_bare], scheduled),
    ("having none made any more", &[provisioned_bare, scheduled], unscheduled),
];

fn after(base: &Scene, act: Act) -> Snapshot {
    let scene = base.copy();
    scene.act(act).unwrap();
    scene.snapshot()
}

/// Checks a world whose process died and which a later command has recovered.
fn judge(scene: &Scene, before: &Snapshot, after: &Snapshot, when: &str) {
    let now = scene.snapshot();
    if now != *before && now != *after {
        similar(&now, before, "before", when);
        similar(&now, after, "after", when);
        panic!("{when}: the world is neither as before nor as it was to become");
    }
    let survey = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
    // A rotation leaves what runs alone, so that it is older than its environment until it is restarted.
    // What dies while it cleans up leaves that to `gc`.
    let due = |problem: &str| when.contains("rotat") && problem.starts_with("is older");
    let findings: Vec<_> =
        survey.findings.iter().filter(|f| !due(&f.problem) && f.fix != "hostkit gc").collect();
    assert!(findings.is_empty(), "{when}: {findings:?}");
}

fn similar(now: &Snapshot, other: &Snapshot, name: &str, when: &str) {
    for (path, text) in &other.files {
        if now.files.get(path) != Some(text) {
            eprintln!("{when}: {path}: {:?}, {name} {text:?}", now.files.get(path));
        }
    }
    for path in now.files.keys().filter(|p| !other.files.contains_key(*p)) {
        eprintln!("{when}: {path} is there, and not {name}");
    }
    if now.files == other.files {
        eprintln!("{when}: files are as {name}; now {:?}\n{name} {:?}", now.rest(), other.rest());
    }
}

#[test]
fn dying_anywhere_leaves_the_world_as_before_or_as_it_was_to_become() {
    let mut points = 0;
    for (name, setup, act) in
        OPERATIONS.iter().chain(super::redis::ACTS).chain(super::front::ACTS).chain(super::storage::ACTS)
    {
        let base = Scene::after(setup);
        let (before, after) = (base.snapshot(), after(&base, *act));
        for n in 1.. {
            let scene = base.copy();
            // What dies after the commit point has done what it was to do, and may say so.
            let wire = Tripwire::at(n);
            let _ = scene.act_wired(wire.clone(), Mode::Run, act);
            if !wire.died() {
                break;
            }
            points += 1;
            scene.recover(Tripwire::default()).unwrap();
            judge(&scene, &before, &after, &format!("{name}, died at {n}"));
        }
    }
    eprintln!("crash points: {points}");
    assert!(points > 150, "{points} points are too few to be all of them");
}

#[test]
fn dying_again_while_recovering_changes_nothing_about_that() {
    let mut pairs = 0;
    for (name, setup, act) in OPERATIONS.iter().chain(&super::storage::ACTS[..super::storage::TWICE]) {
        let base = Scene::after(setup);
        let (before, after) = (base.snapshot(), after(&base, *act));
        let wire = Tripwire::default();
        base.copy().act_wired(wire.clone(), Mode::Run, act).unwrap();
        // The earlier points have shorter recoveries that are all part of the later ones; a dozen of them,
        // and a third of theirs, keep the suite quick and still meet each step in each of its states.
        let stride = (wire.crossed() / 12).max(5);
        for n in (stride..=wire.crossed()).step_by(stride) {
            let died = base.copy();
            let _ = died.act_wired(Tripwire::at(n), Mode::Run, act);
            for m in (1 + n % 3..).step_by(3) {
                let scene = if name.starts_with("going back") {
                    // Trees are told apart by numbers that a copy does not keep.
                    let scene = base.copy();
                    let _ = scene.act_wired(Tripwire::at(n), Mode::Run, act);
                    scene
                } else {
                    died.copy()
                };
                let wire = Tripwire::at(m);
                let _ = scene.recover(wire.clone());
                if !wire.died() {
                    break;
                }
                pairs += 1;
                scene.recover(Tripwire::default()).unwrap();
                judge(&scene, &before, &after, &format!("{name}, died at {n}, and at {m} of the recovery"));
            }
        }
    }
    eprintln!("crash pairs: {pairs}");
    assert!(pairs > 300, "{pairs} pairs are too few to be all of them");
}

#[test]
fn a_dry_run_crosses_no_effect_and_leaves_no_trace() {
    for (name, setup, act) in
        OPERATIONS.iter().chain(super::redis::ACTS).chain(super::front::ACTS).chain(super::storage::ACTS)
    {
        let base = Scene::after(setup);
        let (before, wire) = (base.snapshot(), Tripwire::default());
        base.act_wired(wire.clone(), Mode::DryRun, act).unwrap();
        assert_eq!(base.snapshot(), before, "{name}");
        // What a deploy would do can only be said of a source that has been received.
        if !name.contains("deploy") {
            assert_eq!(wire.crossed(), 0, "{name}");
        }
    }
}
