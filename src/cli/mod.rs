//! Words in, an exit status out. Knows clap and the operations; touches nothing itself.

mod answer;
mod attach;
mod backup;
mod backup_keep;
mod builds;
mod checkpoint;
mod context;
mod db;
mod db_look;
mod detect;
mod doctor;
mod domain;
mod edit;
mod env;
mod git;
mod host;
mod lifecycle;
mod logs;
mod meta;
mod policy;
mod project;
mod provision;
mod rails;
mod redis;
mod release;
mod report;
mod rotation;
mod scale;
mod secrets;
mod ssl;
mod status;
mod storage;
mod survive;
mod trash;
mod values;
mod variables;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::{answer::Answer, context::Context, policy::Policy};
use crate::{
    domain::name::ProjectName,
    operation::probation,
    system::{
        editor,
        source::{self, Reading},
    },
    ui,
};

/// A command: what it is called, who may call it, what it looks like in use, and what it does.
///
/// All four are part of the definition; a command without a policy does not compile.
trait Verb {
    /// Its name in answers and records.
    const NAME: &'static str;
    /// Who may call it.
    const POLICY: Policy;
    /// Real calls, shown first in its help and run as tests.
    const EXAMPLES: &'static [&'static str];

    /// The project it is about, if it is about one.
    fn project(&self) -> Option<&ProjectName> {
        None
    }
    /// Whether its work goes on when whoever called it has gone.
    fn survives(&self) -> bool {
        false
    }
    /// Whether it reads what is on standard input.
    fn reads_stdin(&self) -> bool {
        false
    }
    /// Asks whoever calls what has to be asked before anything begins; whether they said yes.
    fn ask(&self, _: &mut Context) -> Result<bool> {
        Ok(false)
    }
    /// Does it.
    fn run(self, cx: &mut Context) -> Result<Answer>;
}

/// HostKit turns one Linux server into a home for many projects
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "these are flags")]
#[command(name = "hostkit", version, disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    /// Answer with one JSON object on standard output
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// Say nothing while working
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    /// Use no colours (so does `NO_COLOR`)
    #[arg(long, global = true, help_heading = "Output")]
    no_color: bool,
    /// Say what is done as the log of a pipeline folds and marks it
    #[arg(long, global = true, value_name = "SERVICE", help_heading = "Output")]
    ci: Option<CiService>,
    /// Ask nothing, even on a terminal
    #[arg(long, global = true, help_heading = "Output")]
    no_input: bool,
    /// Do the work of a deploy in this process, which it ends with
    #[arg(long, global = true, hide = true)]
    foreground: bool,
    /// A directory that stands for `/`, with fakes for its daemons
    #[cfg(feature = "fake")]
    #[arg(long, global = true, hide = true)]
    root: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// Whose pipeline reads the log.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CiService {
    /// GitHub Actions
    Github,
    /// GitLab CI
    Gitlab,
}

impl From<CiService> for ui::Service {
    fn from(service: CiService) -> Self {
        match service {
            CiService::Github => Self::Github,
            CiService::Gitlab => Self::Gitlab,
        }
    }
}

/// A command with who may call it and its examples.
type Entry = (&'static str, Policy, &'static [&'static str]);

/// Declares the commands: one line each, and one for each group. The documentation comment of a
/// command's arguments is its help.
macro_rules! commands {
    (
        $($Variant:ident($module:ident::$Args:ident) = $name:literal;)+
        $([$Group:ident($home:ident) = $noun:literal, $about:literal];)+
    ) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $(#[command(name = $name)] $Variant($module::$Args),)+
            $(#[command(name = $noun, about = $about, subcommand)] $Group($home::Group),)+
        }

        impl Command {
            fn run(self, cx: &mut Context) -> Result<Answer> {
                match self {
                    $(Self::$Variant(args) => cx.call(args),)+
                    $(Self::$Group(command) => command.run(cx),)+
                }
            }
            fn name(&self) -> &'static str {
                match self {
                    $(Self::$Variant(_) => <$module::$Args as Verb>::NAME,)+
                    $(Self::$Group(command) => command.name(),)+
                }
            }
        }

        /// Every command with who may call it and its examples, for help and for tests.
        fn catalogue() -> Vec<Entry> {
            let mut all: Vec<Entry> = vec![$((<$module::$Args as Verb>::NAME, <$module::$Args as Verb>::POLICY, <$module::$Args as Verb>::EXAMPLES)),+];
            $(all.extend($home::Group::catalogue());)+
            all
        }

        /// What the help of a group opens with.
        fn overview(noun: &str) -> &'static [&'static str] {
            match noun {
                $($noun => $home::OVERVIEW,)+
                _ => &[],
            }
        }
    };
}

/// Declares the commands below a noun: `hostkit NOUN VERB`.
macro_rules! group {
    ($($Variant:ident($Args:ident) = $verb:literal;)+) => {
        /// The commands below the noun.
        #[derive(Debug, clap::Subcommand)]
        pub(crate) enum Group {
            $(#[command(name = $verb)] $Variant($Args),)+
        }

        impl Group {
            pub(super) fn run(self, cx: &mut Context) -> Result<Answer> {
                match self { $(Self::$Variant(args) => cx.call(args),)+ }
            }
            pub(super) fn name(&self) -> &'static str {
                match self { $(Self::$Variant(_) => <$Args as Verb>::NAME,)+ }
            }
            pub(super) fn catalogue() -> Vec<super::Entry> {
                vec![$((<$Args as Verb>::NAME, <$Args as Verb>::POLICY, <$Args as Verb>::EXAMPLES)),+]
            }
        }
    };
}
pub(crate) use group;

commands! {
    Init(host::InitArgs) = "init";
    Provision(provision::ProvisionArgs) = "provision";
    Deploy(release::DeployArgs) = "deploy";
    Detect(detect::DetectArgs) = "detect";
    Attach(attach::AttachArgs) = "attach";
    Rollback(release::RollbackArgs) = "rollback";
    Resume(rails::ResumeArgs) = "resume";
    Rails(rails::RailsArgs) = "rails";
    Releases(release::ReleasesArgs) = "releases";
    Status(status::StatusArgs) = "status";
    Logs(logs::LogsArgs) = "logs";
    Start(lifecycle::StartArgs) = "start";
    Stop(lifecycle::StopArgs) = "stop";
    Restart(lifecycle::RestartArgs) = "restart";
    Scale(scale::ScaleArgs) = "scale";
    Health(scale::HealthArgs) = "health";
    Doctor(doctor::DoctorArgs) = "doctor";
    Repair(doctor::RepairArgs) = "repair";
    History(host::HistoryArgs) = "history";
    Gc(host::GcArgs) = "gc";
    Completions(meta::CompletionsArgs) = "completions";
    Man(meta::ManArgs) = "man";
    Help(meta::HelpArgs) = "help";
    [Domain(domain) = "domain", "What projects answer to"];
    [Ssl(ssl) = "ssl", "Certificates of what projects answer to"];
    [Storage(storage) = "storage", "Look into a project's object storage, and change its key"];
    [Builds(builds) = "builds", "What builds wrote, and ending one that runs"];
    [Project(project) = "project", "Make, list, show, delete and bring back projects"];
    [Backup(backup) = "backup", "Back up everything a project stores, and go back to it"];
    [Checkpoint(checkpoint) = "checkpoint", "Keep a project's database as it is, and go back to it"];
    [Redis(redis) = "redis", "Look into a project's Redis, empty it, and change its password"];
    [Db(db) = "db", "A project's database: make it, ask it, copy it, change its password"];
    [Git(git) = "git", "The key with which a project reads its repositories"];
    [Env(env) = "env", "Show and change the variables of a project"];
    [Secrets(secrets) = "secrets", "Keep the secrets of a project in the vault"];
}

const HELP: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

const OVERVIEW: &[&str] = &[
    "hostkit provision blog --static",
    "hostkit deploy blog --source examples/static",
    "hostkit rollback blog",
    "hostkit status",
];

const TOPICS: &str = "Topics: `hostkit help exit-codes`, `hostkit help json`, `hostkit help hostkit.toml`";

/// The whole command line, with examples in front of every help.
fn command() -> clap::Command {
    let mut root = Cli::command().help_template(HELP).before_help(examples(OVERVIEW)).after_help(TOPICS);
    for (name, _, calls) in catalogue() {
        let mut path = name.split(' ');
        let (first, second) = (path.next().unwrap_or_default(), path.next());
        root = root.mut_subcommand(first, |sub| match second {
            None => with_examples(sub, calls),
            Some(second) => {
                with_examples(sub, overview(first)).mut_subcommand(second, |s| with_examples(s, calls))
            }
        });
    }
    root
}

fn with_examples(command: clap::Command, calls: &[&str]) -> clap::Command {
    let command = command.help_template(HELP);
    if calls.is_empty() { command } else { command.before_help(examples(calls)) }
}

fn examples(calls: &[&str]) -> String {
    let lines: Vec<String> = calls.iter().map(|c| format!("  {c}")).collect();
    format!("Examples:\n{}\n\n", lines.join("\n"))
}

/// One run of the program.
pub(crate) fn main(env: context::Environment) -> ExitCode {
    let mut argv = env.argv.clone();
    if let Some(well) = serve(&argv, &env) {
        return if well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    survive::rename(&mut argv);
    // Help and versions work on a broken machine: nothing has been looked at yet.
    // However it was called, it is called this.
    if let Some(program) = argv.first_mut() {
        *program = "hostkit".into();
    }
    let json_asked = argv.iter().any(|a| a == "--json");
    let parsed = command().try_get_matches_from(&argv).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error, json_asked, meant(&argv)),
    };
    let name = cli.command.name();
    let json = cli.json;
    let mut cx = Context::new(&cli, env);
    let result = cx.prepare().and_then(|()| cli.command.run(&mut cx));
    cx.end(&result);
    let warnings = cx.warnings();
    // The listener's last line comes before the answer.
    let subject = cx.subject.take();
    drop(cx);
    report::finish(name, subject, json, warnings, result)
}

/// Real calls of the command that these words begin.
fn meant(argv: &[std::ffi::OsString]) -> &'static [&'static str] {
    let words: Vec<&str> = argv.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let mut words = words.into_iter().filter(|word| !word.starts_with('-'));
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let both = format!("{first} {second}");
    let known = catalogue().into_iter().find(|(name, ..)| *name == both || *name == first);
    known.map_or_else(|| overview(first), |(_, _, calls)| calls)
}

/// The work of a child of this program that reads or edits as the caller, if this process is one: no
/// command of anybody's, and it answers with bytes. Whether it went well.
fn serve(argv: &[std::ffi::OsString], env: &context::Environment) -> Option<bool> {
    let [_, verb, dashes, words @ ..] = argv else { return None };
    // A child is given no environment. Whoever comes through `sudo` has this, and would read as root.
    if dashes != "--" || env.sudo_uid.is_some() {
        return None;
    }
    match (verb.to_str()?, words) {
        (survive::WORK, [name, id]) => Some(survive::work(name, id)),
        (probation::WATCH, [name, id]) => Some(watch::watch(name, id)),
        (release::PACK, [path]) => Some(source::serve(path.as_ref(), Reading::Source)),
        (release::PACK_ARTIFACT, [path]) => Some(source::serve(path.as_ref(), Reading::Artifact)),
        (detect::LOOK, [path]) => Some(detect::serve(path.as_ref())),
        (env::READ, [path]) => Some(source::serve(path.as_ref(), Reading::File)),
        (env::EDIT, words) => Some(editor::serve(words)),
        _ => None,
    }
}

pub(crate) use self::context::Environment;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn a_reader_of_files_serves_nobody_who_comes_through_sudo() {
        let argv = ["hostkit", release::PACK, "--", "/nowhere"].map(Into::into);
        let sudo = context::Environment { sudo_uid: Some("2000".into()), ..Default::default() };
        assert_eq!(serve(&argv, &sudo), None);
        assert_eq!(
            serve(&["hostkit", "status", "--", "x"].map(Into::into), &context::Environment::default()),
            None
        );
    }

    #[test]
    fn every_visible_command_shows_real_calls_of_itself() {
        for (name, _, calls) in catalogue() {
            assert!(!calls.is_empty(), "`{name}` has no examples");
            for call in calls {
                assert!(call.contains(&format!("hostkit {name}")), "`{call}` is no call of `{name}`");
            }
        }
    }

    #[test]
    fn every_example_parses() {
        for (_, _, calls) in catalogue() {
            for call in calls {
                let call = call.split(" < ").next().unwrap_or(call).split("    #").next().unwrap_or(call);
                let call = call.split("| ").last().unwrap_or(call);
                let words = shell_words::split(call).expect("an example is a call");
                command().try_get_matches_from(&words).unwrap_or_else(|e| panic!("{call}: {e}"));
            }
        }
    }
}
