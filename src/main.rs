//! Parse the arguments, open the window or run a command, and print what went wrong once.

use std::io::IsTerminal as _;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lapidary::cli::{self, CliError, DEFAULT_OUT, Invocation, Outcome, RunOptions, WindowOptions};
use lapidary::error::error_chain;
use lapidary::session::host::Folders;
use lapidary::{signals, view};

/// A window that fails later than this had been open.
const OPENING: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    log_to_stderr();
    signals::outlive_limits();
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => return refuse(&error),
    };
    #[cfg(target_os = "linux")]
    if !matches!(invocation, Invocation::Inspect { .. }) {
        in_its_environment();
    }
    match run(invocation) {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => match error.downcast_ref::<CliError>() {
            Some(error) => refuse(error),
            None => {
                report(&*error);
                ExitCode::from(cli::exit_code_of(&error))
            }
        },
    }
}

/// Begins the program anew in an environment that only a process's beginning can change.
///
/// glibc gives freed tensors of more than a mebibyte back at once: left to itself it keeps pieces of up to 32 MiB, and a
/// network that is packed layer by layer would take twice its size. A training gives nothing back: every step takes the same
/// tensors again, and fresh pages cost it a quarter of its time. glibc asks for large pages where the system leaves the choice
/// to programs: clearing small ones takes a fifth of the time in which a large network is read. And Mesa's Vulkan layer that
/// chooses among devices is left out where there is no session to ask: the layer asks Wayland all the same, which complains on
/// stderr (over ssh, in cron, in containers, in batch systems).
#[cfg(target_os = "linux")]
fn in_its_environment() {
    use std::os::unix::process::CommandExt as _;
    let has_session = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).is_absolute());
    let trains = std::env::args_os().nth(1).is_some_and(|command| command == "train");
    let (kept, given_back) = ("17179869184", "1048576");
    let wanted = [
        ("MALLOC_MMAP_THRESHOLD_", if trains { kept } else { given_back }, true),
        ("MALLOC_TRIM_THRESHOLD_", kept, trains),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", true),
        ("NODEVICE_SELECT", "1", !has_session),
    ];
    let is_missing = |(name, _, wanted): &(&str, &str, bool)| *wanted && std::env::var_os(name).is_none();
    let missing: Vec<_> = wanted.into_iter().filter(is_missing).map(|(name, value, _)| (name, value)).collect();
    let mut args = std::env::args_os();
    if let (false, Some(name), Ok(program)) = (missing.is_empty(), args.next(), std::env::current_exe()) {
        let error = std::process::Command::new(program).arg0(name).args(args).envs(missing).exec();
        tracing::debug!(%error, "the program goes on as it is");
    }
}

fn run(invocation: Invocation) -> anyhow::Result<Outcome> {
    let folders = Folders::of_user();
    match invocation {
        Invocation::Window { options } => return window(options, &folders),
        Invocation::Generate(options) => return cli::generate::run(&options, &folders),
        Invocation::Refine(options) => return cli::refine::run(&options, &folders),
        Invocation::Edit(options) => return cli::edit::run(&options, &folders),
        Invocation::Search(options) => return cli::search::run(&options, &folders),
        Invocation::Merge(options) => return cli::merge::run(&options, &folders),
        Invocation::Evaluate(options) => return cli::evaluate::run(&options, &folders),
        Invocation::Experiment(options) => return cli::experiment::run(&options, &folders),
        Invocation::Train(options) => return cli::train::run(&options, &folders),
        Invocation::Inspect { path, json } => {
            let mut text = Vec::new();
            let inspected = cli::inspect::run(&path, json, &folders, &mut text);
            if !text.is_empty() {
                cli::say_out(String::from_utf8_lossy(&text).trim_end_matches('\n'))?;
            }
            inspected?;
        }
        Invocation::Bench(options) => {
            let measured = if options.layers.is_some() {
                cli::bench::layers(&options, &folders)?
            } else {
                format!("{:#}", cli::bench::run(&options, &folders)?)
            };
            cli::say_out(measured.trim_end())?;
        }
    }
    Ok(Outcome::Done)
}

/// Opens the window, or does its job without one where there is no display.
fn window(options: WindowOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if cfg!(target_os = "linux") && !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY") {
        return headless(options, folders, "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)");
    }
    let start = Instant::now();
    match view::run(options.settings.clone(), options.files.clone(), folders.clone()) {
        Ok(None) => Ok(Outcome::Done),
        Ok(Some(signal)) => Ok(Outcome::Interrupted(signal)),
        Err(error) if cfg!(target_os = "linux") && start.elapsed() < OPENING => headless(
            options,
            folders,
            &format!("no window can be opened ({})", error_chain(&*error).join(", because ")),
        ),
        Err(error) => Err(error),
    }
}

fn headless(options: WindowOptions, folders: &Folders, why: &str) -> anyhow::Result<Outcome> {
    cli::say_err(&format!(
        "{why}, so the same job runs without a window and writes to {DEFAULT_OUT}/: `lapidary refine --help` lists its flags"
    ));
    cli::refine::run(&RunOptions::headless(options)?, folders)
}

/// What was typed cannot be done.
fn refuse(error: &CliError) -> ExitCode {
    if let CliError::Help(text) = error {
        return match text.print() {
            Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => refuse(&CliError::Output { source }),
            _ => ExitCode::SUCCESS,
        };
    }
    report(error);
    ExitCode::from(error.exit_code())
}

/// The message and its causes, one per line.
fn report(error: &dyn std::error::Error) {
    for (depth, message) in error_chain(error).iter().enumerate() {
        let word = if depth == 0 { "error:" } else { "  because" };
        cli::say_err(&format!("{word} {}", message.replace('\n', "\n  ")));
    }
}

/// What the libraries tell, from the level that `LAPIDARY_LOG` names; warnings otherwise, also where it is empty.
fn log_to_stderr() {
    let asked = std::env::var("LAPIDARY_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = asked.unwrap_or_else(|| "warn".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}
