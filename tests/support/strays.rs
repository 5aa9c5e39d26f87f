//! Comparing what hangs on gradients, where a few values may stray.

/// Panics unless every value is within `atol` of what is expected, but for `strays` values in a thousand, which may be anything.
///
/// For what hangs on gradients of networks with ReLUs: the order of summation differs between processors, one rounding more
/// or less turns a ReLU that is next to zero, and a few values of the gradient then jump. A rule that is wrong moves all.
pub(crate) fn assert_mostly_close(name: &str, found: &[f32], expected: &[f32], atol: f32, strays: usize) {
    assert_eq!(found.len(), expected.len(), "{name}: number of values");
    // What is not a number is off.
    let close = |(found, expected): &(&f32, &f32)| (**found - **expected).abs() <= atol;
    let off = found.iter().zip(expected).filter(|pair| !close(pair)).count();
    assert!(off * 1000 <= strays * found.len(), "{name}: {off} of {} values are off by more than {atol}", found.len());
}

/// The cosine of the angle between two lists of numbers.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "number of values");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
