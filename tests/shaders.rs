//! The shaders are valid, agree with the Rust side on layout and constants, and paint what their CPU twin says.

use std::sync::Arc;

use lapidary::image::quantise;
use lapidary::session::Compare;
use lapidary::view::canvas::{self, Pair, Pictures, Pipeline, SHADER, Uniforms};

/// Width and height of the test pictures.
const SIDE: usize = 4;
/// Width and height of the target: a row of 64 RGBA8 pixels is the 256 bytes that a copy to a buffer demands.
const TARGET: u32 = 64;
const BACKGROUND: [f32; 4] = [0.2, 0.4, 0.6, 1.0];

fn module() -> naga::Module {
    naga::front::wgsl::parse_str(SHADER).unwrap_or_else(|error| panic!("{}", error.emit_to_string(SHADER)))
}

#[test]
fn the_shader_is_valid() {
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
    if let Err(error) = validator.validate(&module()) {
        panic!("{}", error.emit_to_string(SHADER));
    }
}

/// Mesa's software driver compiles a fragment shader that branches on uniforms anew in every frame, and keeps them all.
#[test]
fn no_fragment_reads_a_uniform() {
    let module = module();
    let flags = naga::valid::ValidationFlags::all();
    let info = naga::valid::Validator::new(flags, naga::valid::Capabilities::empty()).validate(&module).unwrap();
    let mut fragments = 0;
    for (place, point) in module.entry_points.iter().enumerate() {
        let used =
            |(handle, _): &(naga::Handle<naga::GlobalVariable>, _)| !info.get_entry_point(place)[*handle].is_empty();
        let uniforms = module.global_variables.iter().filter(|(_, it)| it.space == naga::AddressSpace::Uniform);
        let count = uniforms.filter(used).count();
        if point.stage == naga::ShaderStage::Fragment {
            fragments += 1;
            assert_eq!(count, 0, "{}", point.name);
        } else {
            assert_eq!(count, 1, "{}", point.name);
        }
    }
    assert_eq!(fragments, 1);
}

#[test]
fn the_uniforms_have_the_layout_of_the_shader() {
    let module = module();
    let (_, view) = module
        .global_variables
        .iter()
        .find(|(_, variable)| variable.name.as_deref() == Some("sent"))
        .expect("the shader has `sent`");
    let naga::TypeInner::Struct { members, span } = &module.types[view.ty].inner else {
        panic!("`sent` is a struct");
    };
    assert_eq!(*span as usize, size_of::<Uniforms>());
    let offsets: Vec<_> =
        members.iter().map(|member| (member.name.as_deref().unwrap_or_default(), member.offset as usize)).collect();
    let expected = [
        ("corner", std::mem::offset_of!(Uniforms, corner)),
        ("size", std::mem::offset_of!(Uniforms, size)),
        ("origin", std::mem::offset_of!(Uniforms, origin)),
        ("picture", std::mem::offset_of!(Uniforms, picture)),
        ("background", std::mem::offset_of!(Uniforms, background)),
        ("zoom", std::mem::offset_of!(Uniforms, zoom)),
        ("wipe", std::mem::offset_of!(Uniforms, wipe)),
        ("gain", std::mem::offset_of!(Uniforms, gain)),
        ("mode", std::mem::offset_of!(Uniforms, mode)),
        ("blink_after", std::mem::offset_of!(Uniforms, blink_after)),
        ("linear_target", std::mem::offset_of!(Uniforms, linear_target)),
        ("grid", std::mem::offset_of!(Uniforms, grid)),
        ("smoothing", std::mem::offset_of!(Uniforms, smoothing)),
    ];
    assert_eq!(offsets, expected);
}

#[test]
fn the_modes_are_the_discriminants_of_compare() {
    for (name, compare) in [
        ("MODE_SIDE", Compare::Side),
        ("MODE_WIPE", Compare::Wipe),
        ("MODE_BLINK", Compare::Blink),
        ("MODE_DIFFERENCE", Compare::Difference),
    ] {
        let line = format!("const {name}: u32 = {}u;", compare as u32);
        assert!(SHADER.lines().any(|found| found == line), "the shader lacks the line `{line}`");
    }
    let declared = SHADER.lines().filter(|line| line.starts_with("const MODE_")).count();
    assert_eq!(declared, Compare::ALL.len(), "a mode without a counterpart");
}

#[test]
fn the_gpu_paints_what_the_cpu_twin_says() {
    let Some((_, device, queue)) = gpu() else {
        eprintln!("skipped: no graphics adapter, not even a software one");
        return;
    };
    let before = ramp(|i| i as f32 / 47.0);
    let after = ramp(|i| ((i * 29) % 48) as f32 / 47.0);
    let pictures = Arc::new(
        Pictures::new(&Pair { before: &before, after: &after, shape: [3, SIDE, SIDE], keys: [1; 2] })
            .expect("a valid pair"),
    );
    for format in [wgpu::TextureFormat::Rgba8Unorm, wgpu::TextureFormat::Rgba8UnormSrgb] {
        let mut pipeline = Pipeline::new(&device, format);
        let modes = [
            (Compare::Side, false),
            (Compare::Wipe, false),
            (Compare::Blink, false),
            (Compare::Blink, true),
            (Compare::Difference, false),
        ];
        for (smoothing, (compare, blink_after)) in [0, 1].into_iter().flat_map(|on| modes.map(|mode| (on, mode))) {
            let uniforms = Uniforms { smoothing, ..uniforms(compare, blink_after) };
            pipeline.prepare(&device, &queue, &pictures, uniforms);
            let painted = paint(&device, &queue, &pipeline, format);
            for y in 0..TARGET as usize {
                for x in 0..TARGET as usize {
                    let expected = twin(&uniforms, compare, x, y, &before, &after).map(quantise);
                    let start = (y * TARGET as usize + x) * 4;
                    for channel in 0..3 {
                        let (found, wanted) = (painted[start + channel], expected[channel]);
                        assert!(
                            found.abs_diff(wanted) <= 1,
                            "{compare:?} on {format:?}, pixel ({x}, {y}), channel {channel}: {found}, not {wanted}"
                        );
                    }
                }
            }
        }
        pipeline.prepare(&device, &queue, &pictures, Uniforms { mode: 99, ..uniforms(Compare::Blink, false) });
        let painted = paint(&device, &queue, &pipeline, format);
        let inside = (32 * TARGET as usize + 16) * 4;
        assert_eq!(painted[inside..inside + 4], [255, 0, 255, 255], "an unknown mode is magenta");
    }
}

#[test]
fn a_frame_leaves_nothing_behind_on_the_gpu() {
    let Some((instance, device, queue)) = gpu() else {
        eprintln!("skipped: no graphics adapter, not even a software one");
        return;
    };
    let format = wgpu::TextureFormat::Rgba8Unorm;
    let values = ramp(|i| i as f32 / 47.0);
    let pair = Pair { before: &values, after: &values, shape: [3, SIDE, SIDE], keys: [1; 2] };
    let pictures = Arc::new(Pictures::new(&pair).expect("a valid pair"));
    let mut pipeline = Pipeline::new(&device, format);
    let mut held = Vec::new();
    for frame in 0..40_u16 {
        // Another view of the same pair, as while it is dragged.
        let uniforms = Uniforms { zoom: 6.0 + f32::from(frame), ..uniforms(Compare::Side, false) };
        pipeline.prepare(&device, &queue, &pictures, uniforms);
        drop(paint(&device, &queue, &pipeline, format));
        let Some(report) = instance.generate_report() else { return };
        let hub = report.hub;
        held.push([hub.buffers, hub.textures, hub.bind_groups].map(|kind| kind.num_allocated));
    }
    assert_eq!(held[4], held[39], "buffers, textures and bind groups");
}

/// A 4x4 RGB picture from the index of each value.
fn ramp(value: impl Fn(usize) -> f32) -> Vec<f32> {
    (0..3 * SIDE * SIDE).map(value).collect()
}

/// The canvas is the whole target; 6 screen pixels per picture pixel; with margins, and not in the middle.
fn uniforms(compare: Compare, blink_after: bool) -> Uniforms {
    Uniforms {
        corner: [0.0, 0.0],
        size: [TARGET as f32; 2],
        origin: [5.0, 17.0],
        picture: [SIDE as u32; 2],
        background: BACKGROUND,
        zoom: 6.0,
        wipe: 0.25,
        gain: 2.0,
        mode: compare as u32,
        blink_after: u32::from(blink_after),
        linear_target: 0,
        grid: 0.0,
        smoothing: 0,
    }
}

/// What the CPU says about a screen pixel.
fn twin(uniforms: &Uniforms, compare: Compare, x: usize, y: usize, before: &[f32], after: &[f32]) -> [f32; 3] {
    let local = [x as f32 + 0.5, y as f32 + 0.5];
    let Some([column, row]) = uniforms.picture_pixel(local) else {
        return [BACKGROUND[0], BACKGROUND[1], BACKGROUND[2]];
    };
    let pixel =
        |values: &[f32], x: usize, y: usize| std::array::from_fn(|channel| values[(channel * SIDE + y) * SIDE + x]);
    let rgb = |values: &[f32]| match uniforms.smoothing {
        0 => pixel(values, column, row),
        _ => canvas::smoothed(&|x, y| pixel(values, x, y), uniforms.picture, uniforms.picture_point(local)),
    };
    let use_after = canvas::shows_after(compare, local[0], uniforms.size[0], uniforms.wipe, uniforms.blink_after == 1);
    canvas::shade(compare, rgb(before), rgb(after), use_after, uniforms.gain)
}

/// A device of any adapter; a software one will do.
fn gpu() -> Option<(wgpu::Instance, wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).ok()?;
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("shader test"),
        required_limits: wgpu::Limits::downlevel_defaults(),
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).ok()?;
    Some((instance, device, queue))
}

/// Draws into a new target and reads it back, RGBA8.
fn paint(device: &wgpu::Device, queue: &wgpu::Queue, pipeline: &Pipeline, format: wgpu::TextureFormat) -> Vec<u8> {
    let size = wgpu::Extent3d { width: TARGET, height: TARGET, depth_or_array_layers: 1 };
    let target = device.create_texture(&wgpu::TextureDescriptor {
        label: Some("shader test target"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    });
    let read_back = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("shader test read-back"),
        size: u64::from(TARGET * TARGET * 4),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let view = target.create_view(&wgpu::TextureViewDescriptor::default());
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("shader test") });
    {
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("shader test"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &view,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store },
            })],
            depth_stencil_attachment: None,
            timestamp_writes: None,
            occlusion_query_set: None,
            multiview_mask: None,
        });
        pipeline.draw(&mut pass);
    }
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(TARGET * 4), rows_per_image: None };
    let destination = wgpu::TexelCopyBufferInfo { buffer: &read_back, layout };
    encoder.copy_texture_to_buffer(target.as_image_copy(), destination, size);
    queue.submit([encoder.finish()]);
    read_back.map_async(wgpu::MapMode::Read, .., |result| result.expect("the buffer can be read"));
    device.poll(wgpu::PollType::wait_indefinitely()).expect("the work ends");
    read_back.get_mapped_range(..).expect("the buffer is mapped").to_vec()
}
