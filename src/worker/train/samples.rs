//! What a generator in training makes, for whoever looks: always from the same seeds, so that one sees what changes.

use std::path::Path;

use burn::tensor::Device;

use super::told::Snapshot;
use crate::checkpoint::Weights;
use crate::generator::{GenerateSettings, Generator, Making, Plan};
use crate::image::ImageBatch;
use crate::zoo::resolve;

/// Pictures of a checkpoint on their way.
pub(super) struct Samples {
    generator: Generator,
    making: Making,
    pub(super) step: u64,
}

impl Samples {
    /// Begins to make pictures, with an average of the network where there is one.
    pub(super) fn begin(
        kept: &Snapshot,
        settings: &GenerateSettings,
        (device, cache): (&Device, &Path),
    ) -> anyhow::Result<Self> {
        let best = kept.networks.iter().find(|name| name.starts_with("ema_")).or(kept.networks.first());
        let manifest = kept.folder.join(best.map_or("model", String::as_str)).with_added_extension("toml");
        let model = resolve(&manifest.to_string_lossy(), cache)?;
        let checkpoint = model.open()?;
        let (generator, _) = Generator::read(&model.manifest, Weights::new(&checkpoint), device)?;
        let plan = Plan::new(settings, generator.diffusion())?;
        let labels = settings.labels(generator.classes().len());
        let making = Making::sample(&generator, &settings.seeds(), &labels, &plan, device);
        Ok(Self { generator, making, step: kept.step })
    }

    /// One network call; the pictures when it was the last.
    pub(super) fn step(&mut self) -> anyhow::Result<Option<ImageBatch>> {
        if self.making.step(&self.generator) { Ok(Some(self.making.images()?)) } else { Ok(None) }
    }
}
