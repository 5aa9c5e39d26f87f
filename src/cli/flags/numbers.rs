//! Numeric flags: every parameter, and the setting that it changes.

use std::num::NonZeroU32;

use clap::Arg;

use crate::generator::edit_settings::{GRID, NOISE_LEVEL, PATCH, SEED_FROM, SEED_TO, STROKE_END, STROKE_START};
use crate::generator::settings::{S_CHURN, S_MAX, S_MIN, S_NOISE, SAMPLES, SEED, STEPS};
use crate::parameter::{Parameter, ParameterError};
use crate::refiner::StepUnit;
use crate::refiner::settings::{EPS, GRADIENT_DIVISOR, ITERATIONS, NOISE, RESTARTS, STEP_SIZE};
use crate::session::Settings;
use crate::session::settings::{BATCH, MEMORY};

/// A numeric flag and what it sets.
pub(super) struct Number {
    pub(super) parameter: Parameter,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), ParameterError>,
}

const fn number(parameter: Parameter, set: fn(&mut Settings, &str) -> Result<(), ParameterError>) -> Number {
    Number { parameter, set }
}

pub(super) const GENERATE: [Number; 7] = [
    number(SAMPLES, |all, text| SAMPLES.parse(text).map(|value| all.generate.samples = value as u32)),
    number(SEED, |all, text| SEED.parse(text).map(|value| all.generate.first_seed = value as u64)),
    number(STEPS, |all, text| {
        all.generate.steps = STEPS.parse(text)? as u32;
        // Lists of levels would decide instead.
        all.generate.sigmas.clear();
        all.generate.ts = None;
        Ok(())
    }),
    number(S_CHURN, |all, text| S_CHURN.parse(text).map(|value| all.generate.churn = value)),
    number(S_MIN, |all, text| S_MIN.parse(text).map(|value| all.generate.churn_min = value)),
    number(S_MAX, |all, text| S_MAX.parse(text).map(|value| all.generate.churn_max = value)),
    number(S_NOISE, |all, text| S_NOISE.parse(text).map(|value| all.generate.churn_noise = value)),
];

pub(super) const EDIT: [Number; 7] = [
    number(GRID, |all, text| {
        all.edit.grid = GRID.parse(text)? as u32;
        all.edit.ts = None;
        Ok(())
    }),
    number(PATCH, |all, text| PATCH.parse(text).map(|value| all.edit.patch = value as u32)),
    number(NOISE_LEVEL, |all, text| NOISE_LEVEL.parse(text).map(|value| all.edit.sigma = value)),
    number(STROKE_START, |all, text| STROKE_START.parse(text).map(|value| all.edit.stroke_start = value)),
    number(STROKE_END, |all, text| STROKE_END.parse(text).map(|value| all.edit.stroke_end = value)),
    number(SEED_FROM, |all, text| SEED_FROM.parse(text).map(|value| all.edit.seed_from = value as u64)),
    number(SEED_TO, |all, text| SEED_TO.parse(text).map(|value| all.edit.seed_to = value as u64)),
];

pub(super) const REFINE: [Number; 6] = [
    number(EPS, |all, text| EPS.parse(text).map(|value| all.refine.eps = value)),
    number(STEP_SIZE, |all, text| {
        let (digits, unit) = match text.trim().strip_suffix('x') {
            Some(ratio) => (ratio, StepUnit::Ratio),
            None => (text, StepUnit::Absolute),
        };
        let typed = |error: ParameterError| match digits {
            "" => ParameterError { found: format!("{text:?}"), ..error },
            _ => error,
        };
        all.refine.step_size = STEP_SIZE.parse(digits).map_err(typed)?;
        all.refine.step_unit = unit;
        Ok(())
    }),
    number(ITERATIONS, |all, text| {
        all.refine.iterations = NonZeroU32::new(ITERATIONS.parse(text)? as u32);
        Ok(())
    }),
    number(NOISE, |all, text| NOISE.parse(text).map(|value| all.refine.noise = value)),
    number(GRADIENT_DIVISOR, |all, text| GRADIENT_DIVISOR.parse(text).map(|value| all.refine.gradient_divisor = value)),
    number(RESTARTS, |all, text| RESTARTS.parse(text).map(|value| all.refine.restarts = value as u32)),
];

pub(super) const COMPUTE: [Number; 2] = [
    number(BATCH, |all, text| BATCH.parse(text).map(|value| all.compute.batch = value as u32)),
    number(MEMORY, |all, text| MEMORY.parse(text).map(|value| all.compute.memory_mib = Some(value as u32))),
];

impl Number {
    /// The flag.
    pub(super) fn arg(&self) -> Arg {
        match self.parameter.flag {
            flag if flag == STEP_SIZE.flag => flag_of(self.parameter, "; 0.1x means a tenth of the radius", None),
            flag if flag == MEMORY.flag => {
                flag_of(self.parameter, "", Some("what is free on the CPU, a cautious amount on a GPU"))
            }
            _ => flag_of(self.parameter, "", None),
        }
    }
}

/// A flag that takes a number; its help names symbol, unit, range and default, which is the parameter's own unless
/// another is given in words.
pub(in crate::cli) fn flag_of(parameter: Parameter, more: &str, default: Option<&str>) -> Arg {
    let Parameter { min, max, .. } = parameter;
    let default = default.map_or_else(|| parameter.default.to_string(), str::to_owned);
    Arg::new(parameter.flag)
        .long(parameter.flag)
        .value_name(parameter.symbol)
        .allow_negative_numbers(true)
        .help(format!("{}{more} [{min} to {max}; default: {default}]", parameter.help()))
}
