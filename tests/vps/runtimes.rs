//! How an app says the way it runs: a start command, a Procfile, `hostkit.toml`.

use crate::{source::Source, vps::Vps};

/// A server in Python that needs no package, and answers `text`.
fn script(text: &str) -> String {
    format!(
        "import os, http.server\n\
         class H(http.server.BaseHTTPRequestHandler):\n\
         \x20   def do_GET(self):\n\
         \x20       self.send_response(200); self.end_headers(); self.wfile.write(b'{text}')\n\
         http.server.HTTPServer((os.environ['HOST'], int(os.environ['PORT'])), H).serve_forever()\n"
    )
}

#[test]
fn a_procfile_starts_any_command() {
    let Some(vps) = Vps::boot() else { return };
    let source =
        Source::empty().file("Procfile", "web: python3 serve.py\n").file("serve.py", script("by procfile"));
    vps.live("blog", &source);
    vps.expect_answer("blog", "by procfile");
}

#[test]
fn a_start_command_of_the_project_wins() {
    let Some(vps) = Vps::boot() else { return };
    vps.hostkit(["provision", "blog", "--start-cmd", "python3 main.py --port ${PORT}"]).ok();
    vps.deploy("blog", &Source::empty().file("main.py", script("by start-cmd")));
    vps.expect_answer("blog", "by start-cmd");
    vps.expect_healthy();
}

#[test]
fn a_program_in_the_source_can_be_the_start_command() {
    let Some(vps) = Vps::boot() else { return };
    let source = Source::empty()
        .program("bin/serve", format!("#!/usr/bin/env python3\n{}", script("by program")))
        .file("hostkit.toml", "start = \"bin/serve\"\n");
    vps.live("blog", &source);
    vps.expect_answer("blog", "by program");
}

#[test]
fn shared_directories_outlive_deploys_and_rollbacks() {
    let Some(vps) = Vps::boot() else { return };
    let app = |version: u32| {
        Source::node(&format!(
            "if (request.url === '/write') fs.appendFileSync('data/notes/all', 'note\\n');\n\
             let all = ''; try {{ all = fs.readFileSync('data/notes/all', 'utf8'); }} catch (e) {{ }}\n\
             response.end(`v{version} ${{all.split('note').length - 1}} notes`);"
        ))
        .file("hostkit.toml", "runtime = \"node\"\nshared = [\"data/notes\"]\n")
    };
    vps.live("blog", &app(1));
    assert!(vps.visit("blog", "/write").says("1 notes"), "{}", vps.visit("blog", "/"));
    vps.deploy("blog", &app(2));
    assert!(vps.visit("blog", "/write").says("v2 2 notes"), "{}", vps.visit("blog", "/"));
    vps.hostkit(["rollback", "blog"]).ok();
    vps.expect_answer("blog", "v1 2 notes");
    vps.expect_healthy();
}

#[test]
fn a_single_page_app_answers_unknown_paths_with_its_page() {
    let Some(vps) = Vps::boot() else { return };
    let toml = |spa: bool| format!("runtime = \"static\"\nspa = {spa}\n");
    vps.live("blog", &Source::page("the page").file("hostkit.toml", toml(true)));
    assert!(vps.visit("blog", "/some/where").says("the page"), "{}", vps.visit("blog", "/some/where"));
    vps.deploy("blog", &Source::page("the page").file("hostkit.toml", toml(false)));
    assert_eq!(vps.visit("blog", "/some/where").status, 404);
}

#[test]
fn files_beginning_with_a_dot_are_never_served() {
    let Some(vps) = Vps::boot() else { return };
    let source = Source::page("fine").file(".env", "SECRET=1\n").file(".git/config", "[core]\n");
    vps.live("blog", &source);
    vps.expect_answer("blog", "fine");
    for path in ["/.env", "/.git/config", "/hostkit.toml/../.env", "/../.env", "/%2e%2e/.env"] {
        let answer = vps.visit("blog", path);
        assert!(answer.status >= 400, "{path}: {answer}");
    }
}

#[test]
fn a_mistake_in_hostkit_toml_is_pointed_at() {
    let Some(vps) = Vps::boot() else { return };
    vps.live("blog", &Source::page("before"));
    for (text, place) in [
        ("runtime = \"cobol\"\n", "1:"),
        ("runtime = \"static\"\nunknown = 1\n", "2:"),
        ("runtime = \"static\"\n\nspa = 5\n", "3:"),
    ] {
        let source = Source::page("after").file("hostkit.toml", text);
        let call = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(source.tar_gz());
        let output = call.refused(3, "INVALID_CONFIG");
        let message = output.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        output.check(
            message.contains("hostkit.toml") && message.contains(place),
            &format!("file and place {place}"),
        );
        vps.expect_answer("blog", "before");
    }
}

#[test]
fn a_required_variable_without_a_value_is_named() {
    let Some(vps) = Vps::boot() else { return };
    let source = Source::example("node")
        .file("hostkit.toml", "runtime = \"node\"\n\n[env]\nrequired = [\"API_KEY\"]\n");
    vps.hostkit(["provision", "blog", "--node"]).ok();
    let call = vps.hostkit(["deploy", "blog", "--source", "-"]).stdin(source.tar_gz());
    call.refused(3, "ENV_MISSING").says("API_KEY");
}
