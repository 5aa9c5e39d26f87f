//! `lapidary generate`: pictures of the generator, and every file about them.

use std::path::Path;

use anyhow::bail;

use super::describe::{describe_compute, describe_generation, describe_model, would_write, written};
use super::driver::{Driver, say_out};
use super::opened::document;
use super::{Outcome, RunOptions, flags};
use crate::export::{self, Results};
use crate::generator::{Classes, GenerateSettings, Plan};
use crate::session::host::Folders;
use crate::trace::Trace;
use crate::units::counted;
use crate::zoo::{Manifest, ManifestKind};

/// Generates and writes pictures.
///
/// # Errors
/// The chain from what failed to why; nothing is written then.
pub fn run(options: &RunOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let RunOptions { settings, out, quiet, .. } = options;
    let (generator, path) = flags::find(&settings.generate.generator, true)?;
    check_sampling(&settings.generate, &generator)?;
    if options.dry_run {
        say_out(&plan(options, &generator, path.as_deref()));
        return Ok(Outcome::Done);
    }
    export::prepare_folder(out)?;
    let mut driver = Driver::start(folders, *quiet)?;
    driver.note(&options.notes);
    let made = driver.generate(settings)?;
    driver.finish();
    let Some(origins) = made else {
        driver.say("stopped before the first pictures were done: nothing is written");
        return Ok(Outcome::Interrupted);
    };
    let document = document(options, &driver, None, Some(&origins), &Trace::default());
    Results { origins: &origins, document: &document, refined: None }.write(out)?;
    let (done, of) = (origins.images.len(), settings.generate.samples);
    if !*quiet {
        let on = driver.device();
        let made = counted(done, "picture");
        say_out(&format!("{made} on {on}\n{}", written(out, &export::files(&export::GENERATED))));
    }
    if driver.interrupted {
        driver.say(&format!("stopped after {done} of {of} pictures; these are written"));
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

/// Sampler, levels and classes must be such as the generator knows, before anything slow begins.
pub(super) fn check_sampling(settings: &GenerateSettings, generator: &Manifest) -> anyhow::Result<()> {
    if let ManifestKind::Generator(spec) = &generator.kind {
        Plan::new(settings, &spec.diffusion)?;
    }
    let classes = generator.classes.len();
    if let Classes::Only(list) = &settings.classes
        && let Some(label) = list.iter().find(|label| **label >= classes.max(1))
    {
        bail!(
            "class {label} is asked for, but {} knows {classes} classes: say others with --classes, or choose another --generator",
            settings.generator
        );
    }
    Ok(())
}

fn plan(options: &RunOptions, generator: &Manifest, path: Option<&Path>) -> String {
    let RunOptions { settings, out, notes, .. } = options;
    let lines = [
        describe_model("generator", &settings.generate.generator, generator, path),
        describe_generation(&settings.generate, generator),
        describe_compute(settings),
        would_write(out, &export::files(&export::GENERATED)),
    ];
    notes.iter().cloned().chain(lines).collect::<Vec<_>>().join("\n")
}
