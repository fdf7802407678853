//! The program as a user meets it, over fakes: exit status, standard output and standard error
//! together. What only a real server can show is in `tests/vps`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    reason = "tests may fail, and say when they skip"
)]

mod architecture;
mod deploy;
mod docs;
mod environment;
mod errors;
mod examples;
mod golden;
mod help;
mod json;
mod scene;
