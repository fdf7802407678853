//! Handing over in a small world: what goes on, what is finished by whom, and what is started how often.

use super::scene::{
    Scene, Warnings, deployed, deployed_alone, deployed_otherwise, deployed_static, deployed_with_worker,
    provisioned_bare, put, restarted, rolled_back, scaled_down, scaled_up, stopped,
};
use crate::{
    domain::fault::{Code, Fault},
    event::{Event, Ui},
    operation::{
        scale::{Count, scale, set_health},
        session::{Mode, Session},
        survey::{doctor, resume},
    },
    project::{ProjectSpec, Stage, config::HealthConfig},
    system::Tripwire,
};

const REGULAR: &str = "hostkit-blog.service";
const SURGE: &str = "hostkit-blog_surge.service";

fn spec(scene: &Scene) -> ProjectSpec {
    scene.act(|s| s.project(&"blog".parse()?)).unwrap().spec
}

fn runs(scene: &Scene) -> Vec<String> {
    scene.world.state().units.keys().filter(|unit| unit.starts_with("hostkit-blog")).cloned().collect()
}

fn site(scene: &Scene) -> String {
    std::fs::read_to_string(scene.real("/etc/nginx/sites-available/hostkit-blog")).unwrap()
}

fn findings(scene: &Scene) -> Vec<String> {
    let survey = scene.act_wired(Tripwire::default(), Mode::DryRun, |s| doctor(s, None)).unwrap();
    survey.findings.into_iter().map(|f| format!("{}: {}", f.what, f.problem)).collect()
}

/// A world whose handover died at this stage.
fn died_at(stage: Stage) -> Scene {
    let base = Scene::after(&[provisioned_bare, deployed]);
    for n in 1.. {
        let scene = base.copy();
        let wire = Tripwire::at(n);
        let _ = scene.act_wired(wire.clone(), Mode::Run, deployed_otherwise);
        assert!(wire.died(), "{stage:?} never came");
        if spec(&scene).stage == stage {
            return scene;
        }
    }
    unreachable!()
}

#[test]
fn a_release_that_fails_stops_nothing_and_leaves_nothing() {
    let scene = Scene::after(&[provisioned_bare, deployed]);
    let link = "/run/systemd/units/invocation:hostkit-blog.service";
    let start = std::fs::read_link(scene.real(link)).unwrap();
    let bad = [("index.js", "bad"), ("package.json", "{}"), ("unhealthy", "")];
    let error = scene.act(|s| put(s, &bad)).unwrap_err();
    assert!(error.chain().any(|e| e.downcast_ref::<Fault>().is_some_and(|f| f.code == Code::Unhealthy)));
    assert_eq!(std::fs::read_link(scene.real(link)).unwrap(), start, "the old process was never stopped");
    assert_eq!(runs(&scene), [REGULAR]);
    assert_eq!(findings(&scene), [""; 0], "what it was started from is the same again, and so it is as good");
}

#[test]
fn a_process_is_vouched_for_only_as_long_as_it_and_its_inputs_stay() {
    let scene = Scene::after(&[provisioned_bare, deployed]);
    scene.act(|s| put(s, &[("index.js", "bad"), ("package.json", "{}"), ("unhealthy", "")])).unwrap_err();
    let file = scene.real("/home/blog/.env");
    std::thread::sleep(std::time::Duration::from_millis(20));
    let text = std::fs::read_to_string(&file).unwrap() + "A='1'\n";
    std::fs::write(&file, text).unwrap();
    assert_eq!(findings(&scene).len(), 1, "a change after that counts");
}

#[test]
fn while_the_regular_instance_is_started_anew_the_site_leads_to_the_surge_instance() {
    let scene = died_at(Stage::Surge);
    let text = site(&scene);
    let (first, second) =
        ("server 127.0.0.1:18001 max_fails=0;", "server 127.0.0.1:8001 max_fails=0 backup;");
    assert!(text.contains(first) && text.contains(second), "{text}");
    let state = scene.world.state();
    assert_eq!(state.units[SURGE].port, Some(18001));
    assert!(state.units[SURGE].body.contains("other.js"), "it runs the new release");
    assert!(!state.units[REGULAR].body.contains("other.js"), "and this one the old one");
}

#[test]
fn whoever_comes_next_finishes_what_was_begun_and_so_does_the_boot() {
    for stage in [Stage::Surge, Stage::Drain] {
        let by_boot = died_at(stage);
        assert!(findings(&by_boot).iter().any(|f| f.starts_with("handover:")), "{:?}", findings(&by_boot));
        let by_command = by_boot.copy();
        by_boot.act(resume).unwrap();
        by_command.act(|s| s.enter("blog", "look").map(drop)).unwrap();
        for scene in [by_boot, by_command] {
            assert_eq!(spec(&scene).stage, Stage::Settled);
            assert_eq!(runs(&scene), [REGULAR]);
            assert!(scene.world.state().units[REGULAR].body.contains("other.js"));
            assert_eq!(findings(&scene), [""; 0]);
        }
    }
}

#[test]
fn what_replaces_all_that_runs_needs_no_settled_project() {
    for act in [rolled_back, deployed, restarted, stopped] {
        let scene = died_at(Stage::Surge);
        scene.act(act).unwrap();
        let spec = spec(&scene);
        assert_eq!(spec.stage, Stage::Settled);
        assert_eq!(runs(&scene), if spec.running { vec![REGULAR] } else { vec![] });
        assert!(site(&scene).contains("server 127.0.0.1:8001 max_fails=0;"));
        assert_eq!(findings(&scene), [""; 0]);
    }
}

#[test]
fn what_cannot_be_settled_goes_on_and_a_warning_says_so() {
    let scene = died_at(Stage::Surge);
    scene.world.state().nginx_down = true;
    let mut heard = Warnings::default();
    scene.act_heard(&mut heard, Mode::Run, |s| s.enter("blog", "look").map(drop)).unwrap();
    assert!(heard.0.iter().any(|w| w.contains("could not be finished")), "{:?}", heard.0);
    assert_eq!(spec(&scene).stage, Stage::Surge);
    assert!(runs(&scene).contains(&SURGE.to_owned()), "it goes on answering");
    scene.world.state().nginx_down = false;
    scene.act(|s| s.enter("blog", "look").map(drop)).unwrap();
    assert_eq!(spec(&scene).stage, Stage::Settled);
}

#[test]
fn a_restart_that_was_interrupted_restarts_all_the_same() {
    let base = Scene::after(&[provisioned_bare, deployed]);
    let link = "/run/systemd/units/invocation:hostkit-blog.service";
    let start = std::fs::read_link(base.real(link)).unwrap();
    for n in 1.. {
        let scene = base.copy();
        let wire = Tripwire::at(n);
        let _ = scene.act_wired(wire.clone(), Mode::Run, restarted);
        assert!(wire.died());
        if spec(&scene).stage == Stage::Surge {
            scene.recover(Tripwire::default()).unwrap();
            assert_ne!(std::fs::read_link(scene.real(link)).unwrap(), start);
            return;
        }
    }
}

#[test]
fn what_cannot_run_twice_is_never_there_twice() {
    let scene = Scene::after(&[provisioned_bare, deployed_alone]);
    let starts = scene.world.state().starts;
    scene.act(deployed_alone).unwrap();
    assert_eq!(scene.world.state().starts, starts + 1);
    assert!(!scene.real("/etc/systemd/system/hostkit-blog_surge.service").exists());
    // Nor beside one that could.
    scene.act(deployed).unwrap();
    assert_eq!(scene.world.state().starts, starts + 2);
}

#[test]
fn files_switch_by_the_link_alone() {
    let scene = Scene::after(&[provisioned_bare, deployed_static]);
    let before = site(&scene);
    scene.act(|s| put(s, &[("index.html", "4"), ("hostkit.toml", "runtime = 'static'")])).unwrap();
    assert_eq!(site(&scene), before);
    assert_eq!(runs(&scene), [""; 0]);
    // From files to a process and back, nothing is left.
    scene.act(deployed_with_worker).unwrap();
    scene.act(deployed_static).unwrap();
    assert_eq!(runs(&scene), [""; 0]);
    let units = std::fs::read_dir(scene.real("/etc/systemd/system")).unwrap();
    let names: Vec<_> = units.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.starts_with("hostkit-blog")), "{names:?}");
    assert_eq!(findings(&scene), [""; 0]);
}

#[test]
fn instances_have_ports_of_their_own_and_follow_the_release_together() {
    let scene = Scene::after(&[provisioned_bare, deployed_with_worker, scaled_up]);
    let ports = |scene: &Scene| {
        let state = scene.world.state();
        let mut ports: Vec<_> = state.units.values().filter_map(|unit| unit.port).collect();
        ports.sort_unstable();
        ports
    };
    assert_eq!(ports(&scene), [8001, 15001, 16001]);
    let workers = |scene: &Scene| runs(scene).iter().filter(|unit| unit.contains("worker")).count();
    assert_eq!(workers(&scene), 2);
    scene.act(deployed_with_worker).unwrap();
    assert_eq!(ports(&scene), [8001, 15001, 16001]);
    let live = format!("releases/{}", spec(&scene).live_release().unwrap());
    let state = scene.world.state();
    let old: Vec<_> = state
        .units
        .iter()
        .filter(|(name, unit)| name.ends_with(".service") && unit.user == "blog" && unit.app != live)
        .collect();
    assert!(old.is_empty(), "{old:?} do not run {live}");
    drop(state);
    scene.act(scaled_down).unwrap();
    assert_eq!((ports(&scene), workers(&scene)), (vec![8001], 1));
    assert!(!scene.real("/home/blog/.env.web-2").exists());
    assert_eq!(findings(&scene), [""; 0]);
}

#[test]
fn only_what_there_is_can_be_scaled_and_not_beyond_reason() {
    let scene = Scene::after(&[provisioned_bare, deployed_with_worker]);
    let count = |kind: &str, number| [Count { kind: kind.to_owned(), number }];
    let before = scene.snapshot();
    for (kind, number) in [("web", 0), ("web", 5), ("worker", 17), ("wrker", 2), ("tidy", 2)] {
        scene.act(|s| scale(s, &"blog".parse()?, &count(kind, number))).unwrap_err();
    }
    assert_eq!(scene.snapshot(), before);
    scene.act(deployed_alone).unwrap();
    scene.act(|s| scale(s, &"blog".parse()?, &count("web", 2))).unwrap_err();
}

#[test]
fn what_the_administrator_says_of_health_comes_before_what_the_release_says() {
    let scene = Scene::after(&[provisioned_bare, deployed]);
    let settings = HealthConfig { path: Some("/up".into()), drain: Some(5), ..HealthConfig::default() };
    scene.act(|s| set_health(s, &"blog".parse()?, settings, false)).unwrap();
    let more = HealthConfig { status: Some(204), ..HealthConfig::default() };
    scene.act(|s| set_health(s, &"blog".parse()?, more, false)).unwrap();
    let spec = spec(&scene);
    let health = spec.health_of(&spec.live.as_ref().unwrap().1);
    assert_eq!((health.path.as_deref(), health.status, health.timeout), (Some("/up"), Some(204), Some(120)));
    assert_eq!(spec.drain(), 5);
    // How long it may take to end comes with the next start; until then nothing is otherwise than it is known.
    let unit = || std::fs::read_to_string(scene.real("/etc/systemd/system/hostkit-blog.service")).unwrap();
    assert!(unit().contains("TimeoutStopSec=30\n"));
    assert!(findings(&scene).iter().all(|f| f.starts_with("health:")), "{:?}", findings(&scene));
    let good = HealthConfig { status: Some(200), ..HealthConfig::default() };
    scene.act(|s| set_health(s, &"blog".parse()?, good, false)).unwrap();
    let none = HealthConfig { drain: Some(0), ..HealthConfig::default() };
    scene.act(restarted).unwrap();
    assert!(unit().contains("TimeoutStopSec=5\n"));
    scene.act(|s| set_health(s, &"blog".parse()?, none, false)).unwrap();
    scene.act(restarted).unwrap();
    assert!(unit().contains("TimeoutStopSec=1\n"), "for systemd 0 is for ever");
}

#[test]
fn processes_that_end_are_asked_to_at_the_same_time() {
    let scene = Scene::after(&[provisioned_bare, deployed_with_worker, scaled_up]);
    let asked = |act: fn(&mut Session<'_>) -> anyhow::Result<()>| {
        let scene = scene.copy();
        scene.world.state().ended_together.clear();
        scene.act(act).unwrap();
        assert_eq!(findings(&scene), [""; 0]);
        let together = scene.world.state().ended_together.clone();
        together.into_iter().map(|units| units.join(" ")).collect::<Vec<_>>()
    };
    let workers = "hostkit-blog_worker-1.service hostkit-blog_worker-2.service";
    let webs = "hostkit-blog_web-2.service hostkit-blog_web-3.service";
    assert_eq!(asked(stopped), [format!("hostkit-blog.service {webs}"), workers.to_owned()]);
    assert_eq!(asked(scaled_down).len(), 1);
    assert_eq!(asked(deployed_with_worker), [workers], "what answers goes one by one");
}

#[test]
fn a_worker_that_came_to_its_own_end_is_no_finding_and_one_that_crashed_is() {
    let scene = Scene::after(&[provisioned_bare, deployed_with_worker]);
    let worker = "hostkit-blog_worker-1.service";
    scene.world.state().units.remove(worker);
    std::fs::remove_file(scene.real(&format!("/run/systemd/units/invocation:{worker}"))).unwrap();
    assert_eq!(findings(&scene).len(), 1);
    scene.world.state().ended.push(worker.into());
    assert_eq!(findings(&scene), [""; 0]);
    // The next release starts it at once.
    scene.act(deployed_with_worker).unwrap();
    assert!(runs(&scene).contains(&worker.to_owned()));
}

/// Who hears what was done.
#[derive(Default)]
struct Steps(Vec<String>);

impl Ui for Steps {
    fn emit(&mut self, event: Event<'_>) {
        match event {
            Event::Stepped { kind, name, .. } => self.0.push(format!("{kind} {name}")),
            Event::Finished { what, detail, .. } => self.0.push(format!("{what} {detail}")),
            _ => {}
        }
    }
}

#[test]
fn whoever_looks_hears_what_is_started_how_it_answered_and_when_it_is_live() {
    let scene = Scene::after(&[provisioned_bare, deployed]);
    let mut steps = Steps::default();
    scene.act_heard(&mut steps, Mode::Run, deployed_otherwise).unwrap();
    let told: Vec<&str> =
        steps.0.iter().map(String::as_str).skip_while(|s| !s.starts_with("start")).collect();
    assert_eq!(
        told,
        [
            "start hostkit-blog_surge.service",
            "health healthy after 0.0 s: GET / 200",
            "nginx hostkit-blog",
            "live requests go to what is new; the regular processes follow",
            "drain every request is answered",
            "start hostkit-blog.service",
            "health healthy after 0.0 s: GET / 200",
            "nginx hostkit-blog",
            "drain every request is answered",
            "stop hostkit-blog_surge.service",
        ]
    );
}

#[test]
fn a_variable_that_leads_nowhere_is_named_as_the_reason_and_its_password_is_not() {
    let scene = Scene::after(&[provisioned_bare, deployed]);
    let file = scene.real("/home/blog/.env");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "CACHE_URL='redis://u:s3cret@localhost:6390/0'\n").unwrap();
    let error =
        scene.act(|s| put(s, &[("index.js", "bad"), ("package.json", "{}"), ("unhealthy", "")])).unwrap_err();
    let fault = error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap();
    let why = fault.why.clone().unwrap();
    assert_eq!(why, "`CACHE_URL` leads to port 6390 of this host, where nothing listens");
    scene.world.state().occupied.insert(6390, 0);
    let error =
        scene.act(|s| put(s, &[("index.js", "bad"), ("package.json", "{}"), ("unhealthy", "")])).unwrap_err();
    let fault = error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap();
    assert_eq!(fault.why, None, "what is there is no reason");
}

#[test]
fn a_project_whose_old_process_still_answers_is_not_called_down() {
    let scene = Scene::after(&[provisioned_bare, deployed]);
    std::fs::write(scene.real("/home/blog/app/unhealthy"), "").unwrap();
    let error = scene.act(restarted).unwrap_err();
    let fault = error.downcast_ref::<Fault>().unwrap();
    assert_eq!(fault.code, Code::Unhealthy, "{}", fault.message);
    assert!(fault.message.contains("is live"), "{}", fault.message);
}
