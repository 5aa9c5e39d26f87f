// Draws one before/after pair, each screen pixel from the one picture pixel under its centre, or, when it is asked for and the
// picture is enlarged, smoothly from its neighbours.
//
// Input:  two pictures of one size, RGBA32Float, in [0, 1], sRGB-encoded; alpha is not read.
// Output: the same encoding, so that a picture's bytes reach a Unorm target unchanged; for an sRGB target the
//         shader decodes first, because the target encodes again.
// Caller: src/view/canvas/mod.rs, with colormap.wgsl in front of this file.

// The discriminants of `Compare`.
const MODE_SIDE: u32 = 0u;
const MODE_WIPE: u32 = 1u;
const MODE_BLINK: u32 = 2u;
const MODE_DIFFERENCE: u32 = 3u;

// Screen pixels per picture pixel from which the grid is drawn.
const GRID_MIN_ZOOM: f32 = 16.0;

// An impossible mode should be seen, not guessed.
const ERROR_COLOR: vec3f = vec3f(1.0, 0.0, 1.0);

// Twin of `Uniforms` in src/view/canvas/mod.rs. "Pixels" are framebuffer pixels.
struct View {
    // Top-left corner of the canvas in the framebuffer, in pixels.
    corner: vec2f,
    // Width and height of the canvas, in pixels.
    size: vec2f,
    // Top-left corner of the picture within its pane, in whole pixels.
    origin: vec2f,
    // Width and height of a picture, in picture pixels.
    picture: vec2u,
    // Colour around the picture, sRGB-encoded.
    background: vec4f,
    // Pixels per picture pixel.
    zoom: f32,
    // Where the wipe cuts, as a fraction of the width.
    wipe: f32,
    // Factor on a difference.
    gain: f32,
    // A MODE_ constant.
    mode: u32,
    // 1 while blinking shows "after".
    blink_after: u32,
    // 1 when the target encodes sRGB itself.
    linear_target: u32,
    // Strength of the pixel grid, 0 for none, 1 for black and white lines.
    grid: f32,
    // 1 when enlarged pictures are drawn smoothly between their pixels.
    smoothing: u32,
}

@group(0) @binding(0) var<uniform> sent: View;
@group(0) @binding(1) var before_picture: texture_2d<f32>;
@group(0) @binding(2) var after_picture: texture_2d<f32>;

// What was sent, as a fragment has it. It comes through the corners of the triangle: Mesa's software driver compiles a fragment
// shader that branches on uniforms anew for every frame, and keeps them all.
var<private> view: View;

// Width of the left pane when two lie side by side. Whole, so that both panes cut picture pixels alike.
fn left_pane_width(width: f32) -> f32 {
    return floor(0.5 * width);
}

// Whether column `x` of a canvas shows "after".
fn shows_after(mode: u32, x: f32, width: f32, wipe: f32, blink_after: bool) -> bool {
    switch mode {
        case MODE_SIDE: { return x >= left_pane_width(width); }
        case MODE_WIPE: { return x >= wipe * width; }
        case MODE_BLINK: { return blink_after; }
        default: { return false; }
    }
}

// The colour of one picture pixel.
fn shade(mode: u32, before: vec3f, after: vec3f, use_after: bool, gain: f32) -> vec3f {
    switch mode {
        case MODE_SIDE, MODE_WIPE, MODE_BLINK: { return select(before, after, use_after); }
        case MODE_DIFFERENCE: { return signed_color(before, after, gain); }
        default: { return ERROR_COLOR; }
    }
}

// The picture point, in picture pixels, under a point of the canvas.
fn picture_point(local: vec2f) -> vec2f {
    var in_pane = local;
    let left = left_pane_width(view.size.x);
    if view.mode == MODE_SIDE && local.x >= left {
        in_pane.x = local.x - left;
    }
    return (in_pane - view.origin) / view.zoom;
}

// Whether a picture point lies in the picture.
fn is_inside(point: vec2f) -> bool {
    return all(point >= vec2f(0.0)) && all(point < vec2f(view.picture));
}

// Shares of four neighbours in the value at `t` between the second and the third: a Catmull-Rom spline.
fn spline(t: f32) -> vec4f {
    let t2 = t * t;
    let t3 = t2 * t;
    return vec4f(
        -0.5 * t + t2 - 0.5 * t3,
        1.0 - 2.5 * t2 + 1.5 * t3,
        0.5 * t + 2.0 * t2 - 1.5 * t3,
        -0.5 * t2 + 0.5 * t3,
    );
}

// The colour of a picture at a point of it.
fn color_at(picture: texture_2d<f32>, point: vec2f) -> vec3f {
    if view.smoothing == 0u || view.zoom <= 1.0 {
        return textureLoad(picture, vec2i(floor(point)), 0).rgb;
    }
    let base = floor(point - 0.5);
    let last = vec2f(view.picture) - 1.0;
    var across = spline(point.x - 0.5 - base.x);
    var down = spline(point.y - 0.5 - base.y);
    var sum = vec3f(0.0);
    for (var row = 0; row < 4; row++) {
        for (var column = 0; column < 4; column++) {
            let texel = clamp(base + vec2f(f32(column - 1), f32(row - 1)), vec2f(0.0), last);
            sum += down[row] * across[column] * textureLoad(picture, vec2i(texel), 0).rgb;
        }
    }
    return clamp(sum, vec3f(0.0), vec3f(1.0));
}

// Draws the first screen pixel of each picture pixel lighter or darker, against its own brightness.
fn with_grid(color: vec3f, point: vec2f) -> vec3f {
    let is_line = any(fract(point) * view.zoom < vec2f(1.0));
    if !is_line || view.zoom < GRID_MIN_ZOOM {
        return color;
    }
    let brightness = (color.r + color.g + color.b) / 3.0;
    let line = select(1.0, 0.0, brightness > 0.5);
    return mix(color, vec3f(line), view.grid);
}

// The colour of a point of the canvas, sRGB-encoded.
fn canvas_color(local: vec2f) -> vec3f {
    let point = picture_point(local);
    if !is_inside(point) {
        return view.background.rgb;
    }
    let use_after = shows_after(view.mode, local.x, view.size.x, view.wipe, view.blink_after != 0u);
    // Only what is seen is read: smoothly, that is sixteen pixels.
    let both = view.mode == MODE_DIFFERENCE;
    var before = vec3f(0.0);
    var after = vec3f(0.0);
    if both || !use_after {
        before = color_at(before_picture, point);
    }
    if both || use_after {
        after = color_at(after_picture, point);
    }
    return with_grid(shade(view.mode, before, after, use_after, view.gain), point);
}

// A corner of the triangle: everything that was sent, packed, the same at all of them.
struct Corner {
    @builtin(position) position: vec4f,
    @location(0) @interpolate(flat) corner_and_size: vec4f,
    @location(1) @interpolate(flat) origin_zoom_wipe: vec4f,
    @location(2) @interpolate(flat) background: vec4f,
    @location(3) @interpolate(flat) gain_and_grid: vec2f,
    @location(4) @interpolate(flat) picture_and_mode: vec3u,
    // Blinking shows "after", the target encodes, smoothly.
    @location(5) @interpolate(flat) switches: vec3u,
}

// One triangle that covers the viewport: (-1, -1), (3, -1), (-1, 3).
@vertex
fn vs_main(@builtin(vertex_index) index: u32) -> Corner {
    let x = f32(index & 1u) * 4.0 - 1.0;
    let y = f32(index >> 1u) * 4.0 - 1.0;
    return Corner(
        vec4f(x, y, 0.0, 1.0),
        vec4f(sent.corner, sent.size),
        vec4f(sent.origin, sent.zoom, sent.wipe),
        sent.background,
        vec2f(sent.gain, sent.grid),
        vec3u(sent.picture, sent.mode),
        vec3u(sent.blink_after, sent.linear_target, sent.smoothing),
    );
}

fn unpacked(at: Corner) -> View {
    return View(
        at.corner_and_size.xy,
        at.corner_and_size.zw,
        at.origin_zoom_wipe.xy,
        at.picture_and_mode.xy,
        at.background,
        at.origin_zoom_wipe.z,
        at.origin_zoom_wipe.w,
        at.gain_and_grid.x,
        at.picture_and_mode.z,
        at.switches.x,
        at.switches.y,
        at.gain_and_grid.y,
        at.switches.z,
    );
}

@fragment
fn fs_main(at: Corner) -> @location(0) vec4f {
    view = unpacked(at);
    var color = canvas_color(at.position.xy - view.corner);
    if view.linear_target != 0u {
        color = linear_from_srgb(color);
    }
    return vec4f(color, 1.0);
}
