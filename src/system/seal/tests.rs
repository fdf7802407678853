//! Sealing, on real files.
#![allow(clippy::unwrap_used, reason = "tests may fail")]
