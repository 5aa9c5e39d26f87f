//! Which points of the grid are tried, one after the other.

use std::collections::BTreeMap;

/// Tries points between 0 and `end` (both not included) until one is left; `value` is asked once per point and may give
/// up with `None`.
///
/// # Source
/// openai/consistency_models, `scripts/ternary_search.py`, which minimises. There the points that are left at last are the
/// ends of the range as well; here the ends of the grid are left out, because a level next to itself is no step.
pub(super) fn ternary<E>(end: u32, value: &mut dyn FnMut(u32) -> Result<Option<f64>, E>) -> Result<(), E> {
    let mut known = BTreeMap::new();
    let mut ask = |k: u32| -> Result<Option<f64>, E> {
        if let Some(known) = known.get(&k) {
            return Ok(Some(*known));
        }
        let found = value(k)?;
        known.extend(found.map(|found| (k, found)));
        Ok(found)
    };
    let (mut left, mut right) = (0, end);
    while right - left >= 3 {
        let width = right - left;
        let (lower, upper) = (left + width / 3, right - width.div_ceil(3));
        let Some(at_lower) = ask(lower)? else { return Ok(()) };
        let Some(at_upper) = ask(upper)? else { return Ok(()) };
        if at_lower > at_upper {
            right = upper;
        } else {
            left = lower;
        }
    }
    for k in left.max(1)..=right.min(end.saturating_sub(1)) {
        if ask(k)?.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

/// Tries every `stride`-th point between 0 and `end` (both not included).
pub(super) fn all<E>(end: u32, stride: u32, value: &mut dyn FnMut(u32) -> Result<Option<f64>, E>) -> Result<(), E> {
    for k in (1..end).step_by(stride.max(1) as usize) {
        if value(k)?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Points that [`all`] tries.
pub(super) fn count(end: u32, stride: u32) -> usize {
    (1..end).step_by(stride.max(1) as usize).count()
}

/// Points that [`ternary`] tries, at most: two for every third that is left out, then what lies between the last ends.
pub(super) const fn most(end: u32) -> usize {
    let (mut width, mut points) = (end, 0);
    while width >= 3 {
        // The lower third is the smaller one, so that more is left beyond it.
        width -= width / 3;
        points += 2;
    }
    let (points, all) = (points + width.saturating_sub(1), end.saturating_sub(1));
    (if points < all { points } else { all }) as usize
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The points that were asked for, in order, of a function with its peak at `peak`.
    fn asked(end: u32, peak: f64) -> Vec<u32> {
        let mut asked = Vec::new();
        let mut value = |k: u32| {
            asked.push(k);
            Ok::<_, Infallible>(Some(-(f64::from(k) - peak).abs()))
        };
        ternary(end, &mut value).unwrap();
        asked
    }

    #[test]
    fn one_peak_is_found_wherever_it_lies_with_few_questions() {
        for end in [2, 3, 4, 5, 39, 200] {
            for peak in 1..end {
                let asked = asked(end, f64::from(peak));
                assert!(asked.contains(&peak), "peak {peak} of {end}: {asked:?}");
                let mut once = asked.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), asked.len(), "no point is asked for twice: {asked:?}");
                assert!(asked.iter().all(|k| (1..end).contains(k)), "{asked:?}");
                assert!(asked.len() <= 25, "{} questions for {end}", asked.len());
            }
        }
        // The first two points of the original for a grid of 40.
        assert_eq!(asked(39, 22.0)[..2], [13, 26]);
    }

    #[test]
    fn giving_up_and_failing_end_a_search_at_once() {
        let mut count = 0;
        ternary(39, &mut |_| {
            count += 1;
            Ok::<_, Infallible>((count < 3).then_some(0.0))
        })
        .unwrap();
        assert_eq!(count, 3);
        let failed = all(39, 1, &mut |k| if k < 3 { Ok(Some(0.0)) } else { Err(k) });
        assert_eq!(failed, Err(3));
    }

    #[test]
    fn all_points_are_those_of_the_stride() {
        let mut asked = Vec::new();
        all(10, 4, &mut |k| {
            asked.push(k);
            Ok::<_, Infallible>(Some(0.0))
        })
        .unwrap();
        assert_eq!(asked, [1, 5, 9]);
        assert_eq!((count(10, 4), count(9, 4), count(10, 0)), (3, 2, 9));
    }

    #[test]
    fn no_search_by_thirds_asks_for_more_points_than_is_said_before() {
        for end in 2..=200 {
            let mut longest = 0;
            // Whatever the values are: the lower point is better, or the upper one, turn by turn as the bits say.
            for bits in 0..64_u32 {
                let mut asked = 0;
                ternary(end, &mut |_| {
                    asked += 1;
                    let bit = (bits.wrapping_mul(2_654_435_761) >> (asked as u32 * 7 % 32)) & 255;
                    Ok::<_, Infallible>(Some(f64::from(bit)))
                })
                .unwrap();
                longest = longest.max(asked);
            }
            let rising = asked(end, f64::from(end)).len();
            assert!(longest.max(rising) <= most(end), "{longest} and {rising} of {end}");
        }
        assert_eq!([2, 3, 10, 39, 200].map(most), [1, 2, 9, 17, 25], "nor is it much more than they ask for");
    }
}
