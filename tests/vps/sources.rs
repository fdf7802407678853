//! Where a source comes from besides an archive on standard input, and what it would be taken for.

use crate::{source::Source, vps::Vps};

#[test]
fn a_zip_file_a_directory_and_what_was_built_become_releases() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["project", "create", "blog"]).ok();
    let site = Source::page("a page").file(".gitignore", "dist/\n").file("dist/big", "left out");
    vps.put("/root/site", &site);
    vps.sh("python3 -c \"import shutil; shutil.make_archive('/root/site', 'zip', '/root/site')\"").ok();
    vps.hostkit(["deploy", "blog", "--source", "/root/site.zip"]).ok();
    vps.expect_answer("blog", "a page");
    // What is ignored is sent neither from a directory nor, of a page that was built, left out.
    vps.hostkit(["deploy", "blog", "--source", "/root/site"]).ok();
    vps.sh("test -e /home/blog/app/index.html && ! test -e /home/blog/app/dist").ok();
    let built = Source::empty()
        .file(".gitignore", "dist/\n")
        .file("package.json", r#"{"scripts":{"build":"vite build"},"devDependencies":{"vite":"5"}}"#)
        .file("dist/index.html", "<p>built before</p>");
    vps.put("/root/built", &built);
    vps.hostkit(["deploy", "blog", "--artifact", "/root/built"]).ok();
    vps.expect_answer("blog", "built before");
    vps.expect_healthy();
}

#[test]
fn detect_reads_what_the_caller_may_read_and_says_what_is_missing() {
    let Some(vps) = Vps::with().user("eve").boot() else { return };
    let package = r#"{"scripts":{"build":"vite build"},"devDependencies":{"vite":"5"}}"#;
    vps.put("/root/built", &Source::empty().file("package.json", package));
    let said = vps.hostkit(["detect", "/root/built", "--json"]).ok().json();
    assert_eq!(said["data"]["app"]["recipe"]["framework"], "Vite");
    assert_eq!(said["data"]["missing"][0]["program"], "npm");
    vps.hostkit(["detect", "/root/built"]).as_user("eve").refused(3, "INVALID_SOURCE");
    vps.put("/srv/open", &Source::empty().file("package.json", package));
    vps.hostkit(["detect", "/srv/open"]).as_user("eve").ok().says("npm run build");
}
