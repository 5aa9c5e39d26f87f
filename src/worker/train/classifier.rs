//! A classifier that is to be trained.

use std::path::{Path, PathBuf};

use anyhow::bail;
use burn::tensor::Device;

use super::config::ClassifierConfig;
use super::record::{Sources, open_source};
use super::told::TrainSettings;
use super::work::{self, Ready};
use crate::checkpoint::{Checkpoint, Weights};
use crate::data::{DataSet, Wanted};
use crate::generator::{Generator, Making, Plan};
use crate::net::resnet::ResnetConfig;
use crate::noise::{Purpose, Stream};
use crate::train::{ClassifierObjective, ClassifierPlan, ClassifierTrainer, Fakes, Initial, Order, Terms, TrainError};
use crate::zoo::{ClassifierManifest, Manifest, ManifestKind, PreconditioningName, resolve};

/// Makes everything ready for its training.
pub(super) fn ready(
    settings: &TrainSettings,
    mut config: ClassifierConfig,
    data: DataSet,
    (device, cache): (&Device, &Path),
) -> anyhow::Result<Ready> {
    if data.classes.len() < 2 {
        bail!(
            "a classifier tells at least two classes apart, but the pictures name {}: give an .npz with labels, or folders whose folders are the classes",
            data.classes.len()
        );
    }
    let mut sources = Sources::new();
    let (start, spec) = first(&mut config, &data, cache, &mut sources)?;
    let [channels, ..] = data.shape();
    let (manifest, objective) = (manifest(&config, &data, spec.clone()), objective(&config.objective));
    work::check(&manifest, &config.course, settings, device)?;
    let plan = ClassifierPlan {
        config: ResnetConfig { arch: spec.resnet.clone(), channels, num_classes: data.classes.len() },
        normalisation: [spec.mean.clone(), spec.std.clone()],
        objective: config.objective.clone(),
        optimiser: config.optimiser.clone(),
        course: config.course.clone(),
        dropout: config.network.dropout,
        variety: config.data.variety,
    };
    let mut notes = Vec::new();
    let fakes = match &mut config.objective {
        ClassifierObjective::Joint { fakes, .. } => {
            Some(made(fakes, (&data, config.course.seed), (device, cache), (&mut notes, &mut sources))?)
        }
        _ => None,
    };
    let trainer = match &start {
        None => ClassifierTrainer::new(plan, &mut Initial::new(config.course.seed), fakes, device)?,
        Some(checkpoint) => ClassifierTrainer::new(plan, &mut Weights::new(checkpoint), fakes, device)?,
    };
    let mut ready = Ready::new(settings, &config, (Box::new(trainer), data, sources), (manifest, objective))?;
    ready.notes.extend(notes);
    Ok(ready)
}

/// Fills in what the network is; the file of the first weights, unless they are random.
fn first(
    config: &mut ClassifierConfig,
    data: &DataSet,
    cache: &Path,
    sources: &mut Sources,
) -> anyhow::Result<(Option<Checkpoint>, ClassifierManifest)> {
    let network = &mut config.network;
    let (start, resnet, usual) = match (&network.from, &network.resnet) {
        (None, None) => bail!("[network] says neither from nor resnet: give one of them"),
        (None, Some(resnet)) => {
            let [channels, ..] = data.shape();
            (None, resnet.clone(), [vec![0.5; channels], vec![0.25; channels]])
        }
        (Some(from), resnet) => {
            let model = resolve(from, cache)?;
            let ManifestKind::Classifier(spec) = &model.manifest.kind else {
                bail!("{from:?} is no classifier, but a classifier begins from one: choose another one in from");
            };
            if model.manifest.classes != data.classes || model.manifest.channels != data.shape()[0] {
                bail!(
                    "{from:?} knows other classes or channels than the pictures to learn from, or classes in another order: name them in classes of [data] as it does, or choose another one"
                );
            }
            if resnet.as_ref().is_some_and(|resnet| *resnet != spec.resnet) {
                bail!(
                    "[network.resnet] is not the network of {from:?}, which the training begins from: leave one of the two out"
                );
            }
            (
                Some(open_source(sources, "network.from", &model)?),
                spec.resnet.clone(),
                [spec.mean.clone(), spec.std.clone()],
            )
        }
    };
    let [mean, std] = usual;
    let (mean, std) = (network.mean.get_or_insert(mean).clone(), network.std.get_or_insert(std).clone());
    if [mean.len(), std.len()] != [data.shape()[0]; 2] || std.iter().any(|std| *std <= 0.0) {
        bail!("mean and std in [network] are one number for every channel, and no std is 0 or less: correct them");
    }
    network.resnet = Some(resnet.clone());
    Ok((start, ClassifierManifest { resnet, mean, std }))
}

/// Who gives generated pictures: an archive, read from the first to the last again and again, each time in another order, or a
/// consistency model, which makes each in one step.
fn made(
    name: &mut String,
    (data, seed): (&DataSet, u64),
    (device, cache): (&Device, &Path),
    (notes, sources): (&mut Vec<String>, &mut Sources),
) -> anyhow::Result<Box<Fakes<'static>>> {
    if Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
        let path: PathBuf = std::path::absolute(&*name).unwrap_or_else(|_| PathBuf::from(&*name));
        *name = path.to_string_lossy().into_owned();
        let wanted = Wanted { size: None, channels: data.shape()[0], classes: data.classes.clone() };
        let fakes = DataSet::read(&[path], &wanted, &mut |_, _| true)?;
        if fakes.classes.is_empty() {
            bail!("the generated pictures in {name} have no labels: write the class of each as arr_1");
        }
        if fakes.shape() != data.shape() {
            let [_, h, w] = fakes.shape();
            bail!("the generated pictures in {name} are {w}×{h}, which those to learn from are not: make others");
        }
        notes.push(format!("generated: {}", fakes.report.join("; ")));
        sources.insert("objective.fakes".to_owned(), fakes.sha256());
        let mut order = Order::new(!seed, fakes.training.len());
        return Ok(Box::new(move |step, count| {
            let places: Vec<usize> = order.batch(step, count).into_iter().map(|i| fakes.training[i]).collect();
            Ok(fakes.batch(&places))
        }));
    }
    let model = resolve(name, cache)?;
    let checkpoint = open_source(sources, "objective.fakes", &model)?;
    let (generator, _) = Generator::read(&model.manifest, Weights::new(&checkpoint), device)?;
    if generator.preconditioning() != PreconditioningName::Consistency {
        bail!(
            "{name:?} is no consistency model, which makes pictures in one step: make an .npz with `lapidary generate`, and give that in fakes"
        );
    }
    if model.manifest.shape() != data.shape() {
        bail!("{name:?} makes pictures of another size than those to learn from: choose another one");
    }
    if generator.classes() != data.classes {
        bail!("{name:?} knows other classes than the pictures to learn from, or in another order: choose another one");
    }
    let (device, classes) = (device.clone(), data.classes.len());
    let plan = Plan::multistep(vec![generator.diffusion().sigma_max]);
    Ok(Box::new(move |step, count| {
        let draw = |sample: usize| {
            let purpose = Purpose::Training { step: step as u32, sample: sample as u16 };
            let mut stream = Stream::new(!seed, purpose);
            ((stream.uniform() * (1_u64 << 53) as f64) as u64, stream.below(classes))
        };
        let (seeds, labels): (Vec<u64>, Vec<usize>) = (0..count).map(draw).unzip();
        let mut making = Making::sample(&generator, &seeds, &labels, &plan, &device);
        while !making.step(&generator) {}
        let pictures = making.images().map_err(TrainError::from)?;
        Ok((pictures, labels))
    }))
}

fn manifest(config: &ClassifierConfig, data: &DataSet, spec: ClassifierManifest) -> Manifest {
    let source = format!("trained with lapidary train classifier: {}", objective(&config.objective));
    work::manifest(config, data, source, ManifestKind::Classifier(spec))
}

/// What it is trained for, in words.
fn objective(objective: &ClassifierObjective) -> String {
    match objective {
        ClassifierObjective::Plain {} => "plain classification".to_owned(),
        ClassifierObjective::Robust { attack } => format!("robust classification, L2 {}", attack.eps),
        ClassifierObjective::Joint { terms, fakes, .. } => {
            let terms = match terms {
                Terms::Ce => "CE",
                Terms::Bce => "BCE",
                Terms::CeBce => "CE and BCE",
                Terms::Joint => "CE and BCE of both",
            };
            format!("joint classification and discrimination ({terms}) against {fakes}")
        }
    }
}
