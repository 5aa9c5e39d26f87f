//! Before work begins: the folder of the results is looked at and taken, so that nothing of the user's is destroyed and no work
//! is done in vain.

use std::path::{Path, PathBuf};

use sha2::Digest as _;

use super::driver::Driver;
use super::opened::{Opened, relative_to};
use super::progress::Progress;
use super::say::say_err;
use super::{RunOptions, Source};
use crate::data::RESULTS_INDEX;
use crate::export::{self, Claim, Claimed, Earlier, OutFolder, Share};
use crate::file::{hex, sha256_of};
use crate::image::Levels;
use crate::origins::Origins;
use crate::session::changes::{files_of, hashes};
use crate::session::document::{Document, MaskFile, relative_file};
use crate::trace::Trace;
use crate::units::counted;

/// What a file takes on a disk at least, and is rounded up to, in bytes.
pub(super) const BLOCK: u64 = 4096;

/// What a command is about to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    /// Its name, and what else decides about its results.
    pub(super) command: &'a str,
    /// What it writes.
    pub(super) files: &'a [&'a str],
    /// What it opens.
    pub(super) pictures: Option<&'a Opened>,
    /// What it opens as well.
    pub(super) mask: Option<&'a Path>,
    /// Files of real pictures that its results are judged by.
    pub(super) real: &'a [PathBuf],
    /// Bytes that it writes at least.
    pub(super) bytes: u64,
    /// What it is a share of, where several runs do the work.
    pub(super) share: Option<&'a Share>,
    /// The first place and the number of the pictures that are done batch by batch, behind which `--resume` goes on; none where
    /// all are one batch, which begins anew.
    pub(super) batches: Option<(usize, usize)>,
}

/// A command that may begin.
#[derive(Debug)]
pub(super) struct Begun {
    /// What was asked for; the folder is the one that was taken.
    pub(super) options: RunOptions,
    /// The folder of the results.
    pub(super) out: OutFolder,
    /// SHA-256 of the pictures that are opened.
    pub(super) hashes: Vec<String>,
    /// SHA-256 of the real pictures that early stopping compares with.
    pub(super) reference_hashes: Vec<String>,
    /// The mask, and its SHA-256.
    pub(super) mask: Option<(PathBuf, String)>,
}

impl Begun {
    /// The recipe of what was made, as seen from the folder that it is written to.
    pub(super) fn document(
        &self,
        driver: &Driver,
        out: &Path,
        pictures: Option<&Opened>,
        origins: Option<&Origins>,
        trace: &Trace,
    ) -> Document {
        let options = &self.options;
        let (settings, part, count) = (&options.settings, options.part, options.count);
        let inputs = pictures.map_or_else(Vec::new, |pictures| pictures.inputs(out));
        let input_hashes = self.hashes.clone();
        let new = Document::new(settings, &driver.provenance, origins, trace, Some(out));
        let mask = self.mask.as_ref().map(|(path, sha256)| {
            let file = relative_file(path, out);
            MaskFile { file, sha256: sha256.clone() }
        });
        Document { inputs, input_hashes, mask, count, part, ..new }
    }

    /// Likewise, of what was refined.
    pub(super) fn refined_document(
        &self,
        driver: &Driver,
        out: &Path,
        pictures: Option<&Opened>,
        origins: Option<&Origins>,
        trace: &Trace,
    ) -> Document {
        let references = relative_to(&self.options.references, out);
        let truncated = self.options.levels == Levels::Truncated;
        let reference_hashes = self.reference_hashes.clone();
        Document { references, reference_hashes, truncated, ..self.document(driver, out, pictures, origins, trace) }
    }
}

impl Job<'_> {
    /// The folder that the results would go to, for a dry run, which refuses what the run refuses; `None` when everything was done
    /// before, which is said. Of work that is gone on with, a line about how much of it is done.
    pub(super) fn look(&self, options: &RunOptions) -> anyhow::Result<Option<(PathBuf, Option<String>)>> {
        let inputs = self.inputs(options);
        let is_asked = options.earlier == Earlier::Resume;
        let recipe = if is_asked { self.recipe(options, &self.hashes(options)) } else { String::new() };
        let (folder, is_finished) = self.claim(options, &inputs, &recipe).look()?;
        if is_finished {
            // It is the answer that was asked for, and not beside the work.
            say_finished(&folder, false);
            return Ok(None);
        }
        export::check_space(&folder, self.needed())?;
        let done = is_asked.then(|| self.done(&folder, &recipe));
        Ok(Some((folder, done)))
    }

    /// A line about how much of the work an earlier run of the same command has finished in a folder.
    fn done(&self, folder: &Path, recipe: &str) -> String {
        let text = match self.batches {
            // An index is there as soon as anything is.
            None if !folder.join(RESULTS_INDEX).is_file() => "nothing is there yet to go on with".to_owned(),
            None => "all is one batch, which begins anew".to_owned(),
            Some((start, of)) => match export::finished(folder, recipe, start) {
                0 => "no batch is finished yet".to_owned(),
                done => {
                    format!("{done} of {} are done in finished batches and not made again", counted(of, "picture"))
                }
            },
        };
        format!("{:<11}{text}", "resume")
    }

    /// Takes the folder; `None` when everything was done before, which is said.
    pub(super) fn begin(&self, options: &RunOptions) -> anyhow::Result<Option<Begun>> {
        let inputs = self.inputs(options);
        let hashes = self.hashes(options);
        let recipe = self.recipe(options, &hashes);
        let claim = self.claim(options, &inputs, &recipe);
        claim.settle()?;
        export::check_space(&claim.look()?.0, self.needed())?;
        match claim.claim()? {
            Claimed::Finished(folder) => {
                say_finished(&folder, options.quiet);
                Ok(None)
            }
            Claimed::Begun(out) => {
                if out.path() != options.folder() {
                    say_err(&format!(
                        "note: {} holds earlier results, so these go to {}",
                        options.folder().display(),
                        out.path().display()
                    ));
                }
                if options.out.is_none() && out.place(false) != out.path() {
                    say_err(&format!("note: these take the place of the earlier results in {}", out.path().display()));
                }
                let options = RunOptions { out: Some(out.path().to_owned()), ..options.clone() };
                let mask = self.mask.map(|path| (path.to_owned(), sha256_of(path).unwrap_or_default()));
                let (hashes, reference_hashes) = hashes;
                Ok(Some(Begun { options, out, hashes, reference_hashes, mask }))
            }
        }
    }

    fn claim<'c>(&'c self, options: &'c RunOptions, inputs: &'c [PathBuf], recipe: &'c str) -> Claim<'c> {
        let RunOptions { out, earlier, .. } = options;
        let folder = options.folder();
        Claim {
            folder,
            numbered: out.is_none(),
            earlier: *earlier,
            recipe,
            share: self.share,
            files: self.files,
            inputs,
        }
    }

    /// Bytes on the disk, with index, lock and folders.
    const fn needed(&self) -> u64 {
        self.bytes + BLOCK * (self.files.len() as u64 + 3)
    }

    /// SHA-256 of the pictures that are opened, and of the real ones of early stopping; what takes long is told of.
    pub(super) fn hashes(&self, options: &RunOptions) -> (Vec<String>, Vec<String>) {
        let mut progress = Progress::new(options.quiet);
        let mut watch = |done, of| progress.tell_bytes("reading the inputs", done, of);
        let inputs = self.pictures.map_or_else(Vec::new, |pictures| pictures.hashes(&mut watch));
        let references = hashes(&files_of(&options.references), &mut watch);
        progress.bar.finish_and_clear();
        (inputs, references)
    }

    /// SHA-256 of the real pictures that results are judged by; likewise.
    fn real_hashes(&self, options: &RunOptions) -> Vec<String> {
        let mut progress = Progress::new(options.quiet);
        let found = hashes(self.real, &mut |done, of| progress.tell_bytes("reading the inputs", done, of));
        progress.bar.finish_and_clear();
        found
    }

    /// Every file that is read; models have names of their own.
    fn inputs(&self, options: &RunOptions) -> Vec<PathBuf> {
        let mut inputs = self.pictures.map_or_else(Vec::new, Opened::files);
        inputs.extend(files_of(&options.references));
        inputs.extend(self.mask.map(Path::to_owned));
        inputs.extend_from_slice(self.real);
        inputs.extend(options.recorded.as_ref().map(|recorded| recorded.path.clone()));
        inputs
    }

    /// Stands for everything that the results depend on and that can be known before: settings and what the inputs hold. Where
    /// the inputs are is no matter; whether models are the same is looked at when they are read. It is that of the whole, also
    /// where several runs share the work.
    fn recipe(&self, options: &RunOptions, (hashes, references): &(Vec<String>, Vec<String>)) -> String {
        let RunOptions { settings, source, part, relabel, levels, count, .. } = options;
        let stored = match source {
            Source::Stored(path) => Some((sha256_of(path).unwrap_or_default(), relabel)),
            Source::Generator | Source::Pictures(_) => None,
        };
        let names: Vec<_> = self
            .pictures
            .map_or_else(Vec::new, Opened::files)
            .iter()
            .filter_map(|file| file.file_name().map(ToOwned::to_owned))
            .collect();
        let mask = self.mask.map(|file| sha256_of(file).unwrap_or_default());
        let real = self.real_hashes(options);
        let others: Vec<&String> = references.iter().chain(&mask).chain(&real).collect();
        let version = env!("CARGO_PKG_VERSION");
        let all = (self.command, version, settings, part, levels, count);
        hex(&sha2::Sha256::digest(format!("{all:?} {stored:?} {names:?} {hashes:?} {others:?}")))
    }
}

/// Says that everything was done before, unless quiet.
pub(super) fn say_finished(folder: &Path, quiet: bool) {
    if !quiet {
        say_err(&format!("nothing is left to do: the results are in {}", folder.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::DEFAULT_OUT;
    use crate::session::Settings;

    const OF_NOTHING: Job<'_> = Job {
        command: "refine",
        files: &[],
        pictures: None,
        mask: None,
        real: &[],
        bytes: 0,
        share: None,
        batches: None,
    };

    #[test]
    fn a_recipe_is_about_the_real_pictures_too_which_are_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            vec![path]
        };
        let (same, again, other) = (file("a.npz", "real"), file("b.npz", "real"), file("c.npz", "others"));
        let options = RunOptions::new(Settings::default());
        let recipe = |real: &[PathBuf]| Job { real, ..OF_NOTHING }.recipe(&options, &(Vec::new(), Vec::new()));
        assert_eq!(recipe(&same), recipe(&again));
        assert!(recipe(&same) != recipe(&other) && recipe(&same) != recipe(&[]));
        assert_eq!(Job { real: &same, ..OF_NOTHING }.inputs(&options), same);
    }

    #[test]
    fn a_recipe_is_about_what_decides_and_not_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let picture = |place: &str, level: u8| {
            let path = folder.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            ::image::RgbImage::from_pixel(2, 2, ::image::Rgb([level; 3])).save(&path).unwrap();
            path
        };
        let recipe = |path: PathBuf, settings: &Settings| {
            let opened = Opened::new(&[path], super::super::Part::default()).unwrap();
            let job = Job { pictures: Some(&opened), ..OF_NOTHING };
            let options = RunOptions::new(settings.clone());
            job.recipe(&options, &job.hashes(&options))
        };
        let mut settings = Settings::default();
        let first = recipe(picture("a/x.png", 7), &settings);
        assert_eq!(first, recipe(picture("b/x.png", 7), &settings));
        assert_ne!(first, recipe(picture("c/x.png", 8), &settings));
        settings.refine.eps = 1.5;
        assert_ne!(first, recipe(picture("a/x.png", 7), &settings));
        assert_eq!(RunOptions::new(settings).folder(), Path::new(DEFAULT_OUT));
    }
}
