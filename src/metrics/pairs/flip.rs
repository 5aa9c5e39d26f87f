//! How far two pictures look apart to eyes that see them in turns, pixel by pixel.

use std::f64::consts::PI;

use super::PairError;
use super::colour::{Colours, distance};
use super::filter::Filter;

/// Pixels of a degree of sight: a screen 0.7 m wide with 3,840 pixels at a distance of 0.7 m, `3840 π / 180`.
pub const PIXELS_PER_DEGREE: f64 = 3840.0 * PI / 180.0;
/// `(a, b)` of the Gaussians that contrast sensitivity in luminance and in red-green is the transform of; of blue-yellow, of two.
const LUMINANCE: (f64, f64) = (1.0, 0.0047);
const RED_GREEN: (f64, f64) = (1.0, 0.0053);
const BLUE_YELLOW: [(f64, f64); 2] = [(34.1, 0.04), (13.5, 0.025)];
/// Width of an edge or point that is looked for, in degrees.
const FEATURE: f64 = 0.082;
/// Exponent of the distance of colours; that of features is a half.
const COLOUR_POWER: f64 = 0.7;
/// Up to this share of the largest distance of colours all is spread over that share of the errors.
const KNEE: (f64, f64) = (0.4, 0.95);

/// FLIP for pictures of one form: in `[0, 1]`, 0 for equal ones.
///
/// # Source
/// LDR-FLIP, Andersson et al. 2020; NVIDIA's `flip-evaluator` computes the same in single precision.
#[derive(Debug, Clone)]
pub struct Flip {
    shape: [usize; 3],
    colours: Colours,
    /// Filters of luminance, of red-green, and of blue-yellow with their shares.
    luminance: Filter,
    red_green: Filter,
    blue_yellow: [(Filter, f64); 2],
    /// Filters of features: a level beside the way, and along it an edge or a point.
    beside: Filter,
    edge: Filter,
    point: Filter,
    /// Largest distance of colours, to its power.
    farthest: f64,
}

/// What of a picture is compared.
struct Seen {
    /// CIELAB, the colours weighed.
    colours: Vec<[f64; 3]>,
    /// Strengths of edges and points.
    features: [Vec<f64>; 2],
}

impl Flip {
    /// For pictures `[C, H, W]` on a screen with so many pixels a degree, usually [`PIXELS_PER_DEGREE`]. One channel is three
    /// that are alike.
    ///
    /// # Errors
    /// [`PairError::Channels`] for other numbers of channels.
    pub fn new(shape: [usize; 3], pixels_per_degree: f64) -> Result<Self, PairError> {
        if shape[0] != 1 && shape[0] != 3 {
            return Err(PairError::Channels { channels: shape[0] });
        }
        // All as wide as the widest one.
        let widest = BLUE_YELLOW[0].1;
        let radius = libm::ceil(3.0 * libm::sqrt(widest / (2.0 * PI * PI)) * pixels_per_degree) as usize;
        let gaussian =
            |(_, b): (f64, f64)| Filter::new(radius, |x| libm::exp(-PI * PI * (x / pixels_per_degree).powi(2) / b));
        // Of a square, to which a share belongs, the sum is that of a line squared.
        let weights = BLUE_YELLOW.map(|(a, b)| a * libm::sqrt(PI / b) * gaussian((a, b)).sum().powi(2));
        let all: f64 = weights.iter().sum();
        let [first, second] = BLUE_YELLOW.map(|part| gaussian(part).balanced());
        let deviation = 0.5 * FEATURE * pixels_per_degree;
        let feature = |weight: &dyn Fn(f64) -> f64| {
            let radius = libm::ceil(3.0 * deviation) as usize;
            Filter::new(radius, |x| weight(x / deviation) * libm::exp(-0.5 * (x / deviation).powi(2))).balanced()
        };
        let colours = Colours::new();
        let [green, blue] = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(|light| colours.seen(light));
        Ok(Self {
            shape,
            luminance: gaussian(LUMINANCE).balanced(),
            red_green: gaussian(RED_GREEN).balanced(),
            blue_yellow: [(first, weights[0] / all), (second, weights[1] / all)],
            beside: feature(&|_| 1.0),
            edge: feature(&|x| -x),
            point: feature(&|x| x * x - 1.0),
            farthest: libm::pow(distance(green, blue), COLOUR_POWER),
            colours,
        })
    }

    /// The error of every pixel of a pair, `[H, W]` in `[0, 1]`; the pictures are `[C, H, W]` in `[0, 1]`.
    ///
    /// # Panics
    /// When the pictures are not of that form.
    #[must_use]
    pub fn map(&self, a: &[f32], b: &[f32]) -> Vec<f64> {
        let [a, b] = [a, b].map(|picture| self.see(picture));
        let change = |feature: usize, i: usize| (a.features[feature][i] - b.features[feature][i]).abs();
        let error = |i: usize| {
            let colour = self.spread(libm::pow(distance(a.colours[i], b.colours[i]), COLOUR_POWER));
            let feature = change(0, i).max(change(1, i)) * std::f64::consts::FRAC_1_SQRT_2;
            libm::pow(colour, 1.0 - libm::sqrt(feature).min(1.0))
        };
        (0..a.colours.len()).map(error).collect()
    }

    /// The mean error of a pair, in `[0, 1]`.
    ///
    /// # Panics
    /// As [`Self::map`].
    #[must_use]
    pub fn of(&self, a: &[f32], b: &[f32]) -> f64 {
        let map = self.map(a, b);
        map.iter().sum::<f64>() / map.len() as f64
    }

    fn see(&self, picture: &[f32]) -> Seen {
        let [channels, height, width] = self.shape;
        assert_eq!(picture.len(), channels * height * width, "pictures of this form");
        let count = height * width;
        let level = |channel: usize, i: usize| picture[channel.min(channels - 1) * count + i];
        let mut planes = [(); 3].map(|()| Vec::with_capacity(count));
        for i in 0..count {
            let opponent = self.colours.opponent([level(0, i), level(1, i), level(2, i)]);
            planes.iter_mut().zip(opponent).for_each(|(plane, value)| plane.push(value));
        }
        let [luminance, red_green, blue_yellow] = planes;
        let features = self.features(&luminance, width);
        let blurred = |filter: &Filter, plane: &[f64]| filter.along_columns(&filter.along_rows(plane, width), width);
        let (luminance, red_green) = (blurred(&self.luminance, &luminance), blurred(&self.red_green, &red_green));
        let [(first, first_share), (second, second_share)] = &self.blue_yellow;
        let (first, second) = (blurred(first, &blue_yellow), blurred(second, &blue_yellow));
        let colour = |i: usize| {
            let blue_yellow = first_share * first[i] + second_share * second[i];
            self.colours.seen(self.colours.shown([luminance[i], red_green[i], blue_yellow]))
        };
        Seen { colours: (0..count).map(colour).collect(), features }
    }

    /// Strengths of edges and of points in luminance: the lengths of what is found along rows and along columns.
    fn features(&self, luminance: &[f64], width: usize) -> [Vec<f64>; 2] {
        let plane: Vec<f64> = luminance.iter().map(|y| (y + 16.0) / 116.0).collect();
        let beside = self.beside.along_rows(&plane, width);
        [&self.edge, &self.point].map(|filter| {
            let along_rows = self.beside.along_columns(&filter.along_rows(&plane, width), width);
            let along_columns = filter.along_columns(&beside, width);
            along_rows.iter().zip(&along_columns).map(|(x, y)| libm::sqrt(x * x + y * y)).collect()
        })
    }

    /// Small distances of colours take most of the range, for large ones are rare.
    fn spread(&self, distance: f64) -> f64 {
        let (share, reach) = KNEE;
        let knee = share * self.farthest;
        if distance < knee {
            reach / knee * distance
        } else {
            reach + (distance - knee) / (self.farthest - knee) * (1.0 - reach)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [3, 12, 20];

    fn picture(seed: usize) -> Vec<f32> {
        (0..720_usize).map(|i| ((i * 29 + seed * (i / 7) * (i % 11)) % 256) as f32 / 255.0).collect()
    }

    #[test]
    fn equal_pictures_look_equal_places_do_not_matter_and_errors_are_shares() {
        let flip = Flip::new(SHAPE, PIXELS_PER_DEGREE).unwrap();
        let (a, b) = (picture(3), picture(5));
        assert_eq!(flip.of(&a, &a), 0.0);
        assert_eq!(flip.map(&a, &b), flip.map(&b, &a));
        let map = flip.map(&a, &b);
        assert!(map.len() == 240 && map.iter().all(|error| (0.0..=1.0).contains(error)), "{map:?}");
        // Green and blue are as far apart as FLIP knows: what fills the picture is an error of 1.
        let filled =
            |channel: usize| -> Vec<f32> { (0..720).map(|i| f32::from(u8::from(i / 240 == channel))).collect() };
        assert!((flip.of(&filled(1), &filled(2)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn more_noise_and_more_shift_look_farther_apart_and_what_is_far_away_looks_alike() {
        let flip = Flip::new(SHAPE, PIXELS_PER_DEGREE).unwrap();
        let a: Vec<f32> = (0..720_usize).map(|i| if i % 20 < 8 { 0.25 } else { 0.75 }).collect();
        let shifted = |by: usize| -> Vec<f32> { (0..720).map(|i| a[i / 20 * 20 + (i + by) % 20]).collect() };
        let [one, two] = [1, 2].map(|by| flip.of(&a, &shifted(by)));
        assert!(0.0 < one && one < two, "{one} {two}");
        let noisy = |size: f32| -> Vec<f32> { a.iter().zip(picture(3)).map(|(a, b)| a + size * (b - 0.5)).collect() };
        let [weak, strong] = [0.05, 0.2].map(|size| flip.of(&a, &noisy(size)));
        assert!(0.0 < weak && weak < strong, "{weak} {strong}");
        let far = Flip::new(SHAPE, 4.0 * PIXELS_PER_DEGREE).unwrap().of(&a, &noisy(0.2));
        assert!(far < strong, "{far} {strong}");
    }

    #[test]
    fn grey_is_three_channels_that_are_alike_and_other_channels_are_refused() {
        let grey = Flip::new([1, 12, 20], PIXELS_PER_DEGREE).unwrap();
        let (a, b) = (picture(3), picture(5));
        let colours = Flip::new(SHAPE, PIXELS_PER_DEGREE).unwrap();
        assert_eq!(grey.map(&a[..240], &b[..240]), colours.map(&a[..240].repeat(3), &b[..240].repeat(3)));
        let text = Flip::new([4, 12, 20], PIXELS_PER_DEGREE).unwrap_err().to_string();
        assert!(text.contains("of one or three channels, but these have 4"), "{text}");
    }
}
