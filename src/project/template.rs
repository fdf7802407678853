//! The texts HostKit writes, from templates with one typed set of variables each.
//!
//! An administrator may put a template of the same name into `/etc/hostkit/templates`. Whatever a
//! template does, a value that could end a line or a statement in the target's syntax is refused.

use std::{collections::BTreeSet, io, io::Write};

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tera::Tera;

use crate::domain::fault::{Code, Fault};

/// A unit's variables.
#[derive(Debug, Serialize)]
pub struct UnitVars<'a> {
    /// The project.
    pub name: &'a str,
    /// Where the process starts.
    pub workdir: String,
    /// The environment file.
    pub env_file: String,
    /// What an instance with a port of its own is told besides.
    pub port_file: Option<String>,
    /// The start command, encoded for systemd.
    pub exec_start: String,
    /// Where the logs lie.
    pub logs: String,
    /// The only file that the surge instance writes to.
    pub surge_log: Option<String>,
    /// The project's home.
    pub home: String,
    /// The only place the process may write.
    pub shared: String,
    /// Whether memory that is written may not be executed; kills programs that compile as they run.
    pub deny_write_execute: bool,
    /// Whether it runs at certain times, each time to its end.
    pub times: bool,
    /// Whether it is php-fpm, which ends with its answers when it is told so by another signal.
    pub fpm: bool,
    /// Variables of the framework's, as `NAME=VALUE`.
    pub environment: Vec<String>,
    /// What is run before it starts, encoded for systemd; it does without if it has to.
    pub warm_up: Vec<String>,
    /// How long it may take to end when it is asked to, in seconds.
    pub drain: u32,
}

/// Where nginx finds an instance.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Its port.
    pub port: u16,
    /// Whether it is asked only when the others do not answer.
    pub backup: bool,
}

/// How a site answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SiteMode {
    /// Nothing has been deployed.
    Empty,
    /// nginx serves files.
    Static,
    /// A process answers.
    Proxy,
    /// nginx serves files, and php-fpm answers for the rest.
    Php,
}

/// One `server` of a site.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Front {
    /// What it answers to.
    pub names: Vec<Name>,
    /// Whether it speaks TLS, on port 443; otherwise it is on port 80.
    pub tls: bool,
    /// The directory of its own certificate; one without gets the host's.
    pub certificate: Option<String>,
    /// The number of that certificate: nginx reads it anew when it is another.
    pub number: u64,
    /// Whether visitors are sent to the same place with TLS.
    pub secure: bool,
    /// The name that visitors are sent to, if they are.
    pub target: Option<String>,
    /// The scheme of the place that they are sent to.
    pub scheme: &'static str,
    /// Whether browsers are told never to come without TLS again.
    pub hsts: bool,
}

/// A name of a [`Front`].
#[derive(Clone, Debug, Serialize)]
pub struct Name {
    /// The host's name, or what all the names stand under.
    pub host: String,
    /// Whether it is every name below `host`.
    pub wildcard: bool,
}

/// How this nginx wants things to be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Http2 {
    /// With the `listen` directive: before 1.25.1.
    #[default]
    Listen,
    /// With a directive of its own.
    Directive,
}

/// An nginx site's variables.
#[derive(Clone, Debug, Serialize)]
pub struct SiteVars<'a> {
    /// The project.
    pub name: &'a str,
    /// Every `server` there is to be.
    pub fronts: Vec<Front>,
    /// Whether the kernel speaks IPv6.
    pub ipv6: bool,
    /// How this nginx is told to speak HTTP/2.
    pub http2: Http2,
    /// Where the answers to questions of certificate authorities lie.
    pub challenges: String,
    /// What every `server` with a certificate of its own includes.
    pub tls_settings: String,
    /// Where its answers are logged.
    pub access_log: String,
    /// How it answers.
    pub mode: SiteMode,
    /// The port of the first instance.
    pub port: u16,
    /// Every instance that answers.
    pub servers: Vec<Server>,
    /// The directory of the files.
    pub web_root: String,
    /// Whether an unknown path gets `index.html`.
    pub spa: bool,
    /// Whether the directory of the files is all of the release.
    pub whole: bool,
    /// The status socket.
    pub socket: String,
    /// What the running nginx answers once it has loaded this text.
    pub fingerprint: String,
}

/// Variables of the log rotation.
#[derive(Debug, Serialize)]
pub struct LogrotateVars<'a> {
    /// The project.
    pub name: &'a str,
    /// Where the logs lie.
    pub logs: String,
}

/// Variables of HostKit's own part of nginx's configuration.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NginxHostVars {
    /// Whether the kernel speaks IPv6.
    pub ipv6: bool,
    /// How this nginx is told to speak HTTP/2.
    pub http2: Http2,
    /// Whether what nobody answers to is HostKit's on port 80; no other site may say so.
    pub default_plain: bool,
    /// The same on port 443.
    pub default_tls: bool,
    /// The directory of the certificate of all names under the base domain.
    pub certificate: Option<String>,
    /// The number of that certificate.
    pub number: u64,
    /// What every `server` with a certificate includes.
    pub tls_settings: String,
    /// The status socket.
    pub socket: String,
    /// What the running nginx answers once it has loaded this text.
    pub fingerprint: String,
}

/// The templates there are: name, text, and whether nginx reads the result.
const BUILTIN: &[(&str, &str, bool)] = &[
    ("unit.service", include_str!("../../templates/unit.service"), false),
    ("nginx-site.conf", include_str!("../../templates/nginx-site.conf"), true),
    ("nginx-host.conf", include_str!("../../templates/nginx-host.conf"), true),
    ("nginx-tls.conf", include_str!("../../templates/nginx-tls.conf"), true),
    ("logrotate", include_str!("../../templates/logrotate"), false),
];

/// The templates in force: the built-in ones, and what an administrator put over them.
#[derive(Debug)]
pub struct Templates {
    nginx: Tera,
    plain: Tera,
    overridden: BTreeSet<String>,
    http2: Http2,
}

impl Templates {
    /// The names an override may have.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, ..)| *name)
    }

    /// The built-in templates with these over them, each a name and its text.
    pub fn new(overrides: &[(String, String)]) -> Result<Self> {
        let mut nginx = Tera::default();
        nginx.set_escape_fn(refuse_nginx);
        let mut plain = Tera::default();
        plain.set_escape_fn(refuse_control);
        for tera in [&mut nginx, &mut plain] {
            tera.autoescape_on(vec![".conf", ".service", "logrotate"]);
        }
        let mut all = Self { nginx, plain, overridden: BTreeSet::new(), http2: Http2::default() };
        for (name, text, for_nginx) in BUILTIN {
            let over = overrides.iter().find(|(n, _)| n == name);
            let tera = if *for_nginx { &mut all.nginx } else { &mut all.plain };
            tera.add_raw_template(name, over.map_or(*text, |(_, t)| t.as_str()))
                .map_err(|e| broken(name, &e))?;
            if over.is_some() {
                all.overridden.insert((*name).to_owned());
            }
        }
        Ok(all)
    }

    /// The same for an nginx that is told so to speak HTTP/2.
    pub fn speaking(self, http2: Http2) -> Self {
        Self { http2, ..self }
    }

    /// How nginx is told to speak HTTP/2.
    pub fn http2(&self) -> Http2 {
        self.http2
    }

    /// Whether an administrator replaced this template.
    pub fn is_overridden(&self, name: &str) -> bool {
        self.overridden.contains(name)
    }

    /// A unit file.
    pub fn unit(&self, vars: &UnitVars<'_>) -> Result<String> {
        let body = render(&self.plain, "unit.service", vars)?;
        match &vars.port_file {
            // It would take the port of the first instance, and never become healthy.
            Some(file) if !body.contains(file.as_str()) => {
                Err(broken("unit.service", &"it does not read the `port_file` that an instance gets"))
            }
            _ => Ok(body),
        }
    }

    /// An nginx site, with its fingerprint filled in.
    pub fn site(&self, vars: &SiteVars<'_>) -> Result<(String, String)> {
        self.marked("nginx-site.conf", |fingerprint| SiteVars { fingerprint, ..vars.clone() })
    }

    /// HostKit's own part of nginx's configuration, with its fingerprint filled in.
    pub fn nginx_host(&self, vars: &NginxHostVars) -> Result<(String, String)> {
        self.marked("nginx-host.conf", |fingerprint| NginxHostVars { fingerprint, ..vars.clone() })
    }

    /// The settings of TLS.
    pub fn nginx_tls(&self) -> Result<String> {
        render(&self.nginx, "nginx-tls.conf", &())
    }

    /// Renders a text that answers its own fingerprint.
    fn marked<V: Serialize>(&self, name: &str, vars: impl Fn(String) -> V) -> Result<(String, String)> {
        let bare = render(&self.nginx, name, &vars(String::new()))?;
        let digest = Sha256::digest(bare.as_bytes());
        let fingerprint: String = digest.iter().take(12).map(|b| format!("{b:02x}")).collect();
        let body = render(&self.nginx, name, &vars(fingerprint.clone()))?;
        if !body.contains(&fingerprint) {
            return Err(Fault::new(
                Code::InvalidTemplate,
                format!("the template `{name}` does not answer its `fingerprint` on the status socket"),
            )
            .next(format!("start from the built-in one, or remove `/etc/hostkit/templates/{name}`"))
            .into());
        }
        Ok((body, fingerprint))
    }

    /// A project's log rotation.
    pub fn logrotate(&self, vars: &LogrotateVars<'_>) -> Result<String> {
        render(&self.plain, "logrotate", vars)
    }
}

fn render(tera: &Tera, name: &str, vars: &impl Serialize) -> Result<String> {
    let given = serde_json::to_value(vars).context("a template's variables")?;
    // `{% if misspelt %}` would silently be false.
    for used in tera.get_template_variables(name).map_err(|e| broken(name, &e))? {
        if given.get(used).is_none() {
            return Err(broken(name, &format!("there is no variable `{used}`")));
        }
    }
    if given.is_null() {
        return tera.render(name, &tera::Context::new()).map_err(|e| broken(name, &e));
    }
    let context = tera::Context::from_serialize(vars).map_err(|e| broken(name, &e))?;
    tera.render(name, &context).map_err(|e| broken(name, &e))
}

fn broken(name: &str, error: &dyn std::fmt::Display) -> anyhow::Error {
    Fault::new(Code::InvalidTemplate, format!("the template `{name}` does not render: {error}"))
        .next(format!("mend or remove `/etc/hostkit/templates/{name}`"))
        .into()
}

/// Lets through what cannot leave a line.
fn refuse_control(text: &str, out: &mut dyn Write) -> io::Result<()> {
    if text.chars().any(char::is_control) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a value with control characters"));
    }
    out.write_all(text.as_bytes())
}

/// Lets through what cannot leave a word of nginx's configuration.
fn refuse_nginx(text: &str, out: &mut dyn Write) -> io::Result<()> {
    if text.contains([';', '{', '}', '"', '\'', '\\', '$', '#', ' ', '*', '~']) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a value that nginx would not read as one word",
        ));
    }
    refuse_control(text, out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn site(domain: &str) -> SiteVars<'static> {
        SiteVars {
            name: "blog",
            fronts: vec![Front {
                names: vec![Name { host: domain.into(), wildcard: false }],
                scheme: "http",
                ..Front::default()
            }],
            http2: Http2::default(),
            challenges: "/var/lib/hostkit/acme".into(),
            tls_settings: "/etc/nginx/x.conf".into(),
            access_log: "/var/log/nginx/hostkit-blog.log".into(),
            ipv6: true,
            mode: SiteMode::Proxy,
            port: 8001,
            servers: vec![Server { port: 8001, backup: false }],
            web_root: String::new(),
            spa: false,
            whole: false,
            socket: "/run/x.sock".into(),
            fingerprint: String::new(),
        }
    }

    fn code(error: &anyhow::Error) -> Code {
        error.downcast_ref::<Fault>().unwrap().code
    }

    #[test]
    fn a_value_that_would_be_live_is_refused_even_if_it_got_this_far() {
        let templates = Templates::new(&[]).unwrap();
        assert!(templates.site(&site("blog.example")).is_ok());
        for bad in ["a; } server {", "a\nb", "$hostname", "~^.*$"] {
            assert_eq!(code(&templates.site(&site(bad)).unwrap_err()), Code::InvalidTemplate, "{bad:?}");
        }
    }

    #[test]
    fn the_fingerprint_changes_with_the_text_and_only_with_it() {
        let templates = Templates::new(&[]).unwrap();
        let (body, print) = templates.site(&site("a.example")).unwrap();
        assert!(body.contains(&print));
        assert_eq!(templates.site(&site("a.example")).unwrap().1, print);
        assert_ne!(templates.site(&site("b.example")).unwrap().1, print);
    }

    #[test]
    fn a_broken_override_is_named_with_its_place() {
        for text in
            ["{{ domain", "{{ nothing }}", "{% if misspelt %}x{% endif %}{{ fingerprint }}", "no fingerprint"]
        {
            let error = Templates::new(&[("nginx-site.conf".into(), text.into())])
                .and_then(|t| t.site(&site("a.example")).map(drop))
                .unwrap_err();
            assert_eq!(code(&error), Code::InvalidTemplate, "{text}");
            assert!(error.to_string().contains("nginx-site.conf"), "{error}");
        }
    }
}
