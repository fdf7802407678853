//! Measures HostKit on a booted server, beside the fastest way to do the same by hand.
//!
//! One program in three places. Started without a word it stands outside: it boots a server, sends
//! itself in, reads what comes back and prints the table. `inside` takes the time on the server, where
//! no network or namespace lies between a command and the clock. `floor` is the other side: a program
//! that knows nothing but the one job, started like `hostkit` as a process of its own.
//!
//! Both sides do their work in one run and in turn, so that whatever else the machine does meets both;
//! what counts is the ratio of their medians. Times never fail the run, counted things do.

mod count;
mod explain;
mod floor;
mod inside;
mod outside;
mod server;
mod stats;
mod table;
mod trace;
mod web;

use std::process::ExitCode;

/// Why a measurement could not be made.
type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.split_first() {
        Some((&"floor", rest)) => floor::main(rest).map(|()| true),
        Some((&"inside", rest)) => inside::main(rest).map(|()| true),
        _ => outside::main(&words),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
