//! Colours of pictures and of differences between them: the formulas of `shaders/colormap.wgsl`, for legends, files and figures.
//!
//! Colour values are in `[0, 1]`, sRGB-encoded as they lie in the file, unless a function says otherwise. `tests/shaders.rs`
//! compares them with the graphics card.

/// A signed difference as a level: 0.5 is no change, 0 is `-1/gain` or less, 1 is `+1/gain` or more.
#[must_use]
pub fn signed(difference: f32, gain: f32) -> f32 {
    (0.5 + 0.5 * gain * difference).clamp(0.0, 1.0)
}

/// After minus before, per channel.
#[must_use]
pub fn signed_colour(before: [f32; 3], after: [f32; 3], gain: f32) -> [f32; 3] {
    std::array::from_fn(|channel| signed(after[channel] - before[channel], gain))
}

/// Linear light as an sRGB level; both are in `[0, 1]`, and what is not is brought there.
#[must_use]
pub fn encoded(light: f32) -> f32 {
    // IEC 61966-2-1.
    let light = if light.is_nan() { 0.0 } else { light.clamp(0.0, 1.0) };
    if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * libm::powf(light, 1.0 / 2.4) - 0.055 }
}

/// One mark of a legend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// The difference that is shown.
    pub value: f32,
    /// How it is shown.
    pub colour: [f32; 3],
}

/// The legend of a difference: the darkest level, no change, the brightest level.
///
/// Between two marks the colour is their mixture. `gain` is positive.
#[must_use]
pub fn legend(gain: f32) -> [Stop; 3] {
    [-1.0 / gain, 0.0, 1.0 / gain].map(|value| Stop { value, colour: [signed(value, gain); 3] })
}

/// A number with its sign, in as few digits as tell it apart; the minus is the typographic one.
#[must_use]
pub fn signed_number(value: f32) -> String {
    let size = value.abs();
    let digits = if size >= 1.0 { format!("{size:.1}") } else { format!("{size:.4}") };
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    match digits {
        "0" | "" => "0".to_owned(),
        _ if value < 0.0 => format!("−{digits}"),
        _ => format!("+{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_is_no_change_and_the_ends_saturate() {
        assert_eq!(signed(0.0, 4.0), 0.5);
        assert_eq!(signed(0.25, 4.0), 1.0);
        assert_eq!(signed(-0.25, 4.0), 0.0);
        assert_eq!(signed(-1.0, 4.0), 0.0);
        assert_eq!(signed(0.125, 4.0), 0.75);
    }

    #[test]
    fn the_legend_spans_the_visible_range() {
        let [low, middle, high] = legend(4.0);
        assert_eq!((low.value, middle.value, high.value), (-0.25, 0.0, 0.25));
        assert_eq!((low.colour, middle.colour, high.colour), ([0.0; 3], [0.5; 3], [1.0; 3]));
    }

    #[test]
    fn light_is_encoded_as_srgb_says() {
        for (light, level) in [(0.0, 0.0), (0.003, 0.038_76), (0.213_9, 0.5), (1.0, 1.0), (7.0, 1.0), (-1.0, 0.0)] {
            assert!((encoded(light) - level).abs() < 1e-3, "{light}");
        }
        assert_eq!(encoded(f32::NAN), 0.0);
    }

    #[test]
    fn numbers_are_short_and_signed() {
        let texts = [0.25, -0.25, 0.0, 63.75, -1.0 / 255.0, 255.0].map(signed_number);
        assert_eq!(texts, ["+0.25", "−0.25", "0", "+63.8", "−0.0039", "+255"]);
    }
}
