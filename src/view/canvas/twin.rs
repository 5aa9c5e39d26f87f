//! The CPU twin of `shaders/canvas.wgsl`: what the canvas shader is given, and which picture it shows where.
//!
//! Used for the pixel under the pointer, and by tests that compare it with the GPU. The colour formulas are those of
//! [`crate::image::colour`].

use crate::image::colour::signed_colour;
use crate::session::Compare;

/// Width of the left pane when two lie side by side. Whole, so that both panes cut picture pixels alike.
#[must_use]
pub fn left_pane_width(width: f32) -> f32 {
    (0.5 * width).floor()
}

/// Whether column `x` of a canvas that is `width` wide shows "after"; both in screen pixels.
#[must_use]
pub fn shows_after(compare: Compare, x: f32, width: f32, wipe: f32, blink_after: bool) -> bool {
    match compare {
        Compare::Side => x >= left_pane_width(width),
        Compare::Wipe => x >= wipe * width,
        Compare::Blink => blink_after,
        Compare::Difference => false,
    }
}

/// The colour of one picture pixel.
#[must_use]
pub fn shade(compare: Compare, before: [f32; 3], after: [f32; 3], use_after: bool, gain: f32) -> [f32; 3] {
    match compare {
        Compare::Side | Compare::Wipe | Compare::Blink => {
            if use_after {
                after
            } else {
                before
            }
        }
        Compare::Difference => signed_colour(before, after, gain),
    }
}

/// What lies between the pixels of a picture, `[width, height]`, of which `pixel` says the column and row: a Catmull-Rom spline
/// through their centres, within `[0, 1]`.
#[must_use]
pub fn smoothed(pixel: &dyn Fn(usize, usize) -> [f32; 3], picture: [u32; 2], point: [f32; 2]) -> [f32; 3] {
    let axis = |at: f32, side: u32| {
        let base = (at - 0.5).floor();
        let places = [-1.0, 0.0, 1.0, 2.0].map(|step| (base + step).clamp(0.0, side as f32 - 1.0) as usize);
        (places, spline(at - 0.5 - base))
    };
    let ((columns, across), (rows, down)) = (axis(point[0], picture[0]), axis(point[1], picture[1]));
    let mut sum = [0.0; 3];
    for (row, weight) in rows.into_iter().zip(down) {
        for (column, share) in columns.into_iter().zip(across) {
            for (sum, value) in sum.iter_mut().zip(pixel(column, row)) {
                *sum += weight * share * value;
            }
        }
    }
    sum.map(|value| value.clamp(0.0, 1.0))
}

/// Shares of four neighbours in the value at `t` between the second and the third.
fn spline(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [-0.5 * t + t2 - 0.5 * t3, 1.0 - 2.5 * t2 + 1.5 * t3, 0.5 * t + 2.0 * t2 - 1.5 * t3, -0.5 * t2 + 0.5 * t3]
}

/// The uniforms of the canvas shader: `View` in `shaders/canvas.wgsl`. "Pixels" are framebuffer pixels.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Uniforms {
    /// Top-left corner of the canvas in the framebuffer, in pixels.
    pub corner: [f32; 2],
    /// Width and height of the canvas, in pixels.
    pub size: [f32; 2],
    /// Top-left corner of the picture within its pane, in whole pixels.
    pub origin: [f32; 2],
    /// Width and height of a picture, in picture pixels.
    pub picture: [u32; 2],
    /// Colour around the picture.
    pub background: [f32; 4],
    /// Pixels per picture pixel.
    pub zoom: f32,
    /// Where the wipe cuts, as a fraction of the width.
    pub wipe: f32,
    /// Factor on a difference.
    pub gain: f32,
    /// The discriminant of a [`Compare`].
    pub mode: u32,
    /// 1 while blinking shows "after".
    pub blink_after: u32,
    /// 1 when the target encodes sRGB itself; set for the pipeline's target when the pair is drawn.
    pub linear_target: u32,
    /// Strength of the pixel grid, 0 for none, 1 for black and white lines.
    pub grid: f32,
    /// 1 when enlarged pictures are drawn smoothly between their pixels.
    pub smoothing: u32,
}

impl Uniforms {
    /// The picture point, in picture pixels, under a point of the canvas.
    #[must_use]
    pub fn picture_point(&self, local: [f32; 2]) -> [f32; 2] {
        let [mut x, y] = local;
        let left = left_pane_width(self.size[0]);
        if self.mode == Compare::Side as u32 && x >= left {
            x -= left;
        }
        [(x - self.origin[0]) / self.zoom, (y - self.origin[1]) / self.zoom]
    }

    /// Column and row of the picture pixel under a point of the canvas; `None` outside the picture.
    #[must_use]
    pub fn picture_pixel(&self, local: [f32; 2]) -> Option<[usize; 2]> {
        let [x, y] = self.picture_point(local);
        let [width, height] = self.picture.map(|side| side as f32);
        let is_inside = x >= 0.0 && y >= 0.0 && x < width && y < height;
        is_inside.then_some([x as usize, y as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: [f32; 3] = [0.25, 0.5, 1.0];
    const AFTER: [f32; 3] = [0.5, 0.5, 0.0];

    #[test]
    fn a_difference_is_after_minus_before() {
        assert_eq!(shade(Compare::Difference, BEFORE, AFTER, false, 1.0), [0.625, 0.5, 0.0]);
        assert_eq!(signed_colour(BEFORE, BEFORE, 255.0), [0.5; 3]);
    }

    #[test]
    fn the_other_modes_show_pixels_unchanged() {
        for compare in [Compare::Side, Compare::Wipe, Compare::Blink] {
            assert_eq!(shade(compare, BEFORE, AFTER, false, 4.0), BEFORE);
            assert_eq!(shade(compare, BEFORE, AFTER, true, 4.0), AFTER);
        }
    }

    #[test]
    fn the_side_of_a_column_depends_on_the_mode() {
        assert!(!shows_after(Compare::Side, 4.5, 11.0, 0.9, true));
        assert!(shows_after(Compare::Side, 5.5, 11.0, 0.9, false));
        assert!(!shows_after(Compare::Wipe, 2.4, 10.0, 0.25, true));
        assert!(shows_after(Compare::Wipe, 2.5, 10.0, 0.25, false));
        assert!(shows_after(Compare::Blink, 0.0, 10.0, 0.5, true));
        assert!(!shows_after(Compare::Blink, 9.0, 10.0, 0.5, false));
    }

    #[test]
    fn a_smoothed_picture_goes_through_its_pixels() {
        let pixel = |x: usize, y: usize| [x as f32 / 4.0, y as f32 / 4.0, 0.5];
        for (point, expected) in
            [([1.5, 2.5], [0.25, 0.5, 0.5]), ([2.0, 2.5], [0.375, 0.5, 0.5]), ([0.0, 0.5], [0.0, 0.0, 0.5])]
        {
            let found = smoothed(&pixel, [4, 4], point);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.02), "{point:?}: {found:?}");
        }
    }

    #[test]
    fn both_panes_show_the_same_picture_pixels() {
        let uniforms = Uniforms {
            size: [21.0, 10.0],
            origin: [1.0, 1.0],
            picture: [4, 4],
            zoom: 2.0,
            mode: Compare::Side as u32,
            ..bytemuck::Zeroable::zeroed()
        };
        for x in 0..10_u8 {
            let left = uniforms.picture_pixel([f32::from(x) + 0.5, 4.5]);
            let right = uniforms.picture_pixel([f32::from(x) + 10.5, 4.5]);
            assert_eq!(left, right, "column {x}");
        }
        assert_eq!(uniforms.picture_pixel([0.5, 4.5]), None);
        assert_eq!(uniforms.picture_pixel([3.5, 4.5]), Some([1, 1]));
        assert_eq!(uniforms.picture_pixel([9.5, 4.5]), None);
    }
}
