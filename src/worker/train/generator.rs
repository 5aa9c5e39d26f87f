//! A generator that is to be trained.

use std::path::Path;

use anyhow::bail;
use burn::tensor::Device;

use super::boosted;
use super::config::GeneratorConfig;
use super::record::{Sources, open_source};
use super::told::TrainSettings;
use super::work::{self, Ready};
use crate::checkpoint::{Checkpoint, Weights, unwatched};
use crate::data::DataSet;
use crate::generator::Generator;
use crate::net::Source;
use crate::net::lpips::Lpips;
use crate::net::unet::UnetConfig;
use crate::train::metric::Metric;
use crate::train::{GeneratorPlan, GeneratorTrainer, Helpers, Initial, Objective};
use crate::worker::compare::read;
use crate::worker::device::OpenDevice;
use crate::zoo::{DiffusionManifest, GeneratorManifest, Manifest, ManifestKind, PreconditioningName, resolve};

/// Makes everything ready for its training.
pub(super) fn ready(
    settings: &TrainSettings,
    mut config: GeneratorConfig,
    data: DataSet,
    (open, cache): (&OpenDevice, &Path),
) -> anyhow::Result<Ready> {
    let (device, mut sources, mut notes) = (&open.device, Sources::new(), Vec::new());
    let (start, spec) = Start::find(&mut config, &data, cache, &mut sources)?;
    let objective = objective(&config.objective);
    let manifest = manifest(&config, &data, &objective, spec.clone());
    work::check(&manifest, &config.course, settings, device)?;
    let lpips = lpips(&config, &data, device, &mut sources)?;
    let bank = match &config.objective {
        Objective::Boosted(boosting) => {
            Some(boosted::bank(&config, boosting, (cache, &settings.out), open, (&mut notes, &mut sources))?)
        }
        _ => None,
    };
    let teacher = teacher(&config, &data, (device, cache), &mut sources)?;
    let [channels, ..] = data.shape();
    let num_classes = Some(data.classes.len()).filter(|classes| config.network.conditional && *classes > 0);
    let plan = GeneratorPlan {
        config: UnetConfig { arch: spec.unet.clone(), channels, num_classes },
        diffusion: spec.diffusion.clone(),
        objective: config.objective.clone(),
        optimiser: config.optimiser.clone(),
        course: config.course.clone(),
        dropout: config.network.dropout,
        variety: config.data.variety,
    };
    let helpers = Helpers { teacher, bank, lpips };
    let trainer = match &start {
        Start::Random => GeneratorTrainer::new(plan, &mut Initial::new(config.course.seed), helpers, device)?,
        Start::Of(checkpoint) => {
            let source: &mut dyn Source = &mut Weights::new(checkpoint);
            GeneratorTrainer::new(plan, source, helpers, device)?
        }
    };
    let mut ready = Ready::new(settings, &config, (Box::new(trainer), data, sources), (manifest, objective))?;
    if let Objective::Boosted(boosting) = &config.objective {
        ready.pictures = boosting.pictures(&config.course);
    }
    ready.notes.extend(notes);
    Ok(ready)
}

/// Where the first weights come from.
enum Start {
    Random,
    Of(Box<Checkpoint>),
}

impl Start {
    /// Fills in what the network is.
    fn find(
        config: &mut GeneratorConfig,
        data: &DataSet,
        cache: &Path,
        sources: &mut Sources,
    ) -> anyhow::Result<(Self, GeneratorManifest)> {
        let (wanted, network) = (config.objective.preconditioning(), &mut config.network);
        let halves = matches!(config.objective, Objective::ProgressiveDistillation { .. });
        let (start, unet, usual) = match (&network.from, &network.unet) {
            (None, Some(_)) if halves => {
                bail!(
                    "progressive distillation begins from a network that denoises, but [network] names none: name a generator of EDM in from"
                )
            }
            (None, None) => bail!("[network] says neither from nor unet: give one of them"),
            (None, Some(unet)) => (Self::Random, unet.clone(), DiffusionManifest::new(wanted)),
            (Some(from), unet) => {
                let model = resolve(from, cache)?;
                let ManifestKind::Generator(spec) = &model.manifest.kind else {
                    bail!("{from:?} is no generator, but a generator begins from one: choose another one in from");
                };
                check_alike(from, &model.manifest, data, network.conditional)?;
                if halves && spec.diffusion.preconditioning != wanted {
                    bail!(
                        "{from:?} is no generator of EDM, which progressive distillation begins from: name one in from"
                    );
                }
                if unet.as_ref().is_some_and(|unet| *unet != spec.unet) {
                    bail!(
                        "[network.unet] is not the network of {from:?}, which the training begins from: leave one of the two out"
                    );
                }
                let usual = DiffusionManifest { preconditioning: wanted, ..spec.diffusion.clone() };
                (Self::Of(Box::new(open_source(sources, "network.from", &model)?)), spec.unet.clone(), usual)
            }
        };
        let diffusion = network.diffusion.get_or_insert(usual).clone();
        if diffusion.preconditioning != wanted {
            bail!(
                "the preconditioning in [network.diffusion] is {:?}, but this objective needs {wanted:?}: correct it, or leave the table out",
                diffusion.preconditioning
            );
        }
        network.unet = Some(unet.clone());
        Ok((start, GeneratorManifest { unet, diffusion }))
    }
}

/// Refuses a model of other pictures or other classes.
fn check_alike(name: &str, model: &Manifest, data: &DataSet, conditional: bool) -> anyhow::Result<()> {
    if model.shape() != data.shape() {
        let [c, h, w] = model.shape();
        bail!(
            "{name:?} makes pictures of {w}×{h} with {c} channels, which those to learn from are not: choose another one"
        );
    }
    let classes: &[String] = if conditional { &data.classes } else { &[] };
    if model.classes != classes {
        bail!(
            "{name:?} knows other classes than the pictures to learn from, or in another order: name them in classes of [data] as it does, or choose another one"
        );
    }
    Ok(())
}

fn teacher(
    config: &GeneratorConfig,
    data: &DataSet,
    (device, cache): (&Device, &Path),
    sources: &mut Sources,
) -> anyhow::Result<Option<Generator>> {
    let Some(name) = config.objective.teacher() else { return Ok(None) };
    let model = resolve(name, cache)?;
    check_alike(name, &model.manifest, data, config.network.conditional)?;
    let checkpoint = open_source(sources, "objective.teacher", &model)?;
    let (teacher, _) = Generator::read(&model.manifest, Weights::new(&checkpoint), device)?;
    if teacher.preconditioning() != PreconditioningName::Edm {
        bail!("{name:?} is no generator of EDM, which a teacher is: choose another one in teacher");
    }
    Ok(Some(teacher))
}

/// The network of the distance, where it has one.
fn lpips(
    config: &GeneratorConfig,
    data: &DataSet,
    device: &Device,
    sources: &mut Sources,
) -> anyhow::Result<Option<Lpips>> {
    let Metric::Lpips { vgg, linear } = config.objective.metric() else { return Ok(None) };
    let [channels, ..] = data.shape();
    if channels != 1 && channels != 3 {
        bail!("LPIPS compares pictures of one or three channels, but these have {channels}: choose another metric");
    }
    let mut open = |name: &str, file: &String| -> anyhow::Result<Checkpoint> {
        let checkpoint = Checkpoint::open(Path::new(file))?;
        sources.insert(format!("objective.metric.{name}"), checkpoint.sha256(&mut unwatched)?);
        Ok(checkpoint)
    };
    let (vgg, linear) = (open("vgg", vgg)?, open("linear", linear)?);
    Ok(Some(read(&vgg, &linear, device)?))
}

fn manifest(config: &GeneratorConfig, data: &DataSet, objective: &str, spec: GeneratorManifest) -> Manifest {
    let source = format!("trained with lapidary train {}: {objective}", config.role().word());
    let manifest = work::manifest(config, data, source, ManifestKind::Generator(spec));
    let classes = if config.network.conditional { manifest.classes } else { Vec::new() };
    Manifest { classes, ..manifest }
}

/// What it is trained for, in words.
fn objective(objective: &Objective) -> String {
    match objective {
        Objective::Edm { .. } => "denoising (EDM)".to_owned(),
        Objective::ConsistencyTraining { .. } => "consistency training in isolation".to_owned(),
        Objective::ConsistencyDistillation { teacher, .. } => format!("consistency distillation from {teacher}"),
        Objective::EasyConsistency { .. } => "easy consistency tuning".to_owned(),
        Objective::ProgressiveDistillation { first, .. } => {
            format!("progressive distillation from {first} steps to one")
        }
        Objective::Boosted(boosting) => {
            format!("boosting, one call for what refinement with {} gives", boosting.refine.classifier)
        }
    }
}
