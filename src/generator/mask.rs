//! Which pixels are to be generated, for inpainting.

use serde::{Deserialize, Serialize};

/// Largest width and height, in pixels.
const MAX_SIDE: u32 = 4096;

/// A mask over one picture: every pixel is known or missing.
///
/// In files it is a list of run lengths, row by row: known, missing, known, and so on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Packed", into = "Packed")]
pub struct Mask {
    width: u32,
    height: u32,
    /// Row by row; true: to be generated.
    missing: Vec<bool>,
}

/// Values that make no mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// A side out of range.
    #[error(
        "the mask has {width} x {height} pixels, but must have from 1 to {max} in both directions: choose a smaller picture",
        max = MAX_SIDE
    )]
    Side {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Another number of values than pixels.
    #[error("the mask has {found} values, but {width} x {height} pixels need one each: the file is damaged")]
    Length {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Number of values.
        found: u64,
    },
}

impl Mask {
    /// Wraps one value per pixel, row by row; true: to be generated.
    ///
    /// # Errors
    /// [`MaskError`] for sides outside `1..=4096` or another number of values.
    pub fn new(width: u32, height: u32, missing: Vec<bool>) -> Result<Self, MaskError> {
        let pixels = check_sides(width, height)?;
        if missing.len() as u64 == pixels {
            return Ok(Self { width, height, missing });
        }
        Err(MaskError::Length { width, height, found: missing.len() as u64 })
    }

    /// A mask of equal pixels; sides are clamped to `1..=4096`.
    #[must_use]
    pub fn filled(width: u32, height: u32, missing: bool) -> Self {
        let (width, height) = (width.clamp(1, MAX_SIDE), height.clamp(1, MAX_SIDE));
        Self { width, height, missing: vec![missing; width as usize * height as usize] }
    }

    /// Reads 8-bit grey values, row by row: white (128 and above) is missing.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn from_grey8(width: u32, height: u32, grey: &[u8]) -> Result<Self, MaskError> {
        Self::new(width, height, grey.iter().map(|value| *value >= 128).collect())
    }

    /// Columns.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    #[must_use]
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// One value per pixel, row by row; true: to be generated.
    #[must_use]
    pub fn missing(&self) -> &[bool] {
        &self.missing
    }

    /// Number of pixels to be generated.
    #[must_use]
    pub fn count(&self) -> usize {
        self.missing.iter().filter(|missing| **missing).count()
    }

    /// True when there is nothing to generate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.missing.contains(&true)
    }

    /// Sets the pixel below the point (`x`, `y`) and all whose centres lie within `radius` of it, in pixels from the
    /// upper left corner of the mask. What lies outside is left out.
    pub fn paint_disc(&mut self, x: f32, y: f32, radius: f32, missing: bool) {
        let reach = |centre: f32, side: u32| {
            // `as` saturates, and NaN becomes 0.
            let (from, to) = ((centre - radius).floor().max(0.0) as u32, (centre + radius).ceil().max(0.0) as u32);
            from..to.saturating_add(1).min(side)
        };
        for row in reach(y, self.height) {
            for column in reach(x, self.width) {
                let (dx, dy) = (column as f32 + 0.5 - x, row as f32 + 0.5 - y);
                let below = x.floor() == column as f32 && y.floor() == row as f32;
                if below || dx.hypot(dy) <= radius {
                    self.missing[(row * self.width + column) as usize] = missing;
                }
            }
        }
    }

    /// The mask in another size; every new pixel takes the value of the old one below its centre. Sides are clamped to
    /// `1..=4096`.
    #[must_use]
    pub fn resized(&self, width: u32, height: u32) -> Self {
        let (width, height) = (width.clamp(1, MAX_SIDE), height.clamp(1, MAX_SIDE));
        let source = |at: u32, new: u32, old: u32| (2 * at + 1) * old / (2 * new);
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let missing = pixels.map(|(x, y)| {
            let (x, y) = (source(x, width, self.width), source(y, height, self.height));
            self.missing[(y * self.width + x) as usize]
        });
        Self { width, height, missing: missing.collect() }
    }
}

/// Number of pixels.
const fn check_sides(width: u32, height: u32) -> Result<u64, MaskError> {
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(MaskError::Side { width, height });
    }
    Ok(width as u64 * height as u64)
}

/// A mask in a file.
#[derive(Serialize, Deserialize)]
struct Packed {
    width: u32,
    height: u32,
    /// Lengths of the runs, beginning with a run of known pixels, which may be empty.
    runs: Vec<u32>,
}

impl From<Mask> for Packed {
    fn from(mask: Mask) -> Self {
        let mut runs = vec![0];
        let mut now = false;
        for missing in mask.missing {
            if missing != now {
                runs.push(0);
                now = missing;
            }
            if let Some(length) = runs.last_mut() {
                *length += 1;
            }
        }
        Self { width: mask.width, height: mask.height, runs }
    }
}

impl TryFrom<Packed> for Mask {
    type Error = MaskError;

    fn try_from(Packed { width, height, runs }: Packed) -> Result<Self, MaskError> {
        let pixels = check_sides(width, height)?;
        let found: u64 = runs.iter().map(|length| u64::from(*length)).sum();
        if found != pixels {
            return Err(MaskError::Length { width, height, found });
        }
        let run = |(i, length): (usize, &u32)| std::iter::repeat_n(i % 2 == 1, *length as usize);
        Self::new(width, height, runs.iter().enumerate().flat_map(run).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of `.` (known) and `#` (missing).
    fn picture(mask: &Mask) -> Vec<String> {
        let row = |row: &[bool]| row.iter().map(|missing| if *missing { '#' } else { '.' }).collect();
        mask.missing.chunks(mask.width as usize).map(row).collect()
    }

    #[test]
    fn a_disc_covers_the_pixels_whose_centres_it_covers() {
        let mut mask = Mask::filled(5, 4, false);
        mask.paint_disc(2.5, 1.5, 1.0, true);
        assert_eq!(picture(&mask), ["..#..", ".###.", "..#..", "....."]);
        mask.paint_disc(2.0, 1.0, 0.0, false);
        assert_eq!(picture(&mask), ["..#..", ".#.#.", "..#..", "....."], "the pixel under the pointer");
        mask.paint_disc(-1.0, -1.0, 100.0, true);
        assert_eq!(mask.count(), 20, "what lies outside is left out");
        mask.paint_disc(f32::NAN, 1.0, 3.0, false);
        mask.paint_disc(9.0, 9.0, 1.0, false);
        assert_eq!(mask.count(), 20);
    }

    #[test]
    fn files_hold_runs_and_are_checked() {
        let mut mask = Mask::filled(4, 2, false);
        mask.paint_disc(3.5, 0.5, 0.0, true);
        mask.paint_disc(0.5, 1.5, 0.0, true);
        let json = serde_json::to_string(&mask).unwrap();
        assert_eq!(json, r#"{"width":4,"height":2,"runs":[3,2,3]}"#);
        assert_eq!(serde_json::from_str::<Mask>(&json).unwrap(), mask);
        let full = Mask::filled(3, 3, true);
        assert_eq!(serde_json::from_str::<Mask>(&serde_json::to_string(&full).unwrap()).unwrap(), full);
        for (bad, reason) in [
            (r#"{"width":4,"height":2,"runs":[3,2]}"#, "5 values"),
            (r#"{"width":4,"height":2,"runs":[4294967295,4294967295]}"#, "8589934590 values"),
            (r#"{"width":0,"height":2,"runs":[]}"#, "from 1 to 4096"),
            (r#"{"width":65536,"height":65536,"runs":[]}"#, "from 1 to 4096"),
        ] {
            let message = serde_json::from_str::<Mask>(bad).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn white_is_missing() {
        let mask = Mask::from_grey8(2, 2, &[0, 127, 128, 255]).unwrap();
        assert_eq!(picture(&mask), ["..", "##"]);
        assert_eq!(Mask::from_grey8(2, 2, &[0]), Err(MaskError::Length { width: 2, height: 2, found: 1 }));
        assert!(!mask.is_empty() && Mask::filled(2, 2, false).is_empty());
    }

    #[test]
    fn another_size_takes_the_nearest_pixel() {
        let mask = Mask::new(2, 2, vec![false, true, true, false]).unwrap();
        assert_eq!(picture(&mask.resized(4, 4)), ["..##", "..##", "##..", "##.."]);
        assert_eq!(mask.resized(4, 4).resized(2, 2), mask);
        assert_eq!(picture(&mask.resized(3, 1)), ["#.."]);
    }
}
