//! What is refused, and that it changes nothing.

use super::scene::{Scene, Warnings, provisioned, put, wish};
use crate::{
    domain::fault::{Code, Fault},
    operation::{provision::provision, session::Mode},
    plan::Foreign,
    system::{Tripwire, lock::Lock},
};

fn refused<T: std::fmt::Debug>(
    scene: &Scene,
    expected: Code,
    act: impl FnOnce(&mut crate::operation::session::Session<'_>) -> anyhow::Result<T>,
) -> Fault {
    let before = scene.snapshot();
    let error = scene.act(act).unwrap_err();
    let fault =
        error.chain().find_map(|e| e.downcast_ref::<Fault>()).unwrap_or_else(|| panic!("{error:?}")).clone();
    assert_eq!(fault.code, expected, "{error:#}");
    assert_eq!(scene.snapshot(), before);
    assert!(!fault.next.is_empty(), "{fault} does not say what to do");
    fault
}

#[test]
fn an_account_that_is_not_ours_is_refused_and_can_be_taken_over() {
    let scene = Scene::new();
    scene.world.state().accounts.insert("blog".into(), (1500, "/home/blog".into()));
    refused(&scene, Code::NameTaken, |s| provision(s, &wish("blog")));
    let (_, spec) = scene
        .act(|s| provision(s, &crate::operation::provision::Wish { foreign: Foreign::Adopt, ..wish("blog") }))
        .unwrap();
    assert_eq!(spec.uid, 1500);
}

#[test]
fn an_account_of_the_systems_is_never_taken_over() {
    let scene = Scene::new();
    scene.world.state().accounts.insert("mail".into(), (8, "/var/mail".into()));
    refused(&scene, Code::NameTaken, |s| {
        provision(s, &crate::operation::provision::Wish { foreign: Foreign::Adopt, ..wish("mail") })
    });
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_never_removed() {
    let scene = Scene::new();
    std::fs::write(scene.real("/etc/nginx/sites-available/hostkit-blog"), "# mine\n").unwrap();
    refused(&scene, Code::Foreign, |s| provision(s, &wish("blog")));
}

#[test]
fn a_port_that_somebody_holds_is_refused_and_is_not_chosen() {
    let scene = Scene::after(&[provisioned]);
    scene.world.state().occupied.insert(8002, 33);
    for port in [8001, 8002] {
        let with = crate::operation::provision::Wish { port: Some(port.try_into().unwrap()), ..wish("shop") };
        refused(&scene, Code::PortTaken, |s| provision(s, &with));
    }
    assert_eq!(scene.act(|s| provision(s, &wish("shop"))).unwrap().1.port.number(), 8003);
}

#[test]
fn sources_that_say_nothing_or_too_much_are_refused() {
    let scene = Scene::after(&[provisioned]);
    refused(&scene, Code::NothingDetected, |s| put(s, &[("readme", "")]));
    refused(&scene, Code::InvalidSource, |s| put(s, &[]));
    let toml = "[env]\nrequired = ['API_KEY']\n";
    let fault = refused(&scene, Code::EnvMissing, |s| {
        put(s, &[("index.js", ""), ("package.json", "{}"), ("hostkit.toml", toml)])
    });
    assert!(fault.message.contains("API_KEY"));
    let full =
        &[("index.js", ""), ("package.json", "{}"), ("hostkit.toml", "shared = ['up']"), ("up/file", "x")];
    refused(&scene, Code::InvalidSource, |s| put(s, full));
}

#[test]
fn a_project_that_somebody_works_on_is_busy_and_its_open_operation_is_left_alone() {
    let scene = Scene::after(&[provisioned]);
    let now = super::scene::NOW.parse().unwrap();
    let _held = Lock::take(&scene.real("/run/hostkit/locks"), "blog", "deploy blog", now).unwrap();
    let fault = refused(&scene, Code::Busy, |s| put(s, &[("index.js", "")]));
    assert!(fault.message.contains("deploy blog"), "{fault}");
}

#[test]
fn a_broken_site_is_put_back_and_nginx_goes_on() {
    let scene = Scene::new();
    let templates = crate::project::template::Templates::new(&[(
        "nginx-site.conf".into(),
        "server_name hostkit-{{ name }}; BROKEN return 200 \"{{ fingerprint }}\";".into(),
    )])
    .unwrap();
    refused(&scene, Code::NginxRefused, |s| {
        s.templates = templates;
        provision(s, &wish("blog"))
    });
}

#[test]
fn a_host_that_was_never_set_up_says_so() {
    let scene = Scene::new();
    let db = rusqlite::Connection::open(scene.real("/var/lib/hostkit/registry.db")).unwrap();
    db.execute("DELETE FROM setting", []).unwrap();
    refused(&scene, Code::NotInitialised, |s| provision(s, &wish("blog")));
}

#[test]
fn a_dry_run_warns_of_an_operation_that_is_open() {
    let scene = Scene::after(&[provisioned]);
    let open = |scene: &Scene| scene.act(|s| s.store.open_operations()).unwrap().len();
    let died = (1..).map(|n| {
        let scene = scene.copy();
        scene.act_wired(Tripwire::at(n), Mode::Run, super::scene::deployed).unwrap_err();
        scene
    });
    let scene = died.into_iter().find(|s| open(s) == 1).unwrap();
    let mut ui = Warnings::default();
    scene.act_heard(&mut ui, Mode::DryRun, super::scene::stopped).unwrap_err();
    assert!(ui.0[0].contains("would be undone first"), "{:?}", ui.0);
    assert_eq!(open(&scene), 1);
}
