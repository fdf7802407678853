//! Commands about the program itself: completions, manual pages, help topics, and the hidden reader
//! of sources.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Verb, answer::Answer, context::Context, policy::Policy};
use crate::domain::fault::{Code, Fault};

/// Print the completions for a shell
#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

impl Verb for CompletionsArgs {
    const NAME: &'static str = "completions";
    const POLICY: Policy = Policy::Anyone;
    const EXAMPLES: &'static [&'static str] = &["hostkit completions bash"];

    fn run(self, _: &mut Context) -> Result<Answer> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "hostkit", &mut script);
        let script = String::from_utf8(script).context("a script of completions")?;
        Ok(Answer::new(script.trim_end(), json!({ "script": script })))
    }
}

/// Write the manual pages into a directory
#[derive(Args, Clone, Debug)]
pub(crate) struct ManArgs {
    /// The directory
    directory: PathBuf,
}

impl Verb for ManArgs {
    const NAME: &'static str = "man";
    // It writes where it is told to, as root.
    const POLICY: Policy = Policy::Root;
    const EXAMPLES: &'static [&'static str] = &["hostkit man ."];

    fn run(self, cx: &mut Context) -> Result<Answer> {
        let directory = cx.absolute(&self.directory.into_os_string());
        clap_mangen::generate_to(super::command(), &directory)
            .with_context(|| format!("writing manual pages into `{}`", directory.display()))?;
        Ok(Answer::new(
            format!("wrote the manual pages into {}", directory.display()),
            json!({ "directory": directory }),
        ))
    }
}

/// Something `help` can explain besides the commands.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Topic {
    /// What the exit statuses and error codes mean
    ExitCodes,
    /// What `--json` answers
    Json,
    /// The file `hostkit.toml` in a source
    #[value(name = "hostkit.toml")]
    HostkitToml,
}

/// Show help: the overview, or one of the topics
#[derive(Args, Clone, Debug)]
pub(crate) struct HelpArgs {
    /// A command (`hostkit help deploy`) or a topic: exit-codes, json, hostkit.toml
    words: Vec<String>,
}

impl Verb for HelpArgs {
    const NAME: &'static str = "help";
    const POLICY: Policy = Policy::Anyone;
    const EXAMPLES: &'static [&'static str] =
        &["hostkit help exit-codes", "hostkit help json", "hostkit help hostkit.toml", "hostkit help deploy"];

    fn run(self, _: &mut Context) -> Result<Answer> {
        if let [word] = self.words.as_slice()
            && let Ok(topic) = Topic::from_str(word, false)
        {
            let text = match topic {
                Topic::ExitCodes => exit_codes(),
                Topic::Json => JSON.to_owned(),
                Topic::HostkitToml => HOSTKIT_TOML.to_owned(),
            };
            return Ok(Answer::new(text.trim_end(), json!({ "text": text })));
        }
        let mut command = super::command();
        command.build();
        let mut at = &mut command;
        for word in &self.words {
            let Some(below) = at.find_subcommand_mut(word) else {
                let word = word.escape_debug();
                bail!(
                    Fault::new(Code::Usage, format!("there is no command and no topic `{word}`"))
                        .next("hostkit --help")
                )
            };
            at = below;
        }
        let text = at.render_long_help().to_string();
        Ok(Answer::new(text.trim_end(), json!({ "text": text })))
    }
}

/// The exit statuses with the codes that lead to them.
pub(crate) fn exit_codes() -> String {
    let mut text = String::from(
        "EXIT  CODE                  MEANING\n   0                        Done, or already so\n",
    );
    for code in Code::ALL {
        text.push_str(&format!("{:>4}  {:<20}  {}\n", code.exit(), code.text(), code.meaning().trim()));
    }
    text
}

const JSON: &str = "\
With `--json` every command writes exactly one object to standard output, also when it fails:

  schema    \"hostkit/1\"
  ok        whether it did what was asked and found nothing wrong
  command   the command, such as \"deploy\" or \"project list\"
  changed   whether anything on the host changed
  project   the project it was about, or null
  data      the answer; null on failure
  warnings  [{message}]
  error     null, or {code, exit, message, context, state, hint}; `hostkit help exit-codes` lists the codes
  next      commands that lead on

Fields are added, never renamed or removed, as long as the schema is \"hostkit/1\".
";

const HOSTKIT_TOML: &str = "\
A source may say in `hostkit.toml` how it is run. Flags come before it; what it leaves out is detected.

  runtime = \"node\"              # static, node, python, nextjs, php, ruby or command
  framework = \"django\"          # when the source looks like more than one
  install = \"npm ci\"            # a command, or a list of them; [] is none
  build = [\"npm run css\", \"npm run build\"]
  output = \"dist\"               # what nginx serves, when it is not found
  release = \"node migrate.js\"   # once before the release runs: changes the database; with a bound:
                                # release = { command = \"node migrate.js\", timeout = 1800 }
  start = \"node server.js\"      # words, or an array of them; no shell; $PORT is filled in
  strategy = \"restart\"          # when it cannot run twice; without it \"rolling\"
  spa = true                    # static: an unknown path gets index.html
  shared = [\"uploads\"]          # directories that outlive releases, kept in shared/

  # Where a build needs more than usual, a table instead of `build`; `hostkit rails` says how much it may have.
  # [build]
  # commands = [\"npm run css\", \"npm run build\"]
  # memory = \"2G\"               # and disk = \"20G\", timeout = 1800 (seconds), tasks = 1024,
  # cpu = 200                   # of 100 for each processor

  [processes]                   # what else runs; lines of a Procfile do the same
  worker = \"celery -A shop worker\"
  tidy = { cron = \"0 3 * * *\", command = \"python tidy.py\" }

  [health]
  path = \"/healthz\"             # must answer 200; without it, / must answer below 500
  status = 204                  # what the path must answer instead
  timeout = 120                 # seconds, 1 to 600, until it must be healthy
  interval = 1                  # seconds between two questions, 1 to 60
  grace = 0                     # seconds it must go on after its first good answer, 0 to 600
  drain = 30                    # seconds an old process may go on with what it is answering, 0 to 600

  [env]
  required = [\"API_KEY\"]        # a deploy without a value for these is refused
";
