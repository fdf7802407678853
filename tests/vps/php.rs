//! Applications in PHP: no request fails, no code of one release meets another's, and nothing that was
//! uploaded is run.

use crate::{image::DOMAIN, load::generator::Load, source::Source, vps::Vps};

/// An application in two files that must be of one release, with a place for uploads.
fn app(version: u32) -> Source {
    let index = "<?php
require __DIR__.'/../src/version.php';
session_start();
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
usleep(2000);
if (VERSION !== basename(glob(__DIR__.'/*.version')[0], '.version')) { http_response_code(500); exit('mixed'); }
echo 'Version ', VERSION, ' ', $_SESSION['visits'], ' ', $_SERVER['REQUEST_URI'];
";
    Source::empty()
        .file("public/index.php", index)
        .file("public/style.css", format!("/* {version} */"))
        .file("public/.env", "TOKEN=hidden")
        .file(&format!("public/{version}.version"), "")
        .file("src/version.php", format!("<?php\nconst VERSION = '{version}';\n"))
        .file("hostkit.toml", "shared = [\"public/uploads\"]\n[health]\ndrain = 5\n")
}

#[test]
fn php_is_handed_over_under_load_and_runs_nothing_that_was_uploaded() {
    let Some(vps) = Vps::with().tools().boot() else { return };
    vps.live("blog", &app(1));
    vps.expect_answer("blog", "Version 1 1 /");

    // Who serves what.
    assert!(vps.visit("blog", "/style.css").says("/* 1 */"), "{}", vps.visit("blog", "/style.css"));
    assert!(vps.visit("blog", "/a/b?c=d").says("Version 1 1 /a/b?c=d"), "{}", vps.visit("blog", "/a/b?c=d"));
    for path in ["/.env", "/style.css/x.php", "/none.php"] {
        let answer = vps.visit("blog", path);
        assert!(answer.status == 404 || answer.says("Version 1"), "{path}: {answer}");
        assert!(!answer.body.contains("hidden") && !answer.body.contains("/* 1 */"), "{path}: {answer}");
    }
    // Somebody uploads a program, a program that claims to be a picture, and links to secrets.
    vps.sh("cd /home/blog/shared/public/uploads
         printf '<?php echo 6*7, \"executed\";' >evil.php
         cp evil.php evil.jpg
         ln -s /home/blog/.env env.txt
         chown -h blog:blog evil.php evil.jpg env.txt")
        .ok();
    for path in ["evil.php", "evil.jpg", "evil.jpg/x.php", "env.txt", "evil.php/x"] {
        let answer = vps.visit("blog", &format!("/uploads/{path}"));
        let body = &answer.body;
        assert!(!body.contains("42executed") && !body.contains("PORT="), "{path}: {answer}");
        assert!(!body.contains("<?php"), "{path}: {answer}");
    }
    // What nginx could read if somebody made it.
    let closed = "setpriv --reuid www-data --regid www-data --clear-groups cat /home/blog/app/";
    for path in ["public/index.php", "public/.env", "src/version.php", "hostkit.toml"] {
        assert_ne!(vps.sh(&format!("{closed}{path}")).run().code, 0, "{path}");
    }
    vps.sh(&format!("{closed}public/style.css")).ok();

    vps.hostkit(["scale", "blog", "web=2"]).ok();
    let load = Load::begin(&vps.server().address, &format!("blog.{DOMAIN}"), "Version ");
    for version in 2..5 {
        vps.deploy("blog", &app(version));
        vps.expect_answer("blog", &format!("Version {version} "));
        let style = vps.visit("blog", "/style.css");
        assert!(style.says(&format!("/* {version} */")), "{style}");
    }
    vps.hostkit(["rollback", "blog"]).ok();
    vps.expect_answer("blog", "Version 3 ");
    vps.hostkit(["restart", "blog"]).ok();
    // A release that fails stops nothing.
    let broken = app(9)
        .file("public/index.php", "<?php nonsense(")
        .file("hostkit.toml", "[health]\npath = \"/\"\ntimeout = 5\n");
    let call = vps.hostkit(["deploy", "blog", "--source", "-", "--override-ratelimit"]);
    call.stdin(broken.tar_gz()).refused(9, "UNHEALTHY").says("answered 500").says("Parse error");
    vps.expect_answer("blog", "Version 3 ");
    let failures = load.end().failures();
    assert!(failures.is_empty(), "{failures:#?}");

    vps.reboot();
    vps.wait_for_answer("blog", "Version 3 ");
    vps.expect_healthy();
}
