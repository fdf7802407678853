//! Why a release does not start, where HostKit knows: variables that lead to services that are not there.

use crate::{
    domain::{
        env::EnvText,
        fault::{Code, Fault},
    },
    operation::session::Session,
    project::{ProjectSpec, database},
    system::postgres::PORT,
};

/// The services that a variable may lead to, by the beginning of its value, and their usual ports.
const SERVICES: &[(&str, u16)] = &[
    ("postgres://", PORT),
    ("postgresql://", PORT),
    ("mysql://", 3306),
    ("redis://", 6379),
    ("mongodb://", 27017),
    ("amqp://", 5672),
];
/// What this host calls itself.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Adds to a failure of a release why it came about, if a variable of the project's own part says so.
pub(super) fn explain(
    session: &Session<'_>,
    spec: &ProjectSpec,
    part: &EnvText,
    error: anyhow::Error,
) -> anyhow::Error {
    let is_silent = |fault: &Fault| {
        fault.why.is_none() && matches!(fault.code, Code::Unhealthy | Code::ReleasePhaseFailed)
    };
    // The state of the host is said around the fault: it is mended where it lies.
    let Some(fault) = error.downcast_ref::<Fault>().filter(|fault| is_silent(fault)) else { return error };
    let state = error.downcast_ref::<crate::operation::HostState>().cloned();
    let Some(why) = part.iter().find_map(|(key, value)| astray(session, spec, key.as_str(), value)) else {
        return error;
    };
    let told = anyhow::Error::new(fault.clone().because(Some(why)));
    match state {
        Some(state) => told.context(state),
        None => told,
    }
}

/// What is wrong with where a variable leads. Its value may hold a password: only the place is said.
fn astray(session: &Session<'_>, spec: &ProjectSpec, key: &str, value: &str) -> Option<String> {
    let place = Place::of(value)?;
    let Place { service, port, name } = &place;
    let own = match &spec.database {
        Some(_) if service.starts_with("postgres") => {
            let (variable, own) = (database::VARIABLE, spec.name.database());
            format!("; the project's database is `{own}` on port {PORT}, as `{variable}` says")
        }
        _ => String::new(),
    };
    if session.host.net.listener(*port).ok()?.is_none() {
        return Some(format!("`{key}` leads to port {port} of this host, where nothing listens{own}"));
    }
    let other = spec.database.is_some() && *port == PORT && service.starts_with("postgres");
    (other && *name != spec.name.database().as_str())
        .then(|| format!("`{key}` leads to the database `{}`{own}", name.escape_debug()))
}

/// Where on this host a variable leads.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    service: &'static str,
    port: u16,
    /// The database.
    name: String,
}

impl Place {
    fn of(value: &str) -> Option<Self> {
        let (service, usual) = SERVICES.iter().find(|(scheme, _)| value.starts_with(scheme))?;
        let rest = &value[service.len()..];
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = match place.rsplit_once(':').filter(|_| !place.ends_with(']')) {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (place, *usual),
        };
        let name = path.split('?').next().unwrap_or_default().to_owned();
        HERE.contains(&host).then_some(Self { service, port, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_on_this_host_is_taken_apart_without_its_password() {
        let place = |value| Place::of(value).map(|place| (place.port, place.name));
        assert_eq!(place("postgres://u:p@localhost:5433/app?x=1"), Some((5433, "app".to_owned())));
        assert_eq!(place("postgresql://u:a@b:c@127.0.0.1/app"), Some((5432, "app".to_owned())));
        assert_eq!(place("redis://[::1]"), Some((6379, String::new())));
        assert_eq!(place("redis://cache.example.com:6379"), None);
        assert_eq!(place("https://localhost/"), None);
        assert_eq!(place("postgres://localhost:port/"), None);
    }
}
