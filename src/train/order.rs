//! In which order a training sees its pictures, and how they are varied.

use serde::{Deserialize, Serialize};

use super::error::Problem;
use crate::noise::{Purpose, Stream};

/// Every picture once before any comes again, each time in another order.
#[derive(Debug, Clone)]
pub struct Order {
    seed: u64,
    /// The time for which the order is known.
    epoch: u64,
    places: Vec<usize>,
}

impl Order {
    /// Of so many pictures, at least one.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new(seed: u64, count: usize) -> Self {
        assert!(count > 0, "a training has pictures");
        Self { seed, epoch: 0, places: shuffled(seed, 0, count) }
    }

    /// The pictures of a step with so many.
    #[must_use]
    pub fn batch(&mut self, step: u64, size: usize) -> Vec<usize> {
        let first = step * size as u64;
        (first..first + size as u64).map(|position| self.at(position)).collect()
    }

    fn at(&mut self, position: u64) -> usize {
        let count = self.places.len() as u64;
        let epoch = position / count;
        if epoch != self.epoch {
            (self.epoch, self.places) = (epoch, shuffled(self.seed, epoch, self.places.len()));
        }
        self.places[(position % count) as usize]
    }
}

fn shuffled(seed: u64, epoch: u64, count: usize) -> Vec<usize> {
    let mut stream = Stream::new(seed, Purpose::Epoch(epoch as u32));
    let mut places: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        places.swap(last, stream.below(last + 1));
    }
    places
}

/// How pictures of a data set may be varied and still be pictures of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variety {
    /// Left and right may change places: not for signs and letters.
    pub flip: bool,
    /// Pixels by which a picture may lie elsewhere, in both directions; its edge is repeated.
    pub shift: usize,
}

/// Farthest that a picture may lie elsewhere: none is larger.
const MAX_SHIFT: usize = 4096;

impl Variety {
    /// A value that cannot be, and what is expected.
    #[must_use]
    pub fn problem(self) -> Problem {
        (self.shift > MAX_SHIFT).then(|| (format!("shift = {}", self.shift), "it is from 0 to 4096 pixels"))
    }

    /// A picture `[C, H, W]`, varied; nothing is drawn where nothing varies.
    #[must_use]
    pub fn vary(self, picture: &[f32], [channels, h, w]: [usize; 3], stream: &mut Stream) -> Vec<f32> {
        if self == Self::default() {
            return picture.to_vec();
        }
        let flipped = self.flip && stream.below(2) == 1;
        let width = 2 * self.shift + 1;
        let [down, right] = [0, 1].map(|_| stream.below(width));
        // From where a pixel comes: what lies beyond the edge, from the edge.
        let from = |at: usize, by: usize, side: usize| (at + self.shift).saturating_sub(by).min(side - 1);
        let mut varied = Vec::with_capacity(picture.len());
        for channel in 0..channels {
            for y in 0..h {
                let row = (channel * h + from(y, down, h)) * w;
                varied.extend((0..w).map(|x| {
                    let x = from(x, right, w);
                    picture[row + if flipped { w - 1 - x } else { x }]
                }));
            }
        }
        varied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_comes_once_before_any_comes_again() {
        let mut order = Order::new(5, 7);
        let seen: Vec<usize> = (0..7).flat_map(|step| order.batch(step, 4)).collect();
        for epoch in seen.chunks(7) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert_ne!(seen[..7], seen[7..14], "in another order");
        assert_eq!(Order::new(5, 7).batch(3, 4), seen[12..16], "whatever was seen before");
    }

    #[test]
    fn a_varied_picture_lies_elsewhere_or_turned_and_nothing_else() {
        let picture: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let mut stream = Stream::new(0, Purpose::Training { step: 0, sample: 0 });
        assert_eq!(Variety::default().vary(&picture, [1, 3, 4], &mut stream), picture);
        let turned = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8].map(|value: u8| f32::from(value));
        let flips: Vec<Vec<f32>> =
            (0..16).map(|_| Variety { flip: true, shift: 0 }.vary(&picture, [1, 3, 4], &mut stream)).collect();
        assert!(flips.contains(&picture) && flips.contains(&turned.to_vec()));
        assert!(flips.iter().all(|flipped| *flipped == picture || *flipped == turned));
        let up = [4, 5, 6, 7, 8, 9, 10, 11, 8, 9, 10, 11].map(|value: u8| f32::from(value));
        let shifts: Vec<Vec<f32>> =
            (0..64).map(|_| Variety { flip: false, shift: 1 }.vary(&picture, [1, 3, 4], &mut stream)).collect();
        assert!(shifts.contains(&picture) && shifts.contains(&up.to_vec()));
    }
}
