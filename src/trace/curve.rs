//! Curves over the iterations, ready to be drawn: which places, within which range. Window and figures draw them alike.

use super::Quantity;

/// A run that is so many times as long as another is cut where they are drawn on one axis.
const MUCH_LONGER: usize = 4;

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
        Quantity::Gradient => (0.0, finite.fold(0.0, f32::max) * 1.08),
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

/// Where the axis of the iterations ends: at what is planned, or else beyond what is there, where it ended `before` or at the next
/// of 10, 20, 50, 100 and so on. So it stays while a run goes on, and curves of several runs can be compared.
#[must_use]
pub fn axis_end(last: usize, planned: Option<usize>, before: usize) -> usize {
    if let Some(end) = planned.into_iter().chain([before]).find(|end| *end >= last.max(1)) {
        return end;
    }
    let decades = std::iter::successors(Some(10_usize), |decade| decade.checked_mul(10));
    let ends = decades.flat_map(|decade| [Some(decade), decade.checked_mul(2), decade.checked_mul(5)]);
    ends.flatten().find(|end| *end >= last).unwrap_or(last)
}

/// The last iteration that an axis has room for: of the run that is shown, which goes to `own`, and of the `others`, unless one
/// is so long that the others could not be seen beside it.
#[must_use]
pub fn shown_last(own: usize, others: impl Iterator<Item = usize>) -> usize {
    others.filter(|last| *last <= MUCH_LONGER * own.max(1)).fold(own, usize::max)
}

/// The iterations that are numbered along an axis that ends at `end`: round ones, about `most`, and the end.
#[must_use]
pub fn ticks(end: usize, most: usize) -> Vec<usize> {
    let decades = std::iter::successors(Some(1_usize), |decade| decade.checked_mul(10));
    let mut steps = decades.flat_map(|decade| [1, 2, 5].into_iter().filter_map(move |step| decade.checked_mul(step)));
    let step = steps.find(|step| end / step <= most).unwrap_or(end.max(1));
    // A number right beside the last one would run into it.
    let round = (0..=end).step_by(step).filter(|tick| *tick == end || end - tick > step / 2);
    let mut ticks: Vec<usize> = round.collect();
    if ticks.last() != Some(&end) {
        ticks.push(end);
    }
    ticks
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
    fn the_axis_of_the_iterations_stays_while_a_run_goes_on() {
        let ends = |range: std::ops::RangeInclusive<usize>, planned| {
            let mut before = 0;
            let mut ends: Vec<usize> = Vec::new();
            for last in range {
                before = axis_end(last, planned, before);
                ends.push(before);
            }
            ends.dedup();
            ends
        };
        assert_eq!(ends(0..=15, Some(15)), [15]);
        assert_eq!(ends(0..=60, None), [10, 20, 50, 100]);
        assert_eq!(ends(14..=16, Some(15)), [15, 20], "longer than what is planned now");
        assert_eq!(
            [ticks(15, 5), ticks(1, 5), ticks(100, 5)],
            [vec![0, 5, 10, 15], vec![0, 1], vec![0, 20, 40, 60, 80, 100]]
        );
        assert_eq!(ticks(16, 5), [0, 5, 10, 16], "no 15 beside the 16");
        for end in [1, 7, 39, 1234, 99_999] {
            let ticks = ticks(end, 5);
            assert!(ticks.len() <= 7 && ticks.is_sorted() && ticks.last() == Some(&end), "{ticks:?}");
        }
    }

    #[test]
    fn a_run_is_not_squeezed_by_one_that_is_much_longer() {
        assert_eq!(shown_last(15, [7, 30, 1000].into_iter()), 30);
        assert_eq!(shown_last(1000, [7, 30].into_iter()), 1000, "shown itself, it has all the room");
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
