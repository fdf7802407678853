//! Connecting to the server, with a deadline.
//!
//! The server knows its superuser by the account a connection comes from. Only the thread that connects
//! takes that account, and it ends at once; the rest of the process stays what it is.

use std::{cell::RefCell, path::Path, sync::mpsc, time::Duration};

use anyhow::{Context, Result, anyhow};
use postgres::{Client, Config, NoTls, SimpleQueryMessage, error::SqlState};
use rustix::process::Uid;

use super::{PORT, SUPERUSER, not_installed};
use crate::domain::{
    fault::{Code, Fault},
    secret::Secret,
};

/// Where the distribution's server has its socket.
pub(super) const SOCKET: &str = "/run/postgresql";
/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What connections of this program are called, with the number of the process.
const NAME: &str = "hostkit";
/// How often the server is looked at while it ends what the dead began, and how long between.
const SETTLE_TRIES: usize = 600;
const SETTLE_PACE: Duration = Duration::from_millis(50);
/// No search path: nothing that somebody put in the way is called. Nobody is waited for longer than this.
const SUPERUSER_OPTIONS: &str = "-c search_path= -c lock_timeout=20s -c statement_timeout=10min";

/// A connection to a database as the superuser.
pub(super) fn superuser(database: &str) -> Result<Client> {
    let account = users::get_user_by_name(SUPERUSER).ok_or_else(not_installed)?;
    let mut config = Config::new();
    config.host_path(SOCKET).port(PORT).user(SUPERUSER).dbname(database).options(SUPERUSER_OPTIONS);
    connect(config, Some(Uid::from_raw(account.uid())))
}

/// A connection as the role whose address this is. `options` are settings for it.
pub(in crate::system) fn role(url: &Secret, options: &str) -> Result<Client> {
    // The address is not in an error of its parser, but the less that is said the better.
    let config: Config = url.reveal().parse().map_err(|_| anyhow!("the database's address is damaged"))?;
    // Over the socket, where only the server can listen. On a port anybody may, who is then told the
    // password.
    let mut here = Config::new();
    here.host_path(SOCKET).port(PORT).options(options);
    here.user(config.get_user().unwrap_or_default()).dbname(config.get_dbname().unwrap_or_default());
    here.password(config.get_password().unwrap_or_default());
    connect(here, None)
}

/// Waits until the server is done with what dead processes of HostKit's told it: it goes on with a
/// statement when whoever gave it is gone, and what is to be undone might not be there yet.
fn settle(client: &mut Client) -> Result<()> {
    let at_work = format!(
        "SELECT application_name FROM pg_stat_activity WHERE usename = '{SUPERUSER}' AND application_name LIKE '{NAME}-%'"
    );
    for _ in 0..SETTLE_TRIES {
        let answer = client.simple_query(&at_work).map_err(|error| explain(&error))?;
        let dead = |message: &SimpleQueryMessage| {
            let SimpleQueryMessage::Row(row) = message else { return false };
            let process = row.get(0).and_then(|name| name.rsplit_once('-')).map(|(_, process)| process);
            process.is_some_and(|process| !Path::new("/proc").join(process).exists())
        };
        if !answer.iter().any(dead) {
            return Ok(());
        }
        std::thread::sleep(SETTLE_PACE);
    }
    Err(Fault::new(Code::Busy, "PostgreSQL still works on what an interrupted `hostkit` began")
        .next("try again when it has ended")
        .into())
}

fn connect(mut config: Config, account: Option<Uid>) -> Result<Client> {
    let name = format!("{NAME}-{}", std::process::id());
    config.application_name(&name).connect_timeout(PATIENCE);
    let (done, wait) = mpsc::channel();
    // A server that has stopped answers nothing, and takes as long as it likes for that.
    std::thread::spawn(move || {
        let account = match account {
            Some(uid) => rustix::thread::set_thread_res_uid(None::<Uid>, uid, None::<Uid>),
            None => Ok(()),
        };
        let client = account
            .context("becoming the account of the database server")
            .and_then(|()| config.connect(NoTls).map_err(|error| explain(&error)));
        // Nobody to hear it any more is no failure.
        let _ = done.send(client);
    });
    match wait.recv_timeout(PATIENCE) {
        Ok(client) => client,
        Err(_) => Err(down(&format!("does not answer within {} s", PATIENCE.as_secs())).into()),
    }
}

fn down(how: &str) -> Fault {
    Fault::new(Code::ServiceDown, format!("PostgreSQL {how}"))
        .next("systemctl start postgresql")
        .next("pg_lsclusters    # shows which servers there are, and where they write their log")
}

/// What the server said, in its own words. Never the statement: it may be somebody's data.
pub(in crate::system) fn explain(error: &postgres::Error) -> anyhow::Error {
    let Some(said) = error.as_db_error() else {
        return if error.is_closed() {
            down("closed the connection").into()
        } else {
            let cause =
                std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
            down(&format!("cannot be reached on `{SOCKET}` and port {PORT}: {cause}")).into()
        };
    };
    let state = said.code();
    let message = match said.detail() {
        Some(detail) => format!("{} ({detail})", said.message()),
        None => said.message().to_owned(),
    };
    let hint = |fault: Fault| match said.hint() {
        Some(hint) => fault.next(hint),
        None => fault,
    };
    let fault = |code, message: String| hint(Fault::new(code, message));
    if [SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(state) {
        return down(&format!("is not ready: {message}")).into();
    }
    if *state == SqlState::DISK_FULL {
        return fault(Code::DiskFull, format!("PostgreSQL has no room left: {message}")).into();
    }
    if [SqlState::OBJECT_IN_USE, SqlState::LOCK_NOT_AVAILABLE, SqlState::TOO_MANY_CONNECTIONS].contains(state)
    {
        return fault(Code::Busy, format!("PostgreSQL is busy: {message}")).into();
    }
    if *state == SqlState::INVALID_PASSWORD || *state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        return fault(Code::NotPermitted, format!("PostgreSQL lets nobody in: {message}")).into();
    }
    // An error in what was asked is the caller's; the rest would be ours.
    fault(Code::InvalidValue, format!("PostgreSQL refuses: {message}")).into()
}

/// The superuser's connection, opened when it is first needed and kept until it breaks.
#[derive(Default)]
pub(super) struct Kept(RefCell<Option<Client>>);

impl Kept {
    /// Does something over the connection to the common database `postgres`.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>) -> Result<T> {
        let mut kept = self.0.borrow_mut();
        if kept.as_ref().is_none_or(Client::is_closed) {
            let mut client = superuser("postgres")?;
            settle(&mut client)?;
            *kept = Some(client);
        }
        let client = kept.as_mut().context("the connection was just opened")?;
        work(client).map_err(|error| explain(&error))
    }
}
