//! Stochastic gradient Langevin dynamics, as the released script of Golan et al. 2024 refines (`boost.py`).
//!
//! The script steps along the gradient of the *mean* over its batch of 100 pictures, so that a picture moves by its own
//! gradient times 0.2 / 100. Here the 100 is a setting, the gradient divisor, and a picture's path does not depend on how many
//! others there are. The script clamps to `[0, 1]` once, after the last iteration; the refiner keeps the iterate as it is and
//! clamps what it shows, so that every state could be that last one.

/// One step: `x <- x + step * gradient + sigma * noise`, not clamped.
///
/// `step` is the step size divided by the gradient divisor; `noise` is standard normal.
///
/// # Panics
/// When the lists differ in length.
pub fn langevin_step(x: &mut [f32], gradient: &[f32], step: f64, noise: &[f32], sigma: f64) {
    assert_eq!((gradient.len(), noise.len()), (x.len(), x.len()), "one gradient and one draw per value");
    for ((x, gradient), noise) in x.iter_mut().zip(gradient).zip(noise) {
        *x = (f64::from(*x) + step * f64::from(*gradient) + sigma * f64::from(*noise)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_follows_the_gradient_adds_noise_and_is_not_clamped() {
        let mut x = [0.5, 1.0, 0.0];
        langevin_step(&mut x, &[2.0, 4.0, -1.0], 0.25, &[1.0, 0.0, -2.0], 0.125);
        assert_eq!(x, [1.125, 2.0, -0.5]);
    }
}
