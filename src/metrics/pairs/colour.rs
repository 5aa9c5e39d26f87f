//! Colours as FLIP compares them: linear light, an opponent space for filters, and CIELAB with its loss of colour in the dark.

use nalgebra::{Matrix3, Vector3};

/// Linear light of sRGB primaries to XYZ, of the white D65; every row by columns R, G and B (IEC 61966-2-1, as whole numbers by
/// Andersson et al. 2020).
const TO_XYZ: [[f64; 3]; 3] = [
    [10_135_552.0 / 24_577_794.0, 8_788_810.0 / 24_577_794.0, 4_435_075.0 / 24_577_794.0],
    [2_613_072.0 / 12_288_897.0, 8_788_810.0 / 12_288_897.0, 887_015.0 / 12_288_897.0],
    [1_425_312.0 / 73_733_382.0, 8_788_810.0 / 73_733_382.0, 70_074_185.0 / 73_733_382.0],
];
/// Where CIELAB's root becomes a line, as a length of its cube.
const DELTA: f64 = 6.0 / 29.0;
/// The largest level of a file of 8 bits.
const LEVELS: u8 = 255;

/// Matrices between linear light and XYZ relative to white.
#[derive(Debug, Clone)]
pub(super) struct Colours {
    to_relative: Matrix3<f64>,
    from_relative: Matrix3<f64>,
    /// Linear light of the 256 levels of a file, which nearly all pictures have and whose powers take long.
    lights: Vec<f64>,
}

impl Colours {
    pub(super) fn new() -> Self {
        let to_xyz = Matrix3::from_fn(|row, column| TO_XYZ[row][column]);
        // White is 1, 1, 1.
        let to_relative = Matrix3::from_fn(|row, column| to_xyz[(row, column)] / to_xyz.row(row).sum());
        let from_relative = to_relative.try_inverse().expect("three primaries are independent");
        let lights = (0..=LEVELS).map(|level| light(f64::from(f32::from(level) / f32::from(LEVELS)))).collect();
        Self { to_relative, from_relative, lights }
    }

    /// sRGB levels to luminance, red-green and blue-yellow, linear in light (`YCxCz`).
    pub(super) fn opponent(&self, levels: [f32; 3]) -> [f64; 3] {
        let relative = self.to_relative * Vector3::from(levels.map(|level| self.light(level)));
        let (x, y, z) = (relative.x, relative.y, relative.z);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    fn light(&self, level: f32) -> f64 {
        let nearest = (level * f32::from(LEVELS)).round();
        let is_level = nearest / f32::from(LEVELS) == level;
        let known = self.lights.get(nearest as usize).filter(|_| is_level);
        known.copied().unwrap_or_else(|| light(f64::from(level)))
    }

    /// The opponent space to linear light in `[0, 1]`; what no screen shows is brought there.
    pub(super) fn shown(&self, [y, red, blue]: [f64; 3]) -> [f64; 3] {
        let y = (y + 16.0) / 116.0;
        let light = self.from_relative * Vector3::new(y + red / 500.0, y, y - blue / 200.0);
        [light.x, light.y, light.z].map(|light| light.clamp(0.0, 1.0))
    }

    /// Linear light to CIELAB, colours the weaker the darker they are (Hunt effect).
    pub(super) fn seen(&self, light: [f64; 3]) -> [f64; 3] {
        let relative = self.to_relative * Vector3::from(light);
        let [x, y, z] = [relative.x, relative.y, relative.z].map(root);
        let lightness = 116.0 * y - 16.0;
        let weight = 0.01 * lightness;
        [lightness, weight * 500.0 * (x - y), weight * 200.0 * (y - z)]
    }
}

/// Linear light of an sRGB level.
fn light(level: f64) -> f64 {
    if level <= 0.040_45 { level / 12.92 } else { libm::pow((level + 0.055) / 1.055, 2.4) }
}

fn root(value: f64) -> f64 {
    if value > DELTA.powi(3) { libm::cbrt(value) } else { value / (3.0 * DELTA * DELTA) + 4.0 / 29.0 }
}

/// The distance of two colours: of lightness plus of colour (HyAB, Abasi et al. 2020).
pub(super) fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (a[0] - b[0]).abs() + libm::sqrt((a[1] - b[1]).powi(2) + (a[2] - b[2]).powi(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: [f64; 3], expected: [f64; 3], tolerance: f64) {
        let is_near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < tolerance);
        assert!(is_near, "{found:?} is not {expected:?}");
    }

    #[test]
    fn white_has_no_colour_and_the_opponent_space_can_be_left_again() {
        let colours = Colours::new();
        assert_near(colours.opponent([1.0; 3]), [100.0, 0.0, 0.0], 1e-12);
        assert_near(colours.seen([1.0; 3]), [100.0, 0.0, 0.0], 1e-12);
        // One is a level of files.
        let levels = [0.2, 0.9, 0.03];
        let expected = levels.map(|level| light(f64::from(level)));
        assert_near(colours.shown(colours.opponent(levels)), expected, 1e-12);
    }

    #[test]
    fn green_is_where_cielab_has_it() {
        let colours = Colours::new();
        // CIELAB of sRGB's green is 87.74, -86.18, 83.18; the colour is weighed by the lightness.
        assert_near(colours.seen([0.0, 1.0, 0.0]), [87.74, -86.18 * 0.8774, 83.18 * 0.8774], 0.02);
        assert_eq!(distance([50.0, 3.0, 0.0], [49.0, 0.0, 4.0]), 6.0);
    }
}
