//! The command line's description: commands, their flags, examples.

mod about;

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, ValueHint, value_parser};

use self::about::{
    ABOUT, EDIT_ABOUT, EVALUATE_ABOUT, EXAMPLES, EXIT_CODES, EXPERIMENT_ABOUT, GENERATE_ABOUT, INSPECT_ABOUT,
    LONG_ABOUT, MERGE_ABOUT, REFINE_ABOUT, SEARCH_ABOUT, TRAIN_ABOUT,
};
use super::bench::{TIMED, TOGETHER};
use super::search::{GRID, Method, Metric, STRIDE};
use super::{DEFAULT_OUT, flags, train};
use crate::data::MAX_COUNT;
use crate::export::MAX_SHARDS;
use crate::generator::settings::SAMPLES;
use crate::parameter::{Parameter, number};
use crate::zoo::{BUNDLED, InceptionDialect, ManifestKind, bundled_manifest};

/// Pictures that are left out first.
pub(super) const SKIP: Parameter = Parameter {
    flag: "skip",
    label: "Skip",
    symbol: "N",
    unit: "pictures",
    min: 0.0,
    max: MAX_COUNT as f64,
    slider: (0.0, 1000.0),
    default: 0.0,
    integer: true,
    about: "Leave out the first pictures of --input",
    source: "Lapidary",
};

/// Most pictures that are taken.
pub(super) const LIMIT: Parameter = Parameter {
    flag: "limit",
    label: "Limit",
    min: 1.0,
    default: 100.0,
    about: "Take at most so many pictures of --input",
    ..SKIP
};

pub(super) const INPUT: &str = "input";
pub(super) const REFERENCES: &str = "references";
pub(super) const MASK: &str = "mask";
pub(super) const SESSION: &str = "session";
pub(super) const OUT: &str = "out";
pub(super) const OVERWRITE: &str = "overwrite";
pub(super) const RESUME: &str = "resume";
pub(super) const SHARD: &str = "shard";
pub(super) const TRUNCATE: &str = "truncate";
pub(super) const DRY_RUN: &str = "dry-run";
pub(super) const QUIET: &str = "quiet";
pub(super) const STRICT: &str = "strict";
pub(super) const JSON: &str = "json";
pub(super) const LAYERS: &str = "layers";
pub(super) const CONFIG: &str = "config";
pub(super) const FILES: &str = "file";
pub(super) const REFERENCE: &str = "reference";
pub(super) const EXTRACTOR: &str = "extractor";
pub(super) const DIALECT: &str = "dialect";
pub(super) const PAIRS: &str = "pairs";
pub(super) const LPIPS: &str = "lpips";

/// The command line's description.
#[must_use]
pub fn command() -> Command {
    let all = examples(|_| true);
    Command::new("lapidary")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(format!("{all}\n\n{EXIT_CODES}\n\n{}", bundled_models()))
        .args_conflicts_with_subcommands(true)
        .max_term_width(110)
        .arg(files("A session (.lapidary or session.json) or pictures (files, a folder, or an .npz of samples) to open in the window"))
        .args(flags::generate_args())
        .args(flags::refine_args())
        .args(flags::compute_args())
        .subcommands([generate(), refine(), edit(), search(), merge(), evaluate(), experiment()])
        .subcommands([train_command(), inspect(), bench()])
}

/// The examples of the commands that `wanted` names.
fn examples(wanted: impl Fn(&str) -> bool) -> String {
    let wanted = EXAMPLES.iter().filter(|(command, ..)| wanted(command));
    let lines = wanted.map(|(_, typed, about)| format!("\n  lapidary {typed}\n      {about}"));
    format!("Examples:{}", lines.collect::<Vec<_>>().concat())
}

/// What stands below the flags of a command.
fn after(name: &str) -> String {
    format!("{}\n\n{EXIT_CODES}\n\n{}", examples(|command| command == name), bundled_models())
}

/// The flag for how many pictures, of a command that makes any number.
fn samples(arg: Arg) -> Arg {
    let (about, default) = (SAMPLES.help(), number::exact(SAMPLES.default));
    arg.help(format!("{about} [1 to {MAX_COUNT}; default: {default}]"))
}

fn generate() -> Command {
    Command::new("generate")
        .about("Generate pictures without a window")
        .long_about(GENERATE_ABOUT)
        .after_help(after("generate"))
        .args(flags::generate_args())
        .mut_arg(SAMPLES.flag, samples)
        .args(flags::compute_args())
        .args(file_args(vec![shard()]))
}

fn refine() -> Command {
    let input = "Pictures (PNG, JPEG, WebP, ...), folders of them, or an .npz of samples, to refine instead of generating; --classes all means the archive's or those that the folders are named as, else those that the classifier sees";
    let references = "Real pictures (files, folders, or an .npz): early stop rests a picture once the classifier believes in it more than in its reference; picture i has reference i mod their number";
    let own = vec![
        many(INPUT, input),
        many(REFERENCES, references),
        flags::flag_of(SKIP, None),
        flags::flag_of(LIMIT, Some("all")),
        strict(),
        flags::switch(
            TRUNCATE,
            "Cut levels in the .npz down instead of rounding them, as the scripts of BIGRoC and Golan et al. 2024 do",
        ),
        shard(),
    ];
    let pictures = "The same as --input, or a session instead of --session";
    Command::new("refine")
        .about("Generate or open pictures and refine them without a window")
        .long_about(REFINE_ABOUT)
        .after_help(after("refine"))
        .arg(files(pictures).conflicts_with(INPUT))
        .args(flags::generate_args())
        .mut_arg(SAMPLES.flag, samples)
        .args(flags::refine_args())
        .args(flags::compute_args())
        .args(file_args(own))
}

fn edit() -> Command {
    let own = vec![
        many(INPUT, "Pictures to edit: files, folders, or an .npz of samples"),
        flags::flag_of(SKIP, None),
        flags::flag_of(LIMIT, Some("all")),
        strict(),
        file_arg(
            MASK,
            "FILE",
            "A picture that is white where pixels are to be generated".to_owned(),
            ValueHint::FilePath,
        ),
    ];
    Command::new("edit")
        .about("Make pictures from pictures: inpaint, colorize, enlarge, and more")
        .long_about(EDIT_ABOUT)
        .after_help(after("edit"))
        .arg(files("The same as --input").conflicts_with(INPUT))
        .args(flags::edit_args())
        .args(flags::generate_args())
        .mut_arg(SAMPLES.flag, samples)
        .arg(flags::classifier_arg().help_heading("What to generate"))
        .args(flags::compute_args())
        .args(file_args(own))
}

fn search() -> Command {
    let own = [
        flags::choice::<Metric>(),
        flags::choice::<Method>(),
        flags::flag_of(GRID, None),
        flags::flag_of(STRIDE, None),
        flags::classifier_arg(),
        reference_arg(),
        extractor_arg(),
        dialect_arg(),
    ];
    Command::new("search")
        .about("Find the best noise level between the two steps of a consistency model")
        .long_about(SEARCH_ABOUT)
        .after_help(after("search"))
        .args(own.into_iter().map(|arg| arg.help_heading("How to search")))
        // The search sets these itself.
        .args(flags::generate_args().filter(|arg| flags::of_sampling().all(|flag| flag != arg.get_id().as_str())))
        .mut_arg(SAMPLES.flag, samples)
        .args(flags::compute_args())
        .args(file_args(Vec::new()))
}

fn merge() -> Command {
    let shards = Arg::new(FILES)
        .value_name("SHARD")
        .required(true)
        .num_args(1..)
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::DirPath)
        .help("The folders of all shards, in any order");
    let [out, overwrite, _] = out_args();
    let out = out.action(ArgAction::Append).help(format!(
        "Folder for the results [default: {DEFAULT_OUT}, or {DEFAULT_OUT}-2 and so on when that holds earlier ones]; of shards of evaluate a table, given again for more of them [default: none but the printed one]"
    ));
    Command::new("merge")
        .about("Put together what several runs with --shard made")
        .long_about(MERGE_ABOUT)
        .after_help(format!("{}\n\n{EXIT_CODES}", examples(|command| command == "merge")))
        .arg(shards)
        .args([out, overwrite])
        .args(kept_args().map(|arg| arg.help_heading("Of shards of evaluate")))
        .arg(
            flags::plain_switch(RESUME, "Be content when all was put together there before; begin when it was not")
                .conflicts_with(OVERWRITE),
        )
        .arg(flags::plain_switch(
            QUIET,
            "No progress bar and no summary; of shards of evaluate the table, and warnings and errors only",
        ))
}

fn evaluate() -> Command {
    let tables = "Tables to write, beside the one that is printed: .csv (a line for every number), .json (everything, class by class, too), .tex";
    let sets = Arg::new(FILES)
        .value_name("SET")
        .required(true)
        .num_args(1..)
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::AnyPath)
        .help("Sets of pictures: each an .npz of samples, a folder of pictures or of results, a session, or an .npz of --save-features");
    let lpips = "The weights of LPIPS, for pairs: torchvision's file of vgg16 and vgg.pth of richzhang/PerceptualSimilarity, or a folder with both; given again for the second file";
    let pairs =
        "Every picture of the first set is the partner of that at its place in every other one: compare them, too";
    let limit = flags::flag_of(LIMIT, Some("all"))
        .help("Take at most so many pictures of every set, the first ones [default: all]");
    Command::new("evaluate")
        .about("Compare sets of pictures with real ones: Fréchet distance, precision, recall and others")
        .long_about(EVALUATE_ABOUT)
        .after_help(after("evaluate"))
        .arg(sets)
        .arg(reference_arg().required(true))
        .args([extractor_arg(), dialect_arg(), limit, many(LPIPS, lpips).num_args(1), many(OUT, tables)])
        .arg(flags::plain_switch(PAIRS, pairs))
        .args(kept_args())
        .arg(shard().help(format!(
            "Look at the K-th of N parts of the pictures only, and keep what is seen in a folder of its own: the first --out with -K-of-N behind it; `lapidary merge` makes the table of all N [N up to {MAX_SHARDS}]"
        )))
        .arg(flags::plain_switch(OVERWRITE, "Replace files of an earlier evaluate, and nothing else"))
        .arg(
            flags::plain_switch(RESUME, "Go on with what the same shard left unfinished; begin when there is nothing")
                .requires(SHARD)
                .conflicts_with(OVERWRITE),
        )
        .arg(flags::plain_switch(QUIET, "No progress bar; the table, warnings and errors only"))
        .args(flags::compute_args())
}

fn reference_arg() -> Arg {
    let reference = "The real pictures: an .npz, a folder, a file of IDX, or what --save-features or --save-statistics wrote; or the mu and sigma of another program, alone; given again for more folders or archives";
    // One at a time: sets may stand behind it.
    many(REFERENCE, reference).num_args(1)
}

fn extractor_arg() -> Arg {
    Arg::new(EXTRACTOR).long(EXTRACTOR).value_name("MODEL").help(format!(
        "The network whose features are compared: a classifier, best one that refined nothing, or a file of Inception-2015 [default: {}]",
        super::evaluate::EXTRACTOR
    ))
}

fn dialect_arg() -> Arg {
    Arg::new(DIALECT)
        .long(DIALECT)
        .value_name("DIALECT")
        .value_parser(InceptionDialect::ALL.map(InceptionDialect::key))
        .help("How pictures come to Inception-2015 [default: that of the file: pytorch-fid for pt_…, tensorflow for weights-…, clean for NVIDIA's]")
}

fn experiment() -> Command {
    let file = Arg::new(FILES)
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::FilePath)
        .help("What is compared, TOML");
    let out = "Folder of the cells and the tables [default: the file's name without .toml]";
    Command::new("experiment")
        .about("Compute and measure a table: generators, refinements and numbers that a file declares")
        .long_about(EXPERIMENT_ABOUT)
        .after_help(format!("{}\n\n{EXIT_CODES}", examples(|command| command == "experiment")))
        .arg(file)
        .arg(file_arg(OUT, "DIR", out.to_owned(), ValueHint::DirPath))
        .arg(flags::device_arg())
        .arg(shard().help(
            "Compute the K-th of N parts of the cells only; when all N are done, the same command without it writes the table",
        ))
        .arg(flags::plain_switch(DRY_RUN, "Say the command of every cell, and compute nothing"))
        .arg(flags::plain_switch(QUIET, "No progress bars and no messages; the table, warnings and errors only"))
}

fn train_command() -> Command {
    let shared = || {
        [
            file_arg(
                CONFIG,
                "FILE",
                "The description of the training, TOML [with --resume: the config.toml of the folder]".to_owned(),
                ValueHint::FilePath,
            ),
            file_arg(
                OUT,
                "DIR",
                format!("Folder of the training [default: {}]", train::DEFAULT_OUT),
                ValueHint::DirPath,
            ),
            flags::plain_switch(RESUME, "Go on with the training in that folder from its last checkpoint"),
            flags::device_arg(),
            flags::plain_switch(
                DRY_RUN,
                "Say what would be done, with every value of the description, and write nothing",
            ),
            flags::plain_switch(QUIET, "No progress bar and no summary; warnings and errors only"),
        ]
    };
    let generator = Command::new("generator")
        .about("Train a generator: EDM, consistency training, consistency or progressive distillation, easy consistency tuning")
        .args(shared());
    let classifier = Command::new("classifier")
        .about("Train a classifier: plain, robust, or a joint classifier-discriminator")
        .args(shared());
    let boosted = Command::new("boosted")
        .about(
            "Tune a one-step generator towards its own refined pictures, so that one call gives what refinement gave",
        )
        .args(shared());
    Command::new("train")
        .about("Train a network from pictures, without a window")
        .long_about(TRAIN_ABOUT)
        .after_help(format!("{}\n\n{EXIT_CODES}", examples(|command| command == "train")))
        .subcommand_required(true)
        .subcommands([generator, classifier, boosted])
}

fn inspect() -> Command {
    Command::new("inspect")
        .about("Say what a checkpoint holds: its format, tensors, architecture and manifest")
        .long_about(INSPECT_ABOUT)
        .after_help(format!("{}\n\n{EXIT_CODES}", examples(|command| command == "inspect")))
        .arg(
            Arg::new(FILES)
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::AnyPath)
                .help("A checkpoint, its manifest, a folder of diffusers or of a Hugging Face classifier, or a bundled name"),
        )
        .arg(flags::plain_switch(JSON, "Print JSON"))
}

fn bench() -> Command {
    Command::new("bench")
        .about("Measure generating and refining on this machine; prints JSON")
        .long_about("Measures, for the demo or other models: the seconds to read them, to make pictures in batches and for an iteration, and the most memory. The PyTorch programs that it is compared with are in benches/peers.")
        .arg(flags::generator_arg())
        .arg(flags::classifier_arg())
        .arg(flags::plain_switch(LAYERS, "Print a table of every step of the compiled networks on the CPU instead, of one network where one is named: time, share of what this machine can do, and how it is computed").conflicts_with(TIMED.flag))
        .arg(
            flags::flag_of(TOGETHER, Some("1,4,16,64; of other models 1; with --layers the largest of them"))
                .value_name("N,...")
                .value_delimiter(','),
        )
        .arg(flags::flag_of(TIMED, Some("10; of other models 2")))
        .arg(flags::device_arg())
}

/// Where pictures and settings come from and where results go; `own` are those of one command.
fn file_args(own: Vec<Arg>) -> impl Iterator<Item = Arg> {
    let session = "A .lapidary file or session.json whose settings are the starting point; other flags override them";
    let [out, overwrite, resume] = out_args();
    let shared = [
        file_arg(SESSION, "FILE", session.to_owned(), ValueHint::FilePath),
        out,
        overwrite,
        resume,
        flags::plain_switch(DRY_RUN, "Look at all that would be read, say what would be done, and write nothing"),
        flags::plain_switch(QUIET, "No progress bar and no summary; warnings and errors only"),
    ];
    own.into_iter().chain(shared).map(|arg| arg.help_heading("Files"))
}

/// Where results go, and what is done with what is there.
fn out_args() -> [Arg; 3] {
    [
        file_arg(
            OUT,
            "DIR",
            format!(
                "Folder for the results [default: {DEFAULT_OUT}, or {DEFAULT_OUT}-2 and so on when that holds earlier ones]"
            ),
            ValueHint::DirPath,
        ),
        flags::plain_switch(
            OVERWRITE,
            "Replace earlier results of Lapidary in that folder once the new ones are whole, and nothing else",
        ),
        flags::plain_switch(
            RESUME,
            "Go on with what the same command left unfinished there; begin when there is nothing",
        )
        .conflicts_with(OVERWRITE),
    ]
}

/// Where what an evaluation saw goes.
fn kept_args() -> [Arg; 2] {
    let statistics = "Write mean and covariance of the real pictures there (.npz), as pytorch-fid reads them";
    let features = "Write what is seen of every set and of the real pictures there: features, logits, labels (.npz); a folder, or a file where there is one set";
    [
        file_arg(super::evaluate::SAVE_STATISTICS, "FILE", statistics.to_owned(), ValueHint::FilePath),
        file_arg(super::evaluate::SAVE_FEATURES, "PATH", features.to_owned(), ValueHint::AnyPath),
    ]
}

/// Which of several runs that share the work this is.
fn shard() -> Arg {
    Arg::new(SHARD).long(SHARD).value_name("K/N").help(format!(
        "Make the K-th of N parts of the work only, in a folder of its own: --out with -K-of-N behind it; `lapidary merge` puts all N together [N up to {MAX_SHARDS}]"
    ))
}

fn file_arg(flag: &'static str, value: &'static str, help: String, hint: ValueHint) -> Arg {
    Arg::new(flag).long(flag).value_name(value).value_parser(value_parser!(PathBuf)).value_hint(hint).help(help)
}

/// Files that are named without a flag.
fn files(help: &'static str) -> Arg {
    Arg::new(FILES)
        .value_name("FILE")
        .num_args(1..)
        .value_parser(value_parser!(PathBuf))
        .value_hint(ValueHint::AnyPath)
        .help(help)
}

/// Whether a picture that cannot be read is an error.
fn strict() -> Arg {
    flags::plain_switch(
        STRICT,
        "Stop at a picture of --input that cannot be read, instead of leaving it out and naming it",
    )
}

/// Any number of files and folders.
fn many(flag: &'static str, help: &str) -> Arg {
    file_arg(flag, "FILES", help.to_owned(), ValueHint::AnyPath).num_args(1..).action(ArgAction::Append)
}

fn bundled_models() -> String {
    let line = |bundled| {
        let manifest = bundled_manifest(bundled);
        let role = if matches!(manifest.kind, ManifestKind::Generator(_)) { "generator" } else { "classifier" };
        format!("  {:<16} {role}: {}", manifest.name, manifest.title)
    };
    let lines: Vec<String> = BUNDLED.iter().map(line).collect();
    let own = "Your own: a .safetensors or .pt file, or a folder of diffusers; what is not recognised needs a manifest of the same name (.toml) beside it; see the README.";
    format!("Bundled models:\n{}\n\n{own}", lines.join("\n"))
}
