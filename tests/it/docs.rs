//! Documentation is tested like code.

use crate::{help::COMMANDS, scene::Scene};

fn between<'t>(text: &'t str, name: &str) -> &'t str {
    let after =
        text.split(&format!("<!-- {name} -->")).nth(1).unwrap_or_else(|| panic!("no `{name}` marker"));
    after.split(&format!("<!-- /{name} -->")).next().unwrap().trim()
}

#[test]
fn the_readme_lists_the_exit_codes_as_the_program_does() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let told = between(&readme, "exit-codes").trim_start_matches("```text").trim_matches('`').trim();
    let real = Scene::bare().hostkit(&["help", "exit-codes"]).ok().stdout;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write("README.md", readme.replace(told, real.trim())).unwrap();
        return;
    }
    assert_eq!(told, real.trim(), "run `UPDATE_DOCS=1 cargo test --all-features docs`");
}

/// `UPDATE_DOCS=1` writes the page anew.
#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let mut text = String::new();
    for command in COMMANDS.iter().filter(|c| !c.is_empty()) {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = Scene::unfiltered(&args);
        text.push_str(&format!("## `hostkit {command}`\n\n```text\n{}\n```\n\n", help.trim()));
    }
    let page = std::fs::read_to_string("docs/COMMANDS.md").unwrap();
    let told = between(&page, "commands");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write("docs/COMMANDS.md", page.replace(told, text.trim())).unwrap();
        return;
    }
    assert_eq!(told, text.trim(), "run `UPDATE_DOCS=1 cargo test --all-features docs`");
}
