//! The program; all of it will be in the library.

fn main() {}
