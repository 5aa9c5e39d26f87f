//! Before a GPU's first work: its kernels are compiled and tuned, visibly, and its numbers are compared with the CPU's, layer
//! by layer and at the end of the network.
//!
//! Where a layer is wrong the device goes on without tuned kernels, and all is compared again; where that does not help,
//! the CPU takes its place if the user left the choice, else the work is refused.

use super::device::{self, Check, OpenDevice};
use super::error::WorkError;
use super::message::Event;
use super::models::{Loaded, Network};
use super::task::Context;
use super::verdict::Verdict;
use crate::net::check::{self, Call, TOLERANCE};
use crate::refiner::Chunks;
use crate::units::counted;

/// Difference between the ends of two whole networks that rounding does not explain, in shares of the largest value: it may turn
/// a ReLU among the last layers, which changes a gradient by a hundredth or two.
const END_TOLERANCE: f32 = 5e-2;
/// Samples of which the ends are compared.
const END_SAMPLES: usize = 2;
/// The ends of larger models are not compared: their weights would be in memory twice.
const END_BYTES: u64 = 512 << 20;
/// How the end of a network is called among its layers.
const END: &str = "the network as a whole";

/// How far a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Warmth {
    /// More steps are needed.
    Cold,
    /// It can be used.
    Warm,
    /// The device cannot be used; another one is to be opened.
    Elsewhere,
}

/// Takes a step of a warm-up that is on its way and forgets it when it is over; `None` when there is none, and the work itself goes
/// on. After [`Warmth::Elsewhere`] whoever works prepares anew.
///
/// # Errors
/// As [`WarmUp::step`].
pub(super) fn go_on<M: Network>(
    warm: &mut Option<WarmUp<M>>,
    context: &mut Context<'_, '_>,
) -> Result<Option<Warmth>, WorkError> {
    let Some(on_its_way) = warm else { return Ok(None) };
    let warmth = on_its_way.step(context)?;
    if warmth != Warmth::Cold {
        *warm = None;
    }
    Ok(Some(warmth))
}

/// Tunes the kernels of a model for one chunk shape, and checks them. Every piece is a step, so that a stop is heard between
/// them; tuning itself cannot be interrupted.
pub(super) struct WarmUp<M> {
    loaded: Loaded<M>,
    /// Pictures to try it with, `[C, H, W]`.
    size: [usize; 3],
    chunks: Chunks,
    open: OpenDevice,
    kept: Option<Verdict>,
    stage: Stage<M>,
    found: Found,
}

enum Stage<M> {
    Tune,
    /// The layers to be compared, the next of them, and what the network computed.
    Layers(Vec<Call>, usize, Vec<f32>),
    /// What the network computed, and the same network on the CPU.
    End(Vec<f32>, Option<(Loaded<M>, OpenDevice)>),
}

/// What was compared so far.
#[derive(Default)]
struct Found {
    layers: usize,
    /// The largest difference, and where.
    worst: (f32, String),
    /// What differs by too much, and by how much.
    wrong: Vec<String>,
}

impl Found {
    fn add(&mut self, what: &str, difference: f32, tolerance: f32) {
        tracing::info!(what, difference, "self-check");
        if difference > tolerance {
            self.wrong.push(format!("{what}: {:.3} %", difference * 100.0));
        }
        if difference >= self.worst.0 {
            self.worst = (difference, what.to_owned());
        }
    }

    /// The first of what is wrong, and how many more.
    fn wrong(&self) -> String {
        match &*self.wrong {
            [] => String::new(),
            [one] => one.clone(),
            [first, more @ ..] => format!("{first}; and {} more", more.len()),
        }
    }
}

impl<M: Network> WarmUp<M> {
    /// `None` when nothing is to be done: on the CPU, or when this shape has been tuned before.
    pub(super) fn needed(
        context: &Context<'_, '_>,
        loaded: &Loaded<M>,
        size: [usize; 3],
        (chunks, open): (Chunks, &OpenDevice),
    ) -> Option<Self> {
        let (loaded, open) = (loaded.clone(), open.clone());
        let this = Self { loaded, size, chunks, open, kept: None, stage: Stage::Tune, found: Found::default() };
        (!this.open.info.cpu && !context.warmed.contains(&this.key())).then_some(this)
    }

    fn key(&self) -> (String, [usize; 3], usize) {
        (self.loaded.info.sha256.clone(), self.size, self.chunks.size)
    }

    /// The same in words, among files.
    fn call(&self) -> String {
        format!("{} {:?}", M::ROLE, self.key())
    }

    fn tell(context: &mut Context<'_, '_>, step: u32, what: String) {
        context.publish(Event::Preparing { job: context.job, what, step, of: 3 });
    }

    /// Does one piece.
    ///
    /// # Errors
    /// [`WorkError::Wrong`] when the device computes wrongly and was asked for by name.
    pub(super) fn step(&mut self, context: &mut Context<'_, '_>) -> Result<Warmth, WorkError> {
        match std::mem::replace(&mut self.stage, Stage::Tune) {
            Stage::Tune => self.tune(context),
            Stage::Layers(calls, next, numbers) => self.layer(calls, next, numbers, context),
            Stage::End(numbers, twin) => self.end(numbers, twin, context),
        }
    }

    fn tune(&mut self, context: &mut Context<'_, '_>) -> Result<Warmth, WorkError> {
        let what = format!("compiling and tuning the {}'s kernels (once per shape and device)", M::ROLE);
        Self::tell(context, 1, what);
        self.kept = Verdict::read(context.cache(), &self.open.info, &self.call());
        if self.kept.as_ref().is_some_and(|kept| kept.untuned) && !self.open.info.untuned {
            self.untune(context);
        }
        let (n, chunks, device) = (self.chunks.size, self.chunks, &self.open.device);
        let (numbers, calls) = check::record(|| self.loaded.model.probe(self.size, n, chunks, device));
        let numbers = numbers?;
        if let Some(kept) = &self.kept
            && kept.untuned == self.open.info.untuned
            && check::difference(&Verdict::some(&numbers, n), &kept.numbers) <= TOLERANCE
        {
            let found = kept.found.clone();
            self.pass(found, context);
            return Ok(Warmth::Warm);
        }
        self.found = Found { layers: calls.len(), ..Found::default() };
        self.stage = Stage::Layers(calls, 0, numbers);
        Ok(Warmth::Cold)
    }

    fn layer(
        &mut self,
        calls: Vec<Call>,
        next: usize,
        numbers: Vec<f32>,
        context: &mut Context<'_, '_>,
    ) -> Result<Warmth, WorkError> {
        if let Some(call) = calls.get(next) {
            let what = call.to_string();
            let of = calls.len();
            Self::tell(context, 2, format!("checking layer {} of {of} against the CPU: {what}", next + 1));
            self.found.add(&what, call.differs(&self.open.device, &device::cpu().device), TOLERANCE);
            self.stage = Stage::Layers(calls, next + 1, numbers);
            return Ok(Warmth::Cold);
        }
        if !self.found.wrong.is_empty() {
            return self.fail(context);
        }
        if self.loaded.model.bytes() > END_BYTES {
            self.keep(&numbers, context);
            return Ok(Warmth::Warm);
        }
        self.stage = Stage::End(numbers, None);
        Ok(Warmth::Cold)
    }

    fn end(
        &mut self,
        numbers: Vec<f32>,
        twin: Option<(Loaded<M>, OpenDevice)>,
        context: &mut Context<'_, '_>,
    ) -> Result<Warmth, WorkError> {
        let Some((cpu, open)) = twin else {
            Self::tell(context, 3, format!("checking the GPU's {} against the CPU's", M::CHECKED));
            let twin = context.load_on_cpu::<M>(&self.loaded.info.reference)?;
            if twin.0.info.sha256 != self.loaded.info.sha256 {
                // Its file was written again meanwhile: there is nothing to compare with, and next time it is another model.
                return Ok(Warmth::Warm);
            }
            self.stage = Stage::End(numbers, Some(twin));
            return Ok(Warmth::Cold);
        };
        let n = END_SAMPLES.min(self.chunks.size);
        let cpu = check::reference(|| cpu.model.probe(self.size, n, Chunks::CPU, &open.device))?;
        self.found.add(END, check::difference(&numbers[..cpu.len().min(numbers.len())], &cpu), END_TOLERANCE);
        if !self.found.wrong.is_empty() {
            return self.fail(context);
        }
        self.keep(&numbers, context);
        Ok(Warmth::Warm)
    }

    /// All is as on the CPU: told, and kept for the next start.
    fn keep(&mut self, numbers: &[f32], context: &mut Context<'_, '_>) {
        let Found { layers, worst: (worst, at), .. } = &self.found;
        let layers = counted(*layers, "different layer");
        let found = format!(
            "{}, {} and {layers} as on the CPU within {worst:.1e} of the largest value ({at})",
            self.loaded.info.title,
            M::CHECKED
        );
        let (untuned, numbers) = (self.open.info.untuned, Verdict::some(numbers, self.chunks.size));
        let verdict = Verdict { untuned, found, numbers };
        verdict.keep(context.cache(), &self.open.info, &self.call());
        self.pass(verdict.found, context);
    }

    fn pass(&self, found: String, context: &mut Context<'_, '_>) {
        context.warmed.push(self.key());
        let sha256 = self.loaded.info.sha256.clone();
        context.amend_device(|info| {
            info.checks.retain(|check| check.sha256 != sha256);
            info.checks.push(Check { sha256, found });
        });
    }

    /// Something is wrong: again without tuned kernels, or elsewhere, or not at all.
    fn fail(&mut self, context: &mut Context<'_, '_>) -> Result<Warmth, WorkError> {
        let (device, role, wrong) = (self.open.info.name.clone(), M::ROLE, self.found.wrong());
        if !self.open.info.untuned {
            context.publish(Event::Warning(format!(
                "{device} computes the {role} otherwise than the CPU ({wrong}): from here on it computes without tuned kernels, which is slower, and is checked again"
            )));
            self.untune(context);
            return Ok(Warmth::Cold);
        }
        if context.distrust_device() {
            context.publish(Event::Warning(format!(
                "{device} computes the {role} otherwise than the CPU, with tuned kernels and without ({wrong}): the CPU is used instead; updating the GPU's driver may help"
            )));
            return Ok(Warmth::Elsewhere);
        }
        Err(WorkError::Wrong { device, role, wrong })
    }

    fn untune(&mut self, context: &mut Context<'_, '_>) {
        context.untune();
        self.open.info.untuned = true;
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::checkpoint::{CheckpointError, LoadReport, Weights};
    use crate::net::Source;
    use crate::net::resnet::{BlockKind, Resnet, ResnetConfig, ResnetManifest, Shortcut};
    use crate::worker::device::{DeviceChoice, DeviceInfo};
    use crate::worker::inbox::Inbox;
    use crate::worker::message::{JobId, ModelInfo};
    use crate::zoo::Manifest;

    /// A small residual network; too large, as it says, to be read a second time.
    struct Small(Resnet);

    struct Waves;

    impl Source for Waves {
        fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, CheckpointError> {
            let wave = (0..shape.iter().product()).map(|i: usize| (1.7 * i as f32 + name.len() as f32).sin() * 0.3);
            Ok(Some(if name.ends_with("running_var") { wave.map(|x| x + 1.0).collect() } else { wave.collect() }))
        }
    }

    impl Network for Small {
        const ROLE: &'static str = "classifier";
        const CHECKED: &'static str = "logits";

        fn read(_: &Manifest, _: Weights<'_>, _: &Device) -> Result<(Self, LoadReport), CheckpointError> {
            unreachable!("it is not read from a file")
        }

        fn shape(&self) -> [usize; 3] {
            [3, 8, 8]
        }

        fn bytes(&self) -> u64 {
            u64::MAX
        }

        fn event(job: JobId, info: ModelInfo) -> Event {
            Event::Classifier { job, info }
        }

        fn probe(&self, size: [usize; 3], n: usize, _: Chunks, device: &Device) -> Result<Vec<f32>, WorkError> {
            let [c, h, w] = size;
            let pixels = (0..n * c * h * w).map(|i| (0.3 * i as f32).sin()).collect::<Vec<_>>();
            let x = Tensor::<4>::from_data(TensorData::new(pixels, [n, c, h, w]), device);
            Ok(self.0.forward(x).into_data().try_into_vec().expect("single precision"))
        }
    }

    fn small() -> Loaded<Small> {
        let arch = ResnetManifest {
            block: BlockKind::Basic,
            blocks: vec![1],
            widths: vec![8],
            width_per_group: 64,
            shortcut: Shortcut::Conv,
            stem_kernel: 3,
            stem_stride: 1,
            stem_pool: false,
            preactivation: None,
        };
        let config = ResnetConfig { arch, channels: 3, num_classes: 4 };
        let net = Resnet::load(&config, &mut Waves, &Device::flex()).unwrap().fold();
        let info = ModelInfo {
            reference: "small".to_owned(),
            title: "Small".to_owned(),
            sha256: "5ma11".to_owned(),
            classes: Vec::new(),
            sample_shape: [3, 8, 8],
            report: LoadReport::default(),
        };
        Loaded { info, model: std::sync::Arc::new(Small(net)) }
    }

    /// What becomes of a network on a "GPU" that computes layers wrongly ([`check::Mode::wrong`]).
    struct Told {
        end: Result<Warmth, String>,
        steps: Vec<String>,
        warnings: Vec<String>,
        device: Option<DeviceInfo>,
        /// What `auto` would open next is the CPU.
        left: bool,
    }

    fn warm(cache: &std::path::Path, choice: DeviceChoice, wrong: Option<&str>) -> Told {
        let (_sender, receiver) = crossbeam::channel::bounded(1);
        let mut events = Vec::new();
        let mut sink = |event: Event| {
            events.push(event);
            true
        };
        let mut context = Context::new(Inbox::new(&receiver), cache.to_owned(), &mut sink);
        context.wrong = wrong.map(str::to_owned);
        let mut open = device::cpu();
        (open.info.name, open.info.cpu) = ("Toy GPU".to_owned(), false);
        context.device = Some((choice, open.clone()));
        context.set_mode();
        let chunks = Chunks::gpu(3);
        let mut warm = WarmUp::needed(&context, &small(), [3, 8, 8], (chunks, &open)).expect("it is cold");
        let end = loop {
            match warm.step(&mut context) {
                Ok(Warmth::Cold) => {}
                Ok(end) => break Ok(end),
                Err(error) => break Err(error.to_string()),
            }
        };
        let left = context.device.is_none();
        drop(context);
        check::set_mode(check::Mode::default());
        let mut told = Told { end, steps: Vec::new(), warnings: Vec::new(), device: None, left };
        for event in events {
            match event {
                Event::Preparing { what, .. } => told.steps.push(what),
                Event::Warning(text) => told.warnings.push(text),
                Event::Device { info, .. } => told.device = Some(info),
                other => panic!("{other:?}"),
            }
        }
        told
    }

    #[test]
    fn a_network_that_is_as_on_the_cpu_says_so_and_is_only_looked_at_the_next_time() {
        let cache = tempfile::tempdir().unwrap();
        let first = warm(cache.path(), DeviceChoice::Gpu, None);
        assert_eq!(first.end, Ok(Warmth::Warm));
        assert_eq!(first.steps.len(), 1 + 4, "{:?}", first.steps);
        let expected = "checking layer 1 of 4 against the CPU: convolution 3x3, 3 to 8 channels at 8x8";
        assert_eq!(first.steps[1], expected);
        let device = first.device.expect("it is told");
        let [check] = &*device.checks else { panic!("{device:?}") };
        assert!(
            check.found.starts_with("Small, logits and 4 different layers as on the CPU within 0.0e0"),
            "{check:?}"
        );
        let second = warm(cache.path(), DeviceChoice::Gpu, None);
        assert_eq!((second.steps.len(), second.device.as_ref()), (1, Some(&device)), "{:?}", second.steps);
        // Another kernel than then, a wrong one.
        let third = warm(cache.path(), DeviceChoice::Gpu, Some("convolution 3x3"));
        assert!(third.steps.len() > 5 && third.warnings.len() == 1, "{:?}", third.steps);
    }

    #[test]
    fn a_wrong_kernel_is_found_and_healed_without_tuning_and_the_next_start_knows() {
        let cache = tempfile::tempdir().unwrap();
        for (steps, warnings) in [(2 * 5, 1), (1, 0)] {
            let told = warm(cache.path(), DeviceChoice::Gpu, Some("linear layer"));
            assert_eq!(told.end, Ok(Warmth::Warm));
            assert_eq!((told.steps.len(), told.warnings.len()), (steps, warnings), "{:?}", told.steps);
            let device = told.device.expect("it is told");
            assert!(device.untuned && device.checks.len() == 1, "{device:?}");
            if let Some(text) = told.warnings.first() {
                let start =
                    "Toy GPU computes the classifier otherwise than the CPU (linear layer, 8 to 4 channels: 1.000 %)";
                assert!(text.starts_with(start), "{text}");
            }
        }
    }

    #[test]
    fn what_stays_wrong_is_left_to_the_cpu_or_refused() {
        let cache = tempfile::tempdir().unwrap();
        let told = warm(cache.path(), DeviceChoice::Auto, Some("!linear layer"));
        assert_eq!(told.end, Ok(Warmth::Elsewhere));
        assert!(told.left && told.warnings[1].contains("the CPU is used instead"), "{:?}", told.warnings);
        let told = warm(cache.path(), DeviceChoice::Gpu, Some("!linear layer"));
        let text = told.end.unwrap_err();
        assert!(text.starts_with("Toy GPU computes the classifier otherwise than the CPU, with tuned"), "{text}");
        assert!(text.ends_with("update its driver, or use --device cpu") && !told.left, "{text}");
    }
}
