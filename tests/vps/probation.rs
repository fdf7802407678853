//! A release that crashes again and again in its first minutes is taken back by itself.

use crate::{source::Source, vps::Vps};

/// Answers for so many milliseconds, and crashes.
fn mortal(ms: u32) -> Source {
    let script = format!(
        "require('http').createServer((q, r) => r.end('mortal')).listen(process.env.PORT, process.env.HOST);\n\
         setTimeout(() => {{ console.error('no more'); process.exit(1); }}, {ms});\n"
    );
    Source::empty()
        .file("package.json", r#"{"name":"mortal","version":"1.0.0","main":"index.js"}"#)
        .file("index.js", script.as_str())
        .file("hostkit.toml", "runtime = \"node\"\n")
}

#[test]
fn a_crash_loop_ends_with_the_release_before_it() {
    let Some(vps) = Vps::with().user("eve").boot() else { return };
    let good = vps.live("blog", &Source::example("node"));
    let bad = vps.deploy("blog", &mortal(3000));
    let timers = "systemctl list-timers --all --no-legend 'hostkit-blog_probation-*' | wc -l";
    assert_eq!(vps.sh(timers).ok().stdout.trim(), "1");
    // Who watches is no command of anybody's.
    let words = ["__watch", "--", "blog", bad.as_str()];
    vps.hostkit(words).as_user("eve").expect_code(2);
    vps.hostkit(["rollback", "blog", "--probation", bad.as_str()]).expect_code(2);
    // A boot does not end it.
    vps.reboot();
    vps.wait_for("the timer to be there again", || vps.sh(timers).ok().stdout.trim() == "1");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(100);
    while !vps.releases("blog").iter().any(|r| r["id"] == good.as_str() && r["state"] == "live") {
        assert!(std::time::Instant::now() < end, "it is not taken back\n{}", vps.diagnosis());
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    vps.wait_for_answer("blog", "Version 1");
    vps.wait_for("the timer to go", || vps.sh(timers).ok().stdout.trim() == "0");
    vps.hostkit(["status", "blog"]).ok().says(&format!("{bad} was taken back by itself"));
    vps.hostkit(["doctor"]).expect_code(12).says("taken back by itself");
    vps.hostkit(["history", "blog"]).ok().says("probation");
    vps.hostkit(["logs", "blog"]).ok().says(&format!("the release {bad} is taken back"));
    vps.deploy("blog", &Source::example("node"));
    vps.expect_healthy();
}
