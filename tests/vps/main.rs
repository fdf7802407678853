//! Scenarios on real parts: a booted systemd, a real nginx, real accounts and real processes.
//!
//! Every test boots a server of its own (under a second) from a layer that the real `install.sh` made,
//! calls the real program as a person or a CI job would, and looks at the result from outside. Run them
//! with `tests/run vps [FILTER]`; without the environment variable `HOSTKIT_BINARY` they skip themselves.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may stop where it stands and talk to the terminal; it is not part of the program"
)]

// The harness.
mod call;
mod image;
mod offsite;
mod server;
mod snapshot;
mod source;
mod vps;
mod web;

// The scenarios.
mod applications;
mod backup;
mod builds;
mod caller;
mod counted;
mod damage;
mod data;
mod database;
mod environment;
mod failing;
mod foreign;
mod front;
mod git;
mod handover;
mod hostile;
mod killed;
mod load;
mod malicious;
mod own_redis;
mod php;
mod poison;
mod power;
mod probation;
mod redis;
mod refused;
mod release_phase;
mod runtimes;
mod sandbox;
mod sources;
mod storage;
mod story;
mod survival;
mod together;
mod traces;
mod walls;
