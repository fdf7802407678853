//! What operations do when nothing goes wrong, and when applications do.

use super::scene::{
    Scene, brought_back, deleted, deployed, deployed_otherwise, provisioned, purged, put, rolled_back,
    stopped, trash, wish,
};
use crate::{
    domain::{
        fault::{Code, Fault},
        release::ReleaseState,
    },
    operation::{
        init::{Setup, init},
        lifecycle::collect,
        provision::provision,
        rollback::{With, rollback},
        session::Outcome,
        survey::{doctor, repair},
    },
};

fn code(error: &anyhow::Error) -> Code {
    error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap_or_else(|| panic!("{error:?}")).code
}

#[test]
fn doing_it_again_changes_nothing() {
    let scene = Scene::after(&[provisioned]);
    let before = scene.snapshot();
    assert_eq!(scene.act(|s| init(s, &Setup::default())).unwrap().0, Outcome::Unchanged);
    assert_eq!(scene.act(|s| provision(s, &wish("blog"))).unwrap().0, Outcome::Unchanged);
    assert_eq!(scene.act(|s| repair(s, None)).unwrap(), (Outcome::Unchanged, 0));
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn only_a_change_to_a_known_unit_has_systemd_read_everything_again() {
    let scene = Scene::after(&[provisioned]);
    let reloads = scene.world.state().reloads;
    scene.act(deployed).unwrap();
    scene.act(deployed).unwrap();
    scene.act(rolled_back).unwrap();
    assert_eq!(scene.world.state().reloads, reloads);
    scene.act(deployed_otherwise).unwrap();
    // One for the unit that runs, and one for that of the surge instance, which has run.
    assert_eq!(scene.world.state().reloads, reloads + 2);
    let state = scene.world.state();
    assert!(state.units["hostkit-blog.service"].body.contains("other.js"), "it runs by the new definition");
}

#[test]
fn an_application_that_crashes_or_does_not_answer_leaves_the_old_release_live() {
    for bad in ["crash", "unhealthy"] {
        let scene = Scene::after(&[provisioned, deployed]);
        let before = scene.snapshot();
        let error =
            scene.act(|s| put(s, &[("index.js", "bad"), ("package.json", "{}"), (bad, "")])).unwrap_err();
        assert_eq!(code(&error), Code::Unhealthy, "{bad}");
        assert!(format!("{error:#}").contains("is live"), "{error:#}");
        assert_eq!(scene.snapshot(), before, "{bad}");
        let releases = scene.act(|s| s.store.releases(2000)).unwrap();
        assert_eq!(
            releases.iter().map(|r| r.state).collect::<Vec<_>>(),
            [ReleaseState::Failed, ReleaseState::Live]
        );
        // A failed release is never gone back to.
        let failed = releases[0].id.clone();
        let error = scene.act(|s| rollback(s, &"blog".parse()?, Some(&failed), With::Its)).unwrap_err();
        assert_eq!(code(&error), Code::ReleaseNotFound);
        assert!(error.to_string().contains("is failed and cannot"), "{error}");
    }
}

#[test]
fn a_first_deploy_that_fails_leaves_the_project_empty() {
    let scene = Scene::after(&[provisioned]);
    let before = scene.snapshot();
    let error =
        scene.act(|s| put(s, &[("index.js", ""), ("package.json", "{}"), ("crash", "")])).unwrap_err();
    assert_eq!(code(&error), Code::Unhealthy);
    assert_eq!(scene.snapshot(), before);
}

#[test]
fn five_releases_are_kept_and_the_live_and_the_previous_are_among_them() {
    let scene = Scene::after(&[provisioned]);
    for _ in 0..8 {
        scene.act(deployed).unwrap();
    }
    let spec = scene.act(|s| s.project(&"blog".parse()?)).unwrap().spec;
    assert_eq!(spec.kept.len(), 5);
    let mut dirs: Vec<_> = std::fs::read_dir(scene.real("/home/blog/releases"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    dirs.retain(|d| !d.to_string_lossy().starts_with('.'));
    assert_eq!(dirs.len(), 5);
    // Back to the oldest, then forward again: neither of the two may go.
    let oldest = spec.kept[0].clone();
    scene.act(|s| rollback(s, &"blog".parse()?, Some(&oldest), With::Its)).unwrap();
    scene.act(deployed).unwrap();
    let spec = scene.act(|s| s.project(&"blog".parse()?)).unwrap().spec;
    assert!(spec.kept.contains(&oldest) && spec.kept.len() == 5, "{:?}", spec.kept);
    assert!(trash(&scene).len() >= 4);
    scene.act(collect).unwrap();
    assert!(trash(&scene).is_empty());
}

#[test]
fn a_deleted_project_comes_back_with_its_data_and_a_purged_one_leaves_nothing() {
    let scene = Scene::new();
    let empty = scene.snapshot();
    for act in [provisioned, deployed, deployed_otherwise] {
        scene.act(act).unwrap();
    }
    std::fs::write(scene.real("/home/blog/shared/uploads/cat.txt"), "meow").unwrap();
    let before = scene.snapshot();
    scene.act(deleted).unwrap();
    assert_eq!(scene.snapshot().files, empty.files);
    scene.act(brought_back).unwrap();
    assert_eq!(scene.snapshot(), before);
    scene.act(rolled_back).unwrap();
    scene.act(deleted).unwrap();
    scene.act(collect).unwrap();
    assert_eq!(trash(&scene), ["blog.2000", "blog.2000"], "its time is not over");
    scene.act(purged).unwrap();
    assert!(trash(&scene).is_empty());
    assert_eq!(scene.snapshot().files, empty.files);
    // The number is never given out again.
    let (_, spec) = scene.act(|s| provision(s, &wish("blog"))).unwrap();
    assert_eq!(spec.uid, 2001);
}

#[test]
fn what_was_stopped_stays_stopped_and_a_deploy_starts_it() {
    let scene = Scene::after(&[provisioned, deployed, stopped]);
    assert!(!scene.world.state().units.contains_key("hostkit-blog.service"));
    assert!(!scene.real("/etc/systemd/system/multi-user.target.wants/hostkit-blog.service").is_symlink());
    scene.act(deployed).unwrap();
    assert!(scene.world.state().units.contains_key("hostkit-blog.service"));
}

/// Something done by hand.
type Damage = fn(&Scene);

#[test]
fn damage_is_found_and_mended() {
    let base = Scene::after(&[provisioned, deployed]);
    let before = base.snapshot();
    let damages: &[(&str, Damage)] = &[
        ("unit:", |s| {
            std::fs::write(s.real("/etc/systemd/system/hostkit-blog.service"), "[Service]\n").unwrap();
        }),
        ("link:", |s| std::fs::remove_file(s.real("/home/blog/app")).unwrap()),
        ("service:", |s| {
            s.host(crate::system::Tripwire::default())
                .systemd
                .stop(&"blog".parse::<crate::domain::name::ProjectName>().unwrap().unit())
                .unwrap();
        }),
        ("site:", |s| std::fs::remove_file(s.real("/etc/nginx/sites-available/hostkit-blog")).unwrap()),
        ("env:", |s| {
            let path = s.real("/home/blog/.env");
            let text = std::fs::read_to_string(&path).unwrap().replace("8001", "9");
            std::fs::write(path, text).unwrap();
        }),
        ("directory:", |s| std::fs::remove_dir_all(s.real("/var/log/projects/blog")).unwrap()),
        ("file:", |s| std::fs::remove_file(s.real("/etc/logrotate.d/hostkit-blog")).unwrap()),
    ];
    for (what, damage) in damages {
        let scene = base.copy();
        std::thread::sleep(std::time::Duration::from_millis(10));
        damage(&scene);
        let survey = scene.act(|s| doctor(s, None)).unwrap();
        assert!(survey.findings.iter().any(|f| f.what.starts_with(what)), "{what} {:?}", survey.findings);
        scene.act(|s| repair(s, None)).unwrap();
        assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty(), "{what}");
        assert_eq!(scene.snapshot(), before, "{what}");
    }
}

#[test]
fn going_back_undoes_the_last_change_and_going_back_again_goes_further() {
    let scene = Scene::after(&[provisioned]);
    let name = || "blog".parse();
    let live = || scene.act(|s| s.project(&name()?)).unwrap().spec.live_release().unwrap().clone();
    let mut ids = Vec::new();
    for _ in 0..4 {
        scene.act(deployed).unwrap();
        ids.push(live());
    }
    scene.act(rolled_back).unwrap();
    scene.act(rolled_back).unwrap();
    assert_eq!(live(), ids[1]);
    // What was live before this deploy is the second, not the newest that is older.
    scene.act(deployed).unwrap();
    scene.act(rolled_back).unwrap();
    assert_eq!(live(), ids[1]);
    scene.act(|s| rollback(s, &name()?, Some(&ids[3]), With::Its)).unwrap();
    scene.act(rolled_back).unwrap();
    assert_eq!(live(), ids[1]);
}

#[test]
fn a_file_that_went_while_its_unit_ran_is_made_known_to_systemd_again() {
    let scene = Scene::after(&[provisioned, deployed]);
    let reloads = scene.world.state().reloads;
    std::fs::remove_file(scene.real("/etc/systemd/system/hostkit-blog.service")).unwrap();
    scene.act(|s| repair(s, None)).unwrap();
    assert_eq!(scene.world.state().reloads, reloads + 1);
}

#[test]
fn a_process_that_is_older_than_its_environment_is_found_and_started_anew() {
    let scene = Scene::after(&[provisioned, deployed]);
    let path = scene.real("/home/blog/.env");
    let text = std::fs::read_to_string(&path).unwrap() + "API_KEY='new'\n";
    std::fs::write(&path, &text).unwrap();
    let survey = scene.act(|s| doctor(s, None)).unwrap();
    let found: Vec<&str> = survey.findings.iter().map(|f| f.problem.as_str()).collect();
    assert_eq!(found, ["is older than what it was started from"]);
    let starts = scene.world.state().starts;
    scene.act(|s| repair(s, None)).unwrap();
    assert_eq!(scene.world.state().starts, starts + 1);
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "a line of the administrator's stays");
}

#[test]
fn a_note_stands_in_the_history_with_who_and_what() {
    let scene = Scene::after(&[provisioned]);
    scene.act(|s| s.note("blog", "db url", "the password was shown")).unwrap();
    let row = scene.act(|s| s.store.history(Some("blog"), 1)).unwrap().remove(0);
    let said = [row.verb, row.state, row.caller, row.outcome.unwrap()];
    assert_eq!(said, ["db url", "done", "root", "the password was shown"]);
    assert!(scene.act(|s| s.store.open_operations()).unwrap().is_empty());
}
