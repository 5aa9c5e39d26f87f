//! Filters whose weights are products of some along rows and some along columns: a pass along each instead of one over squares.

/// Weights of an odd number of neighbours in a line, the pixel itself in the middle.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter(Vec<f64>);

impl Filter {
    /// Weights at the distances `-radius..=radius` in pixels.
    pub(super) fn new(radius: usize, weight: impl Fn(f64) -> f64) -> Self {
        Self((0..=2 * radius).map(|place| weight(place as f64 - radius as f64)).collect())
    }

    /// Sum of the weights.
    pub(super) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    /// With positive weights whose sum is 1, and negative ones whose sum is -1 where there are any.
    pub(super) fn balanced(self) -> Self {
        let sum = |sign: f64| self.0.iter().map(|weight| (weight * sign).max(0.0)).sum::<f64>();
        let (positive, negative) = (sum(1.0), sum(-1.0));
        let scaled = |weight: &f64| if *weight < 0.0 { weight / negative } else { weight / positive };
        Self(self.0.iter().map(scaled).collect())
    }

    const fn radius(&self) -> usize {
        self.0.len() / 2
    }

    /// Along the rows of a plane `[H, width]`; beyond its ends a row goes on as its last pixel.
    pub(super) fn along_rows(&self, plane: &[f64], width: usize) -> Vec<f64> {
        let radius = self.radius();
        let mut line = vec![0.0; width + 2 * radius];
        let mut filtered = vec![0.0; plane.len()];
        for (row, filtered) in plane.chunks_exact(width).zip(filtered.chunks_exact_mut(width)) {
            line[..radius].fill(row[0]);
            line[radius..radius + width].copy_from_slice(row);
            line[radius + width..].fill(row[width - 1]);
            self.within(&line, filtered);
        }
        filtered
    }

    /// Along the columns, likewise.
    pub(super) fn along_columns(&self, plane: &[f64], width: usize) -> Vec<f64> {
        let (radius, last) = (self.radius(), plane.len() / width - 1);
        let mut filtered = vec![0.0; plane.len()];
        for (y, filtered) in filtered.chunks_exact_mut(width).enumerate() {
            for (place, weight) in self.0.iter().enumerate() {
                let row = (y + place).saturating_sub(radius).min(last);
                add(filtered, *weight, &plane[row * width..]);
            }
        }
        filtered
    }

    /// Along both, only where all neighbours are: the plane `[H, width]` loses them at every side.
    pub(super) fn inside(&self, plane: &[f64], width: usize) -> Vec<f64> {
        let (height, lost) = (plane.len() / width, self.0.len() - 1);
        let narrow = width - lost;
        let mut rows = vec![0.0; height * narrow];
        for (row, filtered) in plane.chunks_exact(width).zip(rows.chunks_exact_mut(narrow)) {
            self.within(row, filtered);
        }
        let mut filtered = vec![0.0; (height - lost) * narrow];
        for (y, filtered) in filtered.chunks_exact_mut(narrow).enumerate() {
            for (place, weight) in self.0.iter().enumerate() {
                add(filtered, *weight, &rows[(y + place) * narrow..]);
            }
        }
        filtered
    }

    /// Where all neighbours of a line are. Weight by weight instead of pixel by pixel, which processors do several at a time.
    fn within(&self, line: &[f64], filtered: &mut [f64]) {
        filtered.fill(0.0);
        for (place, weight) in self.0.iter().enumerate() {
            add(filtered, *weight, &line[place..]);
        }
    }
}

/// `sum += weight * values`
fn add(sum: &mut [f64], weight: f64, values: &[f64]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += weight * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_passes_are_the_square_of_weights_and_ends_go_on() {
        let filter = Filter::new(1, |x| [1.0, 2.0, 4.0][(x + 1.0) as usize]);
        let (h, w) = (3, 4);
        let plane: Vec<f64> = (0..h * w).map(|i| f64::from((i * 5 % 7) as u8)).collect();
        let found = filter.along_columns(&filter.along_rows(&plane, w), w);
        let at = |y: i64, x: i64| plane[y.clamp(0, h as i64 - 1) as usize * w + x.clamp(0, w as i64 - 1) as usize];
        let slowly = |y: i64, x: i64| -> f64 {
            let square = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dy, dx)));
            square.map(|(dy, dx)| filter.0[(dy + 1) as usize] * filter.0[(dx + 1) as usize] * at(y + dy, x + dx)).sum()
        };
        let all: Vec<f64> =
            (0..h as i64).flat_map(|y| (0..w as i64).map(move |x| (y, x))).map(|(y, x)| slowly(y, x)).collect();
        assert_eq!(found, all);
        assert_eq!(filter.inside(&plane, w), [slowly(1, 1), slowly(1, 2)]);
    }

    #[test]
    fn balanced_weights_leave_a_level_as_it_is_or_nothing_of_it() {
        assert_eq!(Filter::new(1, |x| 3.0 - x.abs()).balanced().0, [2.0 / 7.0, 3.0 / 7.0, 2.0 / 7.0]);
        assert_eq!(Filter::new(1, |x| 1.0 - 3.0 * x.abs()).balanced().0, [-0.5, 1.0, -0.5]);
    }
}
