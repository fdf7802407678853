//! Going back past a migration, over the fakes.

use anyhow::Result;

use super::scene::{Act, Scene, deployed, deployed_migrated, provisioned, written};
use crate::{
    domain::{
        fault::{Code, Fault},
        release::ReleaseId,
    },
    operation::{
        deploy::set_rails,
        probation::{Watched, watch},
        retreat::Data,
        rollback::{Swapped, With, foresee, go_back},
        session::{Mode, Outcome, Session},
        survey::{doctor, resume},
    },
    project::Stage,
    system::Tripwire,
};

/// One row before the migration, and two after it.
const PAST: &[Act] = &[provisioned, deployed, written, deployed_migrated, written, written];

fn back(session: &mut Session<'_>, data: Data) -> Result<(Outcome, Swapped)> {
    go_back(session, &"blog".parse()?, None, With::Its, data)
}
fn back_with_data(session: &mut Session<'_>) -> Result<()> {
    back(session, Data::GoesBack { agreed: true }).map(drop)
}

fn rows(scene: &Scene) -> usize {
    scene.world.state().postgres.as_ref().unwrap().databases["blog_db"].contents.len()
}

fn live(scene: &Scene) -> ReleaseId {
    scene.act(|s| Ok(s.project(&"blog".parse()?)?.spec.live_release().cloned().unwrap())).unwrap()
}

fn fault(error: &anyhow::Error) -> &Fault {
    error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap_or_else(|| panic!("{error:?}"))
}

#[test]
fn going_back_past_a_migration_needs_a_yes_and_leaves_the_database() {
    let scene = Scene::after(PAST);
    let (before, newest) = (scene.snapshot(), live(&scene));
    let error = scene.act(|s| back(s, Data::Stays { agreed: false })).unwrap_err();
    let said = fault(&error);
    assert_eq!(said.code, Code::ConfirmationNeeded);
    assert!(said.message.contains(newest.as_str()) && said.next[1].contains("--with-db"), "{said:?}");
    assert_eq!(scene.snapshot(), before);
    scene.act(|s| back(s, Data::Stays { agreed: true })).unwrap();
    assert!(live(&scene) < newest && rows(&scene) == 3);
    // Forward again passes nothing that would be missing.
    let forward = |s: &mut Session<'_>| {
        go_back(s, &"blog".parse()?, Some(&newest), With::Its, Data::Stays { agreed: false })
    };
    scene.act(forward).unwrap();
}

#[test]
fn where_no_migration_lies_between_nobody_is_asked_and_no_database_goes_back() {
    let scene = Scene::after(&[provisioned, deployed, deployed]);
    let error = scene.act(|s| back(s, Data::GoesBack { agreed: true })).unwrap_err();
    assert_eq!(fault(&error).code, Code::WrongState);
    scene.act(|s| back(s, Data::Stays { agreed: false })).unwrap();
}

#[test]
fn the_database_goes_back_with_the_code_and_what_is_lost_is_shown_first() {
    let scene = Scene::after(PAST);
    let newest = live(&scene);
    let look =
        |s: &mut Session<'_>| foresee(s, &"blog".parse()?, None, With::Its, Data::GoesBack { agreed: false });
    let (retreat, loss) = scene.act(look).unwrap();
    let loss = loss.unwrap();
    assert_eq!(loss.tables, [("public.rows".to_owned(), 3, 1)]);
    let question = retreat.question(Some(&loss)).unwrap();
    assert!(question.contains("public.rows  3 rows now, 1 then"), "{question}");
    let error = scene.act(|s| back(s, Data::GoesBack { agreed: false })).unwrap_err();
    assert_eq!((fault(&error).code, rows(&scene)), (Code::ConfirmationNeeded, 3));
    let (_, swapped) = scene.act(|s| back(s, Data::GoesBack { agreed: true })).unwrap();
    assert!(live(&scene) < newest && rows(&scene) == 1);
    // There is a way forward again: the database as it was until now.
    assert!(swapped.database.unwrap().safety.is_some());
    // To the newer release alone there is none: it expects what was taken back.
    let forward = |s: &mut Session<'_>| {
        go_back(s, &"blog".parse()?, Some(&newest), With::Its, Data::Stays { agreed: false })
    };
    assert_eq!(fault(&scene.act(forward).unwrap_err()).code, Code::ConfirmationNeeded);
}

#[test]
fn code_and_database_go_back_together_or_not_at_all_wherever_the_power_goes() {
    let base = Scene::after(PAST);
    let (before, newest) = (rows(&base), live(&base));
    let mut ends = [0, 0];
    for n in 1.. {
        let scene = base.copy();
        if scene.act_wired(Tripwire::at(n), Mode::Run, back_with_data).is_ok() {
            break;
        }
        scene.recover(Tripwire::default()).unwrap();
        let old = live(&scene) == newest;
        assert_eq!(rows(&scene) == before, old, "died at {n}");
        ends[usize::from(old)] += 1;
    }
    assert!(ends[1] > 20, "{ends:?}");
}

/// A deploy of `blog` that systemd had to start this often since.
fn crashed(times: u32) -> Scene {
    let scene = Scene::after(&[provisioned, deployed, deployed_migrated]);
    scene.world.state().crashes.insert("hostkit-blog.service".into(), times);
    scene
}

#[test]
fn a_release_that_crashes_again_and_again_in_its_first_minutes_is_taken_back_once() {
    for (times, later, taken) in [(2, 60, false), (3, 60, true), (9, 301, false)] {
        let scene = crashed(times);
        let newest = live(&scene);
        assert_eq!(
            scene.world.state().timers.last().unwrap(),
            &format!("hostkit-blog_probation-{newest}.service")
        );
        let watched = scene.act_later(later, |s| watch(s, &"blog".parse()?, &newest)).unwrap();
        assert_eq!(matches!(watched, Watched::TakenBack(_)), taken, "{times} in {later} s: {watched:?}");
        assert_eq!(live(&scene) < newest, taken);
        if !taken {
            continue;
        }
        // Everybody who looks is told, and by whom.
        let survey = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
        assert!(survey.findings.iter().any(|f| f.problem.contains("taken back by itself")), "{survey:?}");
        let history = scene.act(|s| s.store.history(Some("blog"), 10)).unwrap();
        let back = history.iter().find(|row| row.verb == "rollback").unwrap();
        assert_eq!(back.caller, "probation");
        let log = std::fs::read_to_string(scene.real("/var/log/projects/blog/error.log")).unwrap();
        assert!(log.contains(&format!("the release {newest} is taken back")), "{log}");
        // The one before it is not watched, and it is not tried twice.
        let again = scene.act_later(later + 1, |s| watch(s, &"blog".parse()?, &newest)).unwrap();
        assert!(matches!(again, Watched::Over), "{again:?}");
        scene.act(deployed).unwrap();
        let survey = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
        assert!(!survey.findings.iter().any(|f| f.problem.contains("taken back")), "{survey:?}");
    }
}

#[test]
fn a_first_release_is_not_watched_and_none_is_that_nobody_wants_watched() {
    let scene = Scene::after(&[provisioned, deployed]);
    assert!(scene.world.state().timers.is_empty());
    scene.act(|s| set_rails(s, &"blog".parse()?, |rails| rails.probation = 0)).unwrap();
    scene.act(deployed).unwrap();
    assert!(scene.world.state().timers.is_empty());
}

#[test]
fn nobody_judges_a_release_before_its_handover_is_done_or_while_another_is_at_work() {
    let scene = crashed(9);
    let newest = live(&scene);
    let look = |scene: &Scene| scene.act_later(60, |s| watch(s, &"blog".parse()?, &newest)).unwrap();
    let staged = scene.copy();
    staged
        .act(|s| {
            let spec = s.project(&"blog".parse()?)?.spec;
            s.store.change(|registry| registry.put_project(&spec.at(Stage::Drain)))
        })
        .unwrap();
    assert!(matches!(look(&staged), Watched::Well));
    scene
        .act(|session| {
            let _held = session.enter("blog", "deploy")?;
            assert!(matches!(look(&scene), Watched::Well));
            Ok(())
        })
        .unwrap();
    assert_eq!(live(&scene), newest);
    assert!(matches!(look(&scene), Watched::TakenBack(_)));
    // It is known from the moment on in which it is gone.
    let fallen = scene.act(|s| s.project(&"blog".parse()?)).unwrap().spec.rails.fallen.unwrap();
    assert_eq!(fallen.release, newest.to_string());
}

#[test]
fn a_release_is_watched_on_after_a_boot_for_as_long_as_it_is_young() {
    for (later, watched) in [(60, true), (301, false)] {
        let scene = crashed(0);
        scene.world.state().timers.clear();
        scene.act_later(later, resume).unwrap();
        assert_eq!(!scene.world.state().timers.is_empty(), watched, "{later} s");
    }
}
