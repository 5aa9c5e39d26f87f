// Colour formulas of the canvas. Twin of src/view/colormap.rs: change both.
//
// Input:  picture values in [0, 1], sRGB-encoded as they lie in the file; differences of them in [-1, 1].
// Output: values in [0, 1], sRGB-encoded, except from `linear_from_srgb`.
// Caller: canvas.wgsl, which is appended to this file.

// A signed difference as a level: 0.5 is no change, 0 is -1/gain or less, 1 is +1/gain or more.
fn signed_level(difference: f32, gain: f32) -> f32 {
    return clamp(0.5 + 0.5 * gain * difference, 0.0, 1.0);
}

// After minus before, per channel.
fn signed_color(before: vec3f, after: vec3f, gain: f32) -> vec3f {
    let change = after - before;
    return vec3f(
        signed_level(change.r, gain),
        signed_level(change.g, gain),
        signed_level(change.b, gain),
    );
}

// Undoes the sRGB transfer function (IEC 61966-2-1), for targets that apply it themselves.
fn linear_from_srgb(encoded: vec3f) -> vec3f {
    let low = encoded / 12.92;
    let high = pow((encoded + vec3f(0.055)) / 1.055, vec3f(2.4));
    return select(high, low, encoded <= vec3f(0.04045));
}
