//! Domains and certificates: given, renewed, taken away, and refused.

use anyhow::Result;
use jiff::Timestamp;

use super::scene::{Act, NOW, Scene, deployed, provisioned_bare};
use crate::{
    domain::{
        address::Address,
        fault::{Code, Fault},
        name::ProjectName,
    },
    operation::{
        certificates::{Supply, certify, certify_host, renew, withdraw},
        domains::{Addition, add, remove},
        init::{Setup, init},
        lifecycle::collect,
        session::{Mode, Session},
        survey::doctor,
    },
    system::{certificates::Authority, fake::certificates::certificate},
};

/// What may die anywhere, with what comes before it.
pub(super) const ACTS: &[(&str, &[Act], Act)] = &[
    ("domain", &[provisioned_bare, deployed], domain_added),
    ("certificate", &[provisioned_bare, deployed, domain_added], certified),
    ("renewal", &[provisioned_bare, deployed, domain_added, certified], certified),
    ("end of a domain", &[provisioned_bare, deployed, domain_added, certified], domain_removed),
    ("certificate of the host", &[provisioned_bare], host_certified),
];

fn blog() -> ProjectName {
    "blog".parse().unwrap()
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn addition(text: &str) -> Addition {
    Addition { address: address(text), redirect: None, www: false, unchecked: true, trusted: true }
}

fn domain_added(session: &mut Session<'_>) -> Result<()> {
    add(session, &blog(), &Addition { www: true, ..addition("blog.example.org") }).map(drop)
}

fn domain_removed(session: &mut Session<'_>) -> Result<()> {
    remove(session, &blog(), &address("blog.example.org")).map(drop)
}

fn certified(session: &mut Session<'_>) -> Result<()> {
    certify(session, &blog(), &address("blog.example.org"), Supply::Authority).map(drop)
}

fn host_certified(session: &mut Session<'_>) -> Result<()> {
    let now: Timestamp = NOW.parse()?;
    let (chain, key) = certificate("*.example.test", now, 90, 7);
    certify_host(session, Supply::Files(&chain, &key)).map(drop)
}

fn code(error: &anyhow::Error) -> Code {
    error.downcast_ref::<Fault>().unwrap_or_else(|| panic!("{error:#}")).code
}

impl Scene {
    fn site(&self) -> String {
        std::fs::read_to_string(self.real("/etc/nginx/sites-available/hostkit-blog")).unwrap()
    }
}

#[test]
fn a_domain_is_answered_redirected_and_given_to_one_project_only() {
    let scene = Scene::after(&[provisioned_bare, deployed, domain_added]);
    let site = scene.site();
    assert!(site.contains("server_name blog.example.test blog.example.org;"), "{site}");
    assert!(site.contains("return 301 http://blog.example.org$request_uri"), "{site}");
    scene.act(|s| super::scene::provision_named(s, "other")).unwrap();
    let error =
        scene.act(|s| add(s, &"other".parse()?, &addition("www.blog.example.org")).map(drop)).unwrap_err();
    assert_eq!(code(&error), Code::DomainTaken);
    scene.act(domain_removed).unwrap();
    assert!(!scene.site().contains("example.org"));
    scene.act(|s| add(s, &"other".parse()?, &addition("www.blog.example.org")).map(drop)).unwrap();
}

#[test]
fn a_domain_that_leads_elsewhere_is_refused_with_the_record_to_set() {
    let scene = Scene::after(&[provisioned_bare]);
    let asked = Addition { unchecked: false, trusted: false, ..addition("blog.example.org") };
    let refuse = |asked: &Addition| scene.act(|s| add(s, &blog(), asked).map(drop)).unwrap_err();
    let error = refuse(&asked);
    assert_eq!(code(&error), Code::DnsElsewhere);
    let next = &error.downcast_ref::<Fault>().unwrap().next;
    assert!(next[0].contains("blog.example.org.  A  192.0.2.7"), "{next:?}");
    scene.world.state().names.insert("blog.example.org".into(), "192.0.2.7".parse().unwrap());
    scene.act(|s| add(s, &blog(), &asked).map(drop)).unwrap();
    // Only an administrator gives out what nothing proves to be the project's.
    for what in ["*.example.org", "other.example.test", "example.test"] {
        let asked = Addition { unchecked: false, trusted: false, ..addition(what) };
        assert_eq!(code(&refuse(&asked)), Code::NotPermitted, "{what}");
    }
    let unproven = Addition { trusted: false, ..addition("a.example.org") };
    assert_eq!(code(&refuse(&unproven)), Code::NotPermitted);
}

#[test]
fn a_certificate_that_does_not_fit_changes_nothing() {
    let scene = Scene::after(&[provisioned_bare, deployed, domain_added]);
    let now: Timestamp = NOW.parse().unwrap();
    let day = |n: i64| jiff::SignedDuration::from_hours(24 * n);
    let before = scene.snapshot();
    let (good, key) = certificate("blog.example.org", now, 90, 1);
    let other_key = certificate("blog.example.org", now, 90, 2).1;
    let cases = [
        ("another name", certificate("a.example.org", now, 90, 1)),
        ("expired", certificate("blog.example.org", now - day(91), 90, 1)),
        ("not yet", certificate("blog.example.org", now + day(2), 90, 1)),
        ("another key", (good, other_key)),
        ("nothing", (Vec::new(), key)),
    ];
    for (what, (chain, key)) in cases {
        let supply = Supply::Files(&chain, &key);
        let error = scene
            .act(|s| certify(s, &blog(), &address("blog.example.org"), supply).map(drop))
            .expect_err(what);
        assert_eq!(code(&error), Code::InvalidCertificate, "{what}");
        assert_eq!(scene.snapshot(), before, "{what}");
    }
}

#[test]
fn a_certificate_is_used_and_only_what_is_seen_to_be_believed_is_insisted_on() {
    let scene = Scene::after(&[provisioned_bare, deployed, domain_added, certified]);
    let site = scene.site();
    assert!(site.contains("ssl_certificate /etc/hostkit/tls/blog.example.org/live/fullchain.pem;"), "{site}");
    assert!(site.contains("return 301 https://$host$request_uri"), "{site}");
    assert!(!site.contains("Strict-Transport-Security"));
    scene.world.state().believed = true;
    scene.act(|s| renew(s, None, false).map(drop)).unwrap();
    assert!(scene.site().contains("Strict-Transport-Security"));
    scene.act(|s| withdraw(s, &blog(), &address("blog.example.org"), true).map(drop)).unwrap();
    assert!(!scene.site().contains("443"));
    assert!(!scene.real("/etc/hostkit/tls/blog.example.org").exists());
    assert!(scene.act(collect).unwrap() > 0, "what was taken away goes");
}

#[test]
fn the_hosts_certificate_is_loaded_once_for_every_name_under_the_base_domain() {
    let scene = Scene::after(&[provisioned_bare, deployed, host_certified]);
    let site = scene.site();
    assert!(site.contains("listen 443 ssl") && !site.contains("ssl_certificate"), "{site}");
    let own = std::fs::read_to_string(scene.real("/etc/nginx/conf.d/hostkit.conf")).unwrap();
    assert_eq!(own.matches("ssl_certificate ").count(), 1, "{own}");
    assert!(own.contains("ssl_reject_handshake on;"));
    // A project that comes later has it from the beginning.
    scene.act(|s| super::scene::provision_named(s, "other")).unwrap();
    let other = std::fs::read_to_string(scene.real("/etc/nginx/sites-available/hostkit-other")).unwrap();
    assert!(other.contains("listen 443 ssl"));
    scene.act(|s| init(s, &Setup::default()).map(drop)).unwrap();
    assert!(
        scene
            .act_wired(crate::system::Tripwire::default(), Mode::DryRun, |s| doctor(s, None))
            .unwrap()
            .findings
            .is_empty()
    );
}

#[test]
fn an_authority_that_refuses_is_asked_seldom_and_doctor_says_what_it_said() {
    let scene = Scene::after(&[provisioned_bare, deployed, domain_added]);
    scene.world.state().refusal = Some("no answer on port 80".into());
    let hour = 3600;
    let ask = |later: i64| scene.act_later(later, certified).map_err(|error| code(&error));
    assert_eq!(ask(0), Err(Code::CertificateRefused));
    assert_eq!(ask(60), Err(Code::RateLimited), "an hour's rest");
    assert_eq!(ask(hour + 60), Err(Code::CertificateRefused));
    assert_eq!(ask(2 * hour + 120), Err(Code::CertificateRefused));
    assert_eq!(ask(4 * hour), Err(Code::RateLimited), "three a day");
    let survey = scene.act(|s| doctor(s, None)).unwrap();
    assert!(survey.findings.iter().any(|f| f.problem.contains("no answer on port 80")), "{survey:?}");
    scene.world.state().refusal = None;
    assert_eq!(ask(25 * hour), Ok(()));
    assert!(scene.act(|s| doctor(s, None)).unwrap().findings.is_empty());
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_one_that_is_not_is_found() {
    let scene = Scene::after(&[provisioned_bare, deployed, domain_added, certified]);
    let day = 86_400;
    let renewed = |later: i64| scene.act_later(later, |s| Ok(renew(s, None, false)?.renewed.len())).unwrap();
    assert_eq!(renewed(59 * day), 0);
    scene.world.state().refusal = Some("busy".into());
    let found = |later: i64| {
        let survey = scene.act_later(later, |s| doctor(s, None)).unwrap();
        survey.findings.iter().map(|f| f.problem.clone()).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(found(61 * day), "", "it is due, and there is time");
    assert!(found(63 * day).contains("was not renewed"));
    assert!(found(85 * day).contains("critical"));
    assert!(found(91 * day).contains("expired"));
    scene.world.state().refusal = None;
    assert_eq!(renewed(61 * day), 1);
}

#[test]
fn a_wildcard_needs_a_program_that_sets_records() {
    let scene = Scene::after(&[provisioned_bare]);
    let ask = |s: &mut Session<'_>| certify_host(s, Supply::Authority).map(drop);
    assert_eq!(code(&scene.act(ask).unwrap_err()), Code::CertificateRefused);
    let authority = Authority { dns_hook: Some("/usr/local/sbin/dns".into()), ..Authority::default() };
    scene.act(|s| init(s, &Setup { authority, ..Setup::default() }).map(drop)).unwrap();
    scene.act(ask).unwrap();
    assert!(scene.site().contains("listen 443 ssl"));
}
