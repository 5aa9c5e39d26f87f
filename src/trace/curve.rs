//! Curves over the iterations, ready to be drawn: which places, within which range. Window and figures draw them alike.

use super::Quantity;

/// Range of the vertical axis: never empty, with the natural limits of the quantity. `radius`: that in force at each place, NaN
/// without a ball.
#[must_use]
pub fn bounds(quantity: Quantity, values: &[f32], radius: &[f32]) -> (f32, f32) {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = match quantity {
        Quantity::Probability => (0.0, 1.0),
        Quantity::Distance => {
            let limits = radius.iter().copied().filter(|value| value.is_finite());
            (0.0, finite.chain(limits).fold(0.0, f32::max) * 1.08)
        }
        Quantity::Objective | Quantity::Energy => {
            finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
        }
    };
    if !low.is_finite() || !high.is_finite() {
        return (0.0, 1.0);
    }
    let pad = (1e-3_f32.max(low.abs() * 1e-3) - (high - low)).max(0.0) / 2.0;
    (low - pad, high + pad)
}

/// The places of a curve that are drawn, in order: all, or about `most`, the smallest and the largest value of each stretch, so
/// that no peak is lost.
#[must_use]
pub fn drawn_places(values: &[f32], most: usize) -> Vec<usize> {
    if values.len() <= most {
        return (0..values.len()).collect();
    }
    let stretch = values.len().div_ceil((most / 2).max(1));
    let mut places = Vec::with_capacity(most + 2);
    for start in (0..values.len()).step_by(stretch) {
        let range = start..(start + stretch).min(values.len());
        let low = range.clone().min_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(start);
        let high = range.max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(start);
        places.extend([low.min(high), low.max(high)]);
    }
    places.insert(0, 0);
    places.push(values.len() - 1);
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_never_empty_and_hold_every_value() {
        for quantity in Quantity::ALL {
            for values in [vec![], vec![f32::NAN], vec![2.0], vec![-3.0, 5.0, f32::INFINITY]] {
                let (low, high) = bounds(quantity, &values, &[3.0]);
                assert!(low < high && low.is_finite() && high.is_finite(), "{quantity:?} {values:?}");
            }
        }
        let (low, high) = bounds(Quantity::Objective, &[-3.0, 5.0], &[]);
        assert!(low <= -3.0 && high >= 5.0);
    }

    #[test]
    fn a_long_curve_keeps_its_ends_and_its_peaks() {
        let mut values: Vec<f32> = (0..10_000).map(|i| (i as f32 / 700.0).sin()).collect();
        values[4321] = 5.0;
        values[6789] = -5.0;
        let places = drawn_places(&values, 400);
        assert!(places.len() <= 400 + 4 && places.is_sorted());
        for place in [0, 4321, 6789, 9_999] {
            assert!(places.contains(&place), "{place}");
        }
        assert_eq!(drawn_places(&values[..7], 400), [0, 1, 2, 3, 4, 5, 6]);
    }
}
