//! Noise levels as indices into a grid, the way OpenAI's scripts write them.

use serde::{Deserialize, Serialize};

/// Points that a grid can have.
const MAX_GRID: u32 = 100_000;

/// Rising indices into a grid of noise levels that fall from `sigma_max` (index 0) to `sigma_min` (index `grid - 1`).
///
/// Written `0,22,39/40`. The network is called at every index but the closing one, `grid - 1`: there
/// `f(x, sigma_min) = x`, so a call would change nothing. `0,22/40` therefore means the same.
///
/// # Source
/// openai/consistency_models, `scripts/image_sample.py`: arguments `--ts 0,22,39 --steps 40`. There the last index is
/// never called, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSteps {
    indices: Vec<u32>,
    grid: u32,
}

/// Text or numbers that are no [`TimeSteps`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the time steps are {found:?}, but {expected}: write them like 0,22,39/40, indices before the points of the grid"
)]
pub struct TimeStepsError {
    /// What was given.
    pub found: String,
    /// What holds of time steps and does not hold of these.
    pub expected: &'static str,
}

impl TimeSteps {
    /// Checks `indices` into a grid of `grid` points.
    ///
    /// # Errors
    /// [`TimeStepsError`] unless the grid has 2 to 100000 points, the indices rise, the first is below `grid - 1`, and
    /// the last is at most that.
    pub fn new(indices: Vec<u32>, grid: u32) -> Result<Self, TimeStepsError> {
        let (first, last) = (indices.first().copied(), indices.last().copied());
        let expected = if !(2..=MAX_GRID).contains(&grid) {
            "a grid has 2 to 100000 points"
        } else if !indices.is_sorted_by(|a, b| a < b) {
            "every index is larger than the one before"
        } else if last.is_some_and(|last| last >= grid) {
            "the last index is below the number of points"
        } else if first.is_none_or(|first| first == grid - 1) {
            "there is at least one index before the closing one"
        } else {
            return Ok(Self { indices, grid });
        };
        Err(TimeStepsError { found: Self { indices, grid }.to_string(), expected })
    }

    /// Every index of a grid of `grid` points, clamped to `2..=100000`.
    #[must_use]
    pub fn all(grid: u32) -> Self {
        let grid = grid.clamp(2, MAX_GRID);
        Self { indices: (0..grid).collect(), grid }
    }

    /// The indices, rising.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Points of the grid.
    #[must_use]
    pub const fn grid(&self) -> u32 {
        self.grid
    }

    /// Whether the last index is that of `sigma_min`, where the network is not called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.indices.last() == Some(&(self.grid - 1))
    }

    /// Number of indices at which the network is called, at least 1.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.indices.len() - usize::from(self.is_closed())
    }

    /// Place of every index in the grid, from 0 (`sigma_max`) to 1 (`sigma_min`).
    pub fn positions(&self) -> impl Iterator<Item = f64> {
        let last = f64::from(self.grid - 1);
        self.indices.iter().map(move |index| f64::from(*index) / last)
    }
}

impl std::fmt::Display for TimeSteps {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, index) in self.indices.iter().enumerate() {
            write!(out, "{}{index}", if i == 0 { "" } else { "," })?;
        }
        write!(out, "/{}", self.grid)
    }
}

impl std::str::FromStr for TimeSteps {
    type Err = TimeStepsError;

    fn from_str(text: &str) -> Result<Self, TimeStepsError> {
        let refuse = |expected| TimeStepsError { found: text.to_owned(), expected };
        let (indices, grid) = text.split_once('/').ok_or_else(|| refuse("the points of the grid are missing"))?;
        let number = |part: &str| {
            part.trim().parse::<u32>().map_err(|_no_number| refuse("indices and points are whole numbers"))
        };
        let indices: Result<Vec<u32>, _> = indices.split(',').map(number).collect();
        Self::new(indices?, number(grid)?)
    }
}

impl TryFrom<String> for TimeSteps {
    type Error = TimeStepsError;

    fn try_from(text: String) -> Result<Self, TimeStepsError> {
        text.parse()
    }
}

impl From<TimeSteps> for String {
    fn from(steps: TimeSteps) -> Self {
        steps.to_string()
    }
}

/// Time steps that were published for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TsPreset {
    /// Name on the command line.
    pub key: &'static str,
    /// Name in the window.
    pub label: &'static str,
    /// The steps, to be parsed as [`TimeSteps`].
    pub ts: &'static str,
    /// Where they are published.
    pub source: &'static str,
}

impl TsPreset {
    /// The steps.
    ///
    /// # Panics
    /// Never for those of [`TS_PRESETS`], as a test shows.
    #[must_use]
    pub fn time_steps(&self) -> TimeSteps {
        self.ts.parse().expect("published steps are well formed")
    }
}

const SOURCE: &str = "openai/consistency_models, scripts/launch.sh";

/// The published two-step settings.
pub const TS_PRESETS: &[TsPreset] = &[
    TsPreset { key: "imagenet64-cd", label: "ImageNet-64, CD", ts: "0,22,39/40", source: SOURCE },
    TsPreset { key: "imagenet64-ct", label: "ImageNet-64, CT", ts: "0,106,200/201", source: SOURCE },
    TsPreset { key: "bedroom256-cd-lpips", label: "Bedroom-256, CD (LPIPS)", ts: "0,17,39/40", source: SOURCE },
    TsPreset { key: "bedroom256-cd-l2", label: "Bedroom-256, CD (L2)", ts: "0,18,39/40", source: SOURCE },
    TsPreset { key: "bedroom256-ct", label: "Bedroom-256, CT", ts: "0,67,150/151", source: SOURCE },
    TsPreset { key: "cat256-ct", label: "Cat-256, CT", ts: "0,62,150/151", source: SOURCE },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_steps_are_two_forms_of_one_thing() {
        let steps: TimeSteps = " 0, 22,39 / 40".parse().unwrap();
        assert_eq!((steps.indices(), steps.grid()), ([0, 22, 39].as_slice(), 40));
        assert_eq!(steps.to_string(), "0,22,39/40");
        let json = serde_json::to_string(&steps).unwrap();
        assert_eq!(json, "\"0,22,39/40\"");
        assert_eq!(serde_json::from_str::<TimeSteps>(&json).unwrap(), steps);
        assert!(serde_json::from_str::<TimeSteps>("\"0,40/40\"").is_err(), "files are checked too");
    }

    #[test]
    fn the_closing_index_is_no_call() {
        let calls = |text: &str| text.parse::<TimeSteps>().unwrap().calls();
        assert_eq!((calls("0,22,39/40"), calls("0,22/40"), calls("3/40")), (2, 2, 1));
        assert_eq!(TimeSteps::all(40).calls(), 39);
    }

    #[test]
    fn steps_that_make_no_sense_are_refused_in_one_sentence() {
        for (text, reason) in [
            ("0,22,39", "points of the grid are missing"),
            ("0,x/40", "whole numbers"),
            ("/40", "whole numbers"),
            ("0,22,22/40", "larger than the one before"),
            ("0,40/40", "below the number of points"),
            ("39/40", "before the closing one"),
            ("0/1", "2 to 100000 points"),
            ("0,-1/40", "whole numbers"),
        ] {
            let message = text.parse::<TimeSteps>().unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("0,22,39/40"), "{text}: {message}");
        }
    }

    #[test]
    fn published_settings_are_well_formed_and_have_names_of_their_own() {
        for (i, preset) in TS_PRESETS.iter().enumerate() {
            assert_eq!(preset.time_steps().calls(), 2, "{}", preset.key);
            assert!(TS_PRESETS[..i].iter().all(|other| other.key != preset.key), "{}", preset.key);
        }
    }
}
