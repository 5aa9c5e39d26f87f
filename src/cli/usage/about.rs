//! What the commands say of themselves, and examples.

pub(super) const ABOUT: &str = "Refine generated images with an adversarially trained joint classifier-discriminator";
pub(super) const LONG_ABOUT: &str = "A consistency model makes images; a joint classifier-discriminator refines them.

Every iteration moves each image a small step (step size α) in the direction in which the objective grows fastest, by \
default the logit f_y of its class y, and brings it back into a ball (radius ε) around the generated image. What you \
choose is how far it may go, how fast, and what grows. Start with the defaults; the formulas below can wait.

Without a command a window opens. `lapidary refine`, `lapidary generate` and `lapidary edit` do the same job without one, with \
the same settings; a session saved in the window runs there with --session, and their session.json opens in the window.";

/// Examples: the command that each belongs to, what is typed, what it does.
pub(super) const EXAMPLES: [(&str, &str, &str); 15] = [
    ("refine", "refine --seeds 0..64 --iterations 20 --out out", "64 pictures, the same bytes each time"),
    (
        "refine",
        "refine --classes stop,yield --norm linf --radius 8/255 --step-size 0.1x",
        "two classes; no value changes by more than 8/255; each step is a tenth of that",
    ),
    (
        "refine",
        "refine --input photos/ --radius 1",
        "your own pictures, each towards the class that the classifier sees in it",
    ),
    (
        "refine",
        "refine --input samples.npz --preset bigroc-adm-g-256 --truncate --out boosted",
        "50,000 samples of another program, batch by batch, with the settings of a paper",
    ),
    ("refine", "refine --session figure3.lapidary --dry-run", "what a saved session would do, without doing it"),
    (
        "generate",
        "generate --seeds 0..16 --ts 0,22,39/40",
        "pictures only, with two sampling steps at published noise levels",
    ),
    (
        "merge",
        "merge out-*-of-8 --out out",
        "what eight runs with --shard 1/8 to --shard 8/8 and --out out made, to the bytes of one run",
    ),
    (
        "edit",
        "edit --task inpaint --input photo.png --mask mask.png --samples 8",
        "eight ways to fill in what is white in the mask",
    ),
    (
        "search",
        "search --seeds 0..64 --grid 40",
        "the best noise level between the two steps, for this generator and this classifier",
    ),
    (
        "search",
        "search --seeds 0..2400 --metric frechet_distance --reference gtsrb12_32.npz",
        "likewise, nearest to real pictures, as lapidary evaluate measures it",
    ),
    (
        "train",
        "train generator --config teacher.toml --out teacher",
        "a generator from pictures; the README shows the file",
    ),
    (
        "evaluate",
        "evaluate out --reference gtsrb12_32.npz --out table.csv table.tex",
        "how near the pictures of a refinement are to real ones, before and after it",
    ),
    (
        "evaluate",
        "evaluate big.npz --reference real.npz --out table.json --shard 2/8",
        "the second of eight runs that look at the pictures; lapidary merge table.json-*-of-8 --out table.json",
    ),
    (
        "experiment",
        "experiment examples/experiments/demo.toml",
        "the demo's table: none, robust and joint refinement, measured",
    ),
    ("inspect", "inspect cd_imagenet64_lpips.pt", "what a downloaded file is, and whether it opens here"),
];

pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 75 another Lapidary works there (try again later), 129 hung up, 130 stopped with Ctrl-C, 143 by the system (what was done is written).";

pub(super) const GENERATE_ABOUT: &str = "Generates pictures and writes them as PNG files, a contact sheet, float arrays (samples.npz) and a recipe (session.json).";

pub(super) const REFINE_ABOUT: &str = "Generates or opens pictures, refines them, and writes pairs and a contact sheet (PNG), float arrays (result.npz), every number of every iteration (trace.csv) and a recipe (session.json).

An .npz archive as guided-diffusion writes them (arr_0 uint8 N×H×W×3, arr_1 int64 classes), or more than 256 files, are \
refined batch by batch at any length, an archive's pictures at their own size, and so are more than 256 seeds; then \
samples.npz (the same keys, after), refined.csv (one row per picture), a sheet of the first 64 pairs and the recipe are written. \
Lapidary's own result.npz, and the samples.npz of generate and edit, hold the same pictures as floats, which are taken instead of \
arr_0; that of a long refinement holds arr_0 and arr_1 only. A folder of its results means what was made there.

Start with the defaults, which are the demo's best setting: no formula below has to be understood for that. Then change one \
thing at a time, the radius first. Ctrl-C stops after the current iteration and writes what is done. Every finished \
 batch is kept in parts/ until all are done: whatever ended the program, the same command with --resume goes on behind them.";

pub(super) const EDIT_ABOUT: &str = "Makes pictures from pictures with the generator, without any training for it: fills in what a mask leaves open, colours, adds detail, turns strokes into pictures, removes noise, or goes from one seed to another (Song et al. 2023, appendix D).

One picture gives --samples results, several give one each. Pictures are cropped to their centre, in the generator's form, and resized to \
its resolution, the mask likewise. Each has the class that --classes says, by default the one that the classifier \
sees in it. Writes PNG files, a contact sheet with each picture beside what it was made from, float arrays (samples.npz) \
and a recipe (session.json); `lapidary refine --input` refines samples.npz.";

pub(super) const INSPECT_ABOUT: &str = "Says what a checkpoint holds: its format, tensors, architecture, and whether it opens here.

A generator that opens is used with `lapidary generate --generator FILE`, a classifier with `lapidary refine --classifier FILE`. \
What could not be known from the file and was assumed stands behind \"note\"; where that is wrong, save the manifest at the end \
beside the file under the name that stands above it, and change it. Where the file does not open, the line \"opens\" says why and \
what to do.";

pub(super) const SEARCH_ABOUT: &str = "Finds the best noise level between the two steps of a consistency model: --ts 0,k,N-1/N is tried for different k, and the pictures of --seeds are judged.

The search narrows the range by thirds as scripts/ternary_search.py of openai/consistency_models does, which is right when \
there is one peak; --method all tries every --stride-th k. The classifier judges unless --metric says otherwise, which needs no \
data but favours what it is sure of.

The script minimises the Fréchet distance to real pictures: --metric frechet_distance --reference does, and the other numbers of \
lapidary evaluate are there under the names that they have in its tables, of the same real pictures, extractors and dialects, to \
the same values. What is best is the smallest distance, or else the largest number. The real pictures are looked at once, before \
any picture is made. Of numbers with an interval it is said when those beside the best reach into its own. Writes search.csv.";

pub(super) const EVALUATE_ABOUT: &str = "Compares sets of pictures with real ones in the features that a classifier sees: Fréchet distance, kernel distance (KID), \
precision and recall, density and coverage, Inception score, and how many pictures are of their class, with 95 % intervals of \
most. Every further set is compared with the first, too, picture by picture where both have as many.

After a refinement is also compared with before, picture by picture: PSNR, SSIM, FLIP, and LPIPS where --lpips names its weights. These \
say how much was changed; --pairs compares other sets so.

A set is an .npz of samples, a folder of pictures, a folder of results or a session (.lapidary), which are two sets where \
something was refined: before and after. The real pictures of a data set are those that it does not hold out for validation. \
--reference also takes mean and covariance alone, as pytorch-fid and guided-diffusion write them (mu, sigma), which the Fréchet \
distance needs; both it and SET take what --save-features wrote, so that nothing has to be looked at twice. All pictures are \
compared as files of 8 bits show them, at one size, but for Inception-2015, which every picture comes to at its own. Numbers compare \
only if the extractor, its weights, the dialect, the size and the number of pictures agree; the table says them all, and its .json a hash of them (comparable).

For the numbers of papers give --extractor the Inception-2015 that they use, which you get yourself: \
pt_inception-2015-12-05-6726825d.pth of pytorch-fid, weights-inception-2015-12-05-6726825d.pth of torch-fidelity, or NVIDIA's \
inception-2015-12-05.pt. Each program resizes pictures in its own way; --dialect says whose way is taken.

With --shard K/N a run only looks at its part of all pictures, on any machine that reads them, and keeps what it sees batch by batch: \
after whatever ended it, the same command with --resume goes on. `lapidary merge` then writes the tables of one run, byte by byte.";

pub(super) const EXPERIMENT_ABOUT: &str = "Compares generators and refinements by numbers, as papers do: every generator of the file with every refinement is a cell, \
which is one `lapidary refine` with the flags that stand in the file, and all are measured as `lapidary evaluate` does.

Every cell has a folder of its own with pictures, numbers and recipe. The same command goes on after whatever ended it, and \
computes only what is new in a changed file. The tables (table.txt, .csv, .tex, .md) are written anew after every cell. Paths in \
the file are seen from where the command runs, as on the command line; the README shows a file.";

pub(super) const MERGE_ABOUT: &str = "Puts together what the runs of one command with --shard 1/N to --shard N/N made, on one machine or on many: the files are those of the same command without --shard, byte by byte.

The folders are given in any order. One that is missing, given twice, unfinished, of other settings, inputs or models, or made on \
another device is named, and nothing is written. The folders stay as they are; when all is done, they may be deleted.

Shards of `lapidary evaluate` come to its table, which is printed and written to --out, by its ending (.csv, .json, .tex). Paths are \
those of the shards, so merge runs where they ran, with the pictures as they were; it reads them to be sure of that, but no network looks at them.";

pub(super) const TRAIN_ABOUT: &str = "Trains a network from an .npz (images uint8 N×H×W×C, labels, and perhaps is_val and class_names; or arr_0 and arr_1), from IDX files (MNIST, Fashion-MNIST) or from folders whose folders are the classes.

A file says everything: pictures, network, what it is trained for, optimiser, length; the README shows one. The folder of the \
training gets it back with every value (config.toml), a table of the steps (metrics.csv; the same for TensorBoard), sheets of \
what a generator makes (samples/) and checkpoints: weights and their averages as .safetensors with a manifest, used by their \
path like any other model. Ctrl-C keeps what is done; after it, or whatever else ended the program, --resume goes on to the \
identical next step.";
