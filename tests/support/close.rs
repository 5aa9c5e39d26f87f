//! Comparing lists of numbers.

/// Panics unless every value is within `atol + rtol * |expected|` of what is expected; NaN never is.
///
/// The message names the first bad value and the largest difference.
pub(crate) fn assert_close(name: &str, found: &[f32], expected: &[f32], atol: f32, rtol: f32) {
    assert_eq!(found.len(), expected.len(), "{name}: number of values");
    let close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= atol + rtol * expected.abs();
    let Some(index) = found.iter().zip(expected).position(|pair| !close(pair)) else { return };
    let bad = found.iter().zip(expected).filter(|pair| !close(*pair)).count();
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    panic!(
        "{name}[{index}] is {}, expected {} (atol {atol}, rtol {rtol}); {bad} of {} values are off, at most by {worst}",
        found[index],
        expected[index],
        found.len()
    );
}
