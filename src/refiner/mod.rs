//! Refinement as a step function: no loop, no threads, no clock.
//!
//! ```text
//! start ── state 0 ── step ── state 1 ── step ── state 2 …      k iterations have k+1 states
//! ```
//! Every state carries the objective *at that state*. The classifier's forward and backward pass run on the device; the
//! update itself is host arithmetic ([`constraint`]), so it is the same on every device and samples cannot touch each other.

pub mod constraint;
pub mod objective;
pub mod pgd;
pub mod settings;

pub use self::constraint::Norm;
pub use self::objective::Objective;
pub use self::pgd::{Chunks, Evaluation, Numbers, RefineError, Refiner, SampleState, State, evaluate};
pub use self::settings::{RefineSettings, StepUnit};
