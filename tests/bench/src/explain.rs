//! Where the time goes, for what took longer than it should.

use crate::{Error, server::Server, trace::trace};

/// How many calls are worth naming.
const CALLS: usize = 6;

/// Runs a command once more, traced, and prints what it waited for.
pub(crate) fn explain(server: &Server, args: &[&str]) -> Result<(), Error> {
    let trace = trace(server, args)?;
    println!("\nwhere the time goes: hostkit {}   ({:.0} ms under strace)", args.join(" "), trace.total);
    for (program, ms) in &trace.programs {
        println!("    {ms:7.1} ms  child   {}", program.chars().take(90).collect::<String>());
    }
    let mut calls: Vec<_> = trace.calls.iter().collect();
    calls.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    for (call, (ms, number)) in calls.into_iter().take(CALLS) {
        println!("    {ms:7.1} ms  {number:5} × {call}");
    }
    println!("    (threads wait side by side, so these may add up to more than the whole)");
    Ok(())
}
