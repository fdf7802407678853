//! HTTP as both halves speak it: with deadlines, and with errors that never carry an address, because
//! the address of an S3 request is signed and would let its reader in.

use std::{
    io::{ErrorKind, Read},
    time::Duration,
};

use anyhow::{Result, anyhow};
use ureq::{
    Agent, Body,
    http::{Request, Response},
};

use crate::domain::fault::{Code, Fault};

/// How long a store may take to take a call.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take to begin to answer: it may have to join the parts of a large object first.
const ANSWER: Duration = Duration::from_mins(2);
/// How long one piece of a body may take.
const PIECE: Duration = Duration::from_mins(1);
/// The longest answer that is not an object, in bytes.
const LIMIT: u64 = 8 << 20;

/// Makes the caller of stores. It follows no redirect, because a signature is for one host, and takes
/// no proxy from the environment.
pub(super) fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(ANSWER))
        .timeout_per_read(Some(PIECE))
        .timeout_per_write(Some(PIECE))
        .user_agent("hostkit")
        .build()
        .into()
}

/// Asks, and returns what is answered whatever it is. `whom` names the store in the fault.
///
/// A connection that was kept from an earlier call may have been closed at the other end meanwhile, which is
/// seen only when it is used: a store that refuses something large closes it, and a busy one before its answer
/// is read. What is asked here may be asked again, so it is, once, over a new one.
pub(super) fn ask(agent: &Agent, request: Request<&[u8]>, whom: &str) -> Result<Response<Body>> {
    match agent.run(request.clone()) {
        Err(ureq::Error::Io(error)) if is_closed(error.kind()) => agent.run(request),
        answer => answer,
    }
    .map_err(|error| silent(&error, whom))
}

/// Whether the other end has gone away from a connection that was there.
fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::NotConnected
    )
}

/// The text of an answer.
pub(super) fn text(response: &mut Response<Body>, whom: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let read = response.body_mut().as_reader().take(LIMIT).read_to_end(&mut bytes);
    read.map_err(|error| anyhow!("the answer of the object storage {whom} broke off: {}", error.kind()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A store that did not answer.
fn silent(error: &ureq::Error, whom: &str) -> anyhow::Error {
    let why = match error {
        ureq::Error::Io(error) => error.kind().to_string(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::ConnectionFailed => "connection refused".to_owned(),
        ureq::Error::Tls(why) => format!("no trusted connection: {why}"),
        ureq::Error::Rustls(why) => format!("no trusted connection: {why}"),
        _ => "the connection failed".to_owned(),
    };
    let fault = Fault::new(Code::ServiceDown, format!("the object storage {whom} does not answer: {why}"));
    if whom.starts_with("http://127.0.0.1") {
        fault.next("systemctl status hostkit-s3").into()
    } else {
        fault.next(format!("curl -I {whom}")).into()
    }
}
