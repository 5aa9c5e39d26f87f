//! What the user chooses about making pictures from pictures.

use serde::{Deserialize, Serialize};

use super::schedule::time_step_sigmas;
use super::settings::{SEED, TS, steps_in_words};
use super::time_steps::TimeSteps;
use crate::parameter::{
    self, Choice, ChoiceOption, Choosable, Held as _, Idle, Kind, Look, Parameter, ParameterError, Setting, Switch,
    Value, setting,
};
use crate::zoo::DiffusionManifest;

/// A second level that is dragged stays at most at this share of the first.
const BELOW: f64 = 0.99;

/// Points of the grid of noise levels.
pub const GRID: Parameter = Parameter {
    flag: "edit-grid",
    label: "Grid of levels",
    symbol: "N",
    unit: "noise levels",
    min: 2.0,
    max: 1000.0,
    slider: (2.0, 80.0),
    default: 40.0,
    integer: true,
    about: "Inpainting, colorization and super-resolution visit all but the last of N noise levels, unless time steps are given",
    source: "Song et al. 2023, appendix D",
};

/// Side of a patch.
pub const PATCH: Parameter = Parameter {
    flag: "patch",
    label: "Patch side",
    symbol: "p",
    unit: "pixels",
    min: 2.0,
    max: 64.0,
    slider: (2.0, 16.0),
    default: 8.0,
    integer: true,
    about: "Super-resolution keeps the mean colour of every p × p patch; p must divide the resolution",
    source: "8: openai/consistency_models; 2 and 4: openai/consistency_models_cifar10",
};

/// Noise level of a noisy picture.
pub const NOISE_LEVEL: Parameter = Parameter {
    flag: "noise-level",
    label: "Noise level",
    symbol: "σ",
    unit: "standard deviation, [-1,1] pixels",
    min: 0.002,
    max: 80.0,
    slider: (0.002, 2.0),
    default: 0.5,
    integer: false,
    about: "How noisy the picture to be denoised is",
    source: "range: Song et al. 2023, appendix D; default: Lapidary",
};

/// First noise level of stroke-guided generation.
pub const STROKE_START: Parameter = Parameter {
    flag: "stroke-start",
    label: "First level",
    symbol: "t₁",
    unit: "noise level σ",
    min: 0.002,
    max: 80.0,
    slider: (0.5, 20.0),
    default: 5.38,
    integer: false,
    about: "Noise added to the painted picture; more follows the strokes less and looks more like the training data",
    source: "Song et al. 2023, appendix D",
};

/// Second noise level of stroke-guided generation.
pub const STROKE_END: Parameter = Parameter {
    flag: "stroke-end",
    label: "Second level",
    symbol: "t₂",
    unit: "noise level σ",
    min: 0.002,
    max: 80.0,
    slider: (0.1, 10.0),
    default: 2.24,
    integer: false,
    about: "Noise level of the second and last call; below the first",
    source: "Song et al. 2023, appendix D",
};

/// Seed of the first frame.
pub const SEED_FROM: Parameter = Parameter {
    flag: "seed-from",
    label: "From seed",
    about: "Seed of the first frame; all frames have the class that its picture has, unless classes are listed",
    default: 0.0,
    ..SEED
};

/// Seed of the last frame.
pub const SEED_TO: Parameter = Parameter {
    flag: "seed-to",
    label: "To seed",
    about: "Seed of the last frame; as many frames as samples lie between, on the arc between both noises",
    default: 1.0,
    ..SEED
};

const ADD_NOISE: Switch = Switch {
    flag: "add-noise",
    negated: false,
    label: "Add noise first",
    about: "Adds noise of that level to the picture before it is removed, to try denoising on a clean picture",
};

/// What is made of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EditTask {
    /// Generate the pixels of a mask.
    Inpaint,
    /// Generate colours for the luminance.
    Colorize,
    /// Generate detail for the means of patches.
    SuperResolution,
    /// Make a picture of painted strokes.
    Stroke,
    /// Remove noise.
    Denoise,
    /// Frames between two seeds.
    Interpolate,
}

impl EditTask {
    /// Whether it starts from a picture.
    #[must_use]
    pub const fn needs_reference(self) -> bool {
        !matches!(self, Self::Interpolate)
    }

    /// Whether it visits a grid of noise levels.
    #[must_use]
    pub const fn visits_grid(self) -> bool {
        matches!(self, Self::Inpaint | Self::Colorize | Self::SuperResolution)
    }

    /// Whether it needs to know which pixels are missing.
    #[must_use]
    pub const fn needs_mask(self) -> bool {
        matches!(self, Self::Inpaint)
    }
}

impl Choosable for EditTask {
    const CHOICE: Choice = Choice { flag: "task", label: "Task", about: "What the generator makes of a picture" };
    const ALL: &'static [Self] =
        &[Self::Inpaint, Self::Colorize, Self::SuperResolution, Self::Stroke, Self::Denoise, Self::Interpolate];

    fn option(self) -> ChoiceOption {
        let (key, label, about) = match self {
            Self::Inpaint => (
                "inpaint",
                "Inpaint",
                "Generates the masked pixels and keeps the others (Song et al. 2023, Algorithm 4)",
            ),
            Self::Colorize => (
                "colorize",
                "Colorize",
                "Generates colours and keeps 0.2989 R + 0.5870 G + 0.1140 B of every pixel (Song et al. 2023, Algorithm 4)",
            ),
            Self::SuperResolution => (
                "super-resolution",
                "Super-resolution",
                "Generates detail and keeps the mean colour of every patch (Song et al. 2023, Algorithm 4)",
            ),
            Self::Stroke => (
                "stroke",
                "Stroke",
                "Makes a picture of painted strokes: f(f(y + t₁ z, t₁) + sqrt(t₂² - σ_min²) z', t₂) (SDEdit; Song et al. 2023, appendix D)",
            ),
            Self::Denoise => ("denoise", "Denoise", "Removes noise of a known level in one call: f(x, σ)"),
            Self::Interpolate => (
                "interpolate",
                "Interpolate",
                "Generates frames between two seeds: the noises are mixed on the arc between them (slerp); needs no picture",
            ),
        };
        ChoiceOption { key, label, about }
    }
}

/// What the user chooses about making pictures from pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EditSettings {
    /// What is made.
    pub task: EditTask,
    /// Noise levels that inpainting, colorization and super-resolution visit; `None` for all of a grid.
    pub ts: Option<TimeSteps>,
    /// Points of that grid.
    pub grid: u32,
    /// Side of a patch, in pixels.
    pub patch: u32,
    /// Noise level of the picture to be denoised, in `[-1, 1]` units.
    pub sigma: f64,
    /// Add noise of that level first, to try denoising on a clean picture.
    pub add_noise: bool,
    /// First noise level of stroke-guided generation.
    pub stroke_start: f64,
    /// Second noise level of stroke-guided generation.
    pub stroke_end: f64,
    /// Seed of the first frame.
    pub seed_from: u64,
    /// Seed of the last frame.
    pub seed_to: u64,
}

impl Default for EditSettings {
    fn default() -> Self {
        Self {
            task: EditTask::Inpaint,
            ts: None,
            grid: GRID.default as u32,
            patch: PATCH.default as u32,
            sigma: NOISE_LEVEL.default,
            add_noise: false,
            stroke_start: STROKE_START.default,
            stroke_end: STROKE_END.default,
            seed_from: SEED_FROM.default as u64,
            seed_to: SEED_TO.default as u64,
        }
    }
}

impl EditSettings {
    /// Every setting of editing.
    pub const TABLE: &'static [Setting<Self>] = &[
        setting!(task, Kind::of::<EditTask>()),
        setting!(grid, Kind::Number(&GRID)).by(Self::set_grid).unless(Self::off_grid),
        Setting::<Self>::new(Kind::Text(&TS), |all| steps_in_words(all.ts.as_ref()), |_, _| {})
            .unless(|all| all.off_grid().filter(|idle| idle.is_hidden)),
        setting!(patch, Kind::Number(&PATCH)).unless(|all| all.only_for(EditTask::SuperResolution)),
        setting!(sigma, Kind::Number(&NOISE_LEVEL)).looks(Look::Slider).unless(|all| all.only_for(EditTask::Denoise)),
        setting!(add_noise, Kind::Switch(&ADD_NOISE)).unless(|all| all.only_for(EditTask::Denoise)),
        setting!(stroke_start, Kind::Number(&STROKE_START))
            .looks(Look::Slider)
            .moving(|all| all.stroke_start = all.stroke_start.max(all.stroke_end / BELOW).min(STROKE_START.max))
            .unless(|all| all.only_for(EditTask::Stroke)),
        setting!(stroke_end, Kind::Number(&STROKE_END))
            .looks(Look::Slider)
            .moving(|all| all.stroke_end = all.stroke_end.min(all.stroke_start * BELOW).max(STROKE_END.min))
            .unless(|all| all.only_for(EditTask::Stroke)),
        setting!(seed_from, Kind::Number(&SEED_FROM)).unless(|all| all.only_for(EditTask::Interpolate)),
        setting!(seed_to, Kind::Number(&SEED_TO)).unless(|all| all.only_for(EditTask::Interpolate)),
    ];

    /// Time steps would decide instead.
    fn set_grid(&mut self, value: Value) {
        self.grid.take(value);
        self.ts = None;
    }

    fn off_grid(&self) -> Option<Idle> {
        if self.task.visits_grid() {
            return self.ts.as_ref().map(|_| Idle::grey("beside time steps".to_owned()));
        }
        Some(Idle::hidden(self.on_task()))
    }

    fn only_for(&self, task: EditTask) -> Option<Idle> {
        (self.task != task).then(|| Idle::hidden(self.on_task()))
    }

    fn on_task(&self) -> String {
        format!("on the task {}", self.task.option().key)
    }

    /// Checks every number.
    ///
    /// # Errors
    /// The first [`ParameterError`] found.
    pub fn check(&self) -> Result<(), ParameterError> {
        parameter::check(Self::TABLE, self)?;
        if self.stroke_end >= self.stroke_start {
            let (found, expected) = (self.stroke_end.to_string(), format!("below the first, {}", self.stroke_start));
            let default = STROKE_END.default.min(0.5 * self.stroke_start);
            return Err(ParameterError { label: STROKE_END.label, found, expected, default });
        }
        Ok(())
    }

    /// Levels at which the network is called, falling; none for interpolation, which is sampled like new pictures.
    #[must_use]
    pub fn sigmas(&self, diffusion: &DiffusionManifest) -> Vec<f64> {
        match (self.task, &self.ts) {
            (task, Some(ts)) if task.visits_grid() => time_step_sigmas(diffusion, ts),
            (EditTask::Inpaint | EditTask::Colorize | EditTask::SuperResolution, _) => {
                time_step_sigmas(diffusion, &TimeSteps::all(self.grid))
            }
            (EditTask::Stroke, _) => vec![self.stroke_start, self.stroke_end],
            (EditTask::Denoise, _) => vec![self.sigma],
            (EditTask::Interpolate, _) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::PreconditioningName;

    #[test]
    fn the_defaults_are_the_papers() {
        const CM: DiffusionManifest = DiffusionManifest::new(PreconditioningName::Consistency);
        let sigmas = |task| EditSettings { task, ..Default::default() }.sigmas(&CM);
        let grid = sigmas(EditTask::Inpaint);
        assert!(grid.len() == 39 && grid[0] <= 80.0 && grid[38] > 0.002 && grid.is_sorted_by(|a, b| a > b));
        // Index 20 of 40, which the paper rounds.
        assert!((grid[20] - STROKE_END.default).abs() < 1e-3);
        assert_eq!(sigmas(EditTask::Stroke), [5.38, 2.24]);
        assert_eq!(sigmas(EditTask::Denoise), [0.5]);
        let few = EditSettings { ts: "0,8,16,24,39/40".parse().ok(), ..Default::default() };
        assert_eq!(few.sigmas(&CM).len(), 4);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        assert_eq!(EditSettings::default().check(), Ok(()));
        for bad in [
            EditSettings { grid: 1, ..Default::default() },
            EditSettings { patch: 1, ..Default::default() },
            EditSettings { sigma: 0.0, ..Default::default() },
            EditSettings { sigma: f64::NAN, ..Default::default() },
            EditSettings { stroke_end: 5.38, ..Default::default() },
            EditSettings { stroke_start: 81.0, ..Default::default() },
            EditSettings { seed_to: 1 << 40, ..Default::default() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tasks_keep_their_names_in_files() {
        for task in EditTask::ALL {
            assert_eq!(serde_json::to_string(task).unwrap(), format!("\"{}\"", task.option().key));
        }
    }
}
