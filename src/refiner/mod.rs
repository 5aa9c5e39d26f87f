//! Refinement as a step function: no loop, no threads, no clock.
//!
//! ```text
//! start ── state 0 ── step ── state 1 ── step ── state 2 …      k iterations have k+1 states
//! ```
//! Every state carries the objective *at that state*. The classifier's forward and backward pass run on the device
//! ([`evaluate`](mod@evaluate)); the update itself is host arithmetic ([`constraint`], [`langevin`]), so it is the same on
//! every device and samples cannot touch each other. Only de-biased pseudo-labels and early stopping look at other pictures.

pub mod best;
pub mod constraint;
pub mod evaluate;
pub mod langevin;
pub mod objective;
pub mod presets;
pub mod rule;
pub mod run;
pub mod settings;
pub mod state;
pub mod target;

pub use self::best::Best;
pub use self::constraint::Norm;
pub use self::evaluate::{Chunks, Evaluation, RefineError, evaluate, logits, reality};
pub use self::langevin::langevin_step;
pub use self::objective::Objective;
pub use self::presets::{PRESETS, Preset};
pub use self::rule::Rule;
pub use self::run::{Batch, Refiner};
pub use self::settings::{RefineSettings, StepUnit};
pub(crate) use self::state::first_highest;
pub use self::state::{Keep, Numbers, SampleState, State, best_of};
pub use self::target::{Target, pseudo_labels};
