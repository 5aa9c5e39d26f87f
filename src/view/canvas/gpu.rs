//! The canvas's half that speaks wgpu: pipeline, textures, and the paint callback.

use std::sync::Arc;

use eframe::egui_wgpu::{CallbackResources, CallbackTrait, RenderState, ScreenDescriptor, wgpu};

use super::{Pictures, TEXEL, Uniforms};

/// The shader as it is compiled: the colour formulas, then the canvas.
pub const SHADER: &str =
    concat!(include_str!("../../../shaders/colormap.wgsl"), include_str!("../../../shaders/canvas.wgsl"));

/// Name of the canvas's objects in graphics debuggers and error messages.
const LABEL: Option<&str> = Some("canvas");

/// Makes the pipeline and hands it to egui's renderer; once, when the window is made.
///
/// Assumes that the window is not multisampled, which is eframe's default.
pub fn install(render_state: &RenderState) {
    let pipeline = Pipeline::new(&render_state.device, render_state.target_format);
    render_state.renderer.write().callback_resources.insert(pipeline);
}

impl Pictures {
    fn extent(&self) -> wgpu::Extent3d {
        let [_, height, width] = self.shape.map(|side| side as u32);
        wgpu::Extent3d { width, height, depth_or_array_layers: 1 }
    }
}

/// One pair on its way to the renderer.
pub(super) struct Frame {
    pub(super) pictures: Arc<Pictures>,
    pub(super) uniforms: Uniforms,
}

impl CallbackTrait for Frame {
    fn prepare(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        _screen: &ScreenDescriptor,
        _encoder: &mut wgpu::CommandEncoder,
        resources: &mut CallbackResources,
    ) -> Vec<wgpu::CommandBuffer> {
        if let Some(pipeline) = resources.get_mut::<Pipeline>() {
            pipeline.prepare(device, queue, &self.pictures, self.uniforms);
        }
        Vec::new()
    }

    fn paint(&self, _: egui::PaintCallbackInfo, pass: &mut wgpu::RenderPass<'static>, resources: &CallbackResources) {
        if let Some(pipeline) = resources.get::<Pipeline>() {
            pipeline.draw(pass);
        }
    }
}

/// What the GPU holds for the canvas. It draws one pair per frame, so a window has one canvas.
#[derive(Debug)]
pub struct Pipeline {
    render: wgpu::RenderPipeline,
    layout: wgpu::BindGroupLayout,
    uniforms: wgpu::Buffer,
    /// What lies in it.
    written: Option<Uniforms>,
    encodes_srgb: bool,
    bound: Option<Bound>,
}

/// The pictures that were uploaded last, and where to.
#[derive(Debug)]
struct Bound {
    /// Before and after.
    textures: [wgpu::Texture; 2],
    /// What lies in them.
    shown: [Option<Arc<Vec<f32>>>; 2],
    group: wgpu::BindGroup,
}

impl Pipeline {
    /// Compiles the shader for a target format.
    #[must_use]
    pub fn new(device: &wgpu::Device, format: wgpu::TextureFormat) -> Self {
        let source = wgpu::ShaderSource::Wgsl(SHADER.into());
        let shader = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: LABEL, source });
        let picture = wgpu::BindingType::Texture {
            sample_type: wgpu::TextureSampleType::Float { filterable: false },
            view_dimension: wgpu::TextureViewDimension::D2,
            multisampled: false,
        };
        let buffer = wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Uniform,
            has_dynamic_offset: false,
            min_binding_size: std::num::NonZeroU64::new(size_of::<Uniforms>() as u64),
        };
        let entry = |binding, visibility, ty| wgpu::BindGroupLayoutEntry { binding, visibility, ty, count: None };
        let (vertex, fragment) = (wgpu::ShaderStages::VERTEX, wgpu::ShaderStages::FRAGMENT);
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: LABEL,
            entries: &[entry(0, vertex, buffer), entry(1, fragment, picture), entry(2, fragment, picture)],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: LABEL,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let render = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: LABEL,
            layout: Some(&pipeline_layout),
            vertex: wgpu::VertexState {
                module: &shader,
                entry_point: Some("vs_main"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            fragment: Some(wgpu::FragmentState {
                module: &shader,
                entry_point: Some("fs_main"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[Some(format.into())],
            }),
            multiview_mask: None,
            cache: None,
        });
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: LABEL,
            size: size_of::<Uniforms>() as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self { render, layout, uniforms, written: None, encodes_srgb: format.is_srgb(), bound: None }
    }

    /// Uploads what changed since the last call.
    pub fn prepare(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        pictures: &Arc<Pictures>,
        uniforms: Uniforms,
    ) {
        let uniforms = Uniforms { linear_target: u32::from(self.encodes_srgb), ..uniforms };
        // A frame in which only the pointer moved sends nothing.
        if self.written.replace(uniforms) != Some(uniforms) {
            queue.write_buffer(&self.uniforms, 0, bytemuck::bytes_of(&uniforms));
        }
        let bound = self.bound.take();
        let size = pictures.extent();
        if size.width.max(size.height) > device.limits().max_texture_dimension_2d {
            return;
        }
        let mut bound = match bound {
            Some(bound) if bound.textures[0].size() == size => bound,
            _ => self.bind(device, size),
        };
        for ((texture, shown), texels) in
            bound.textures.iter().zip(&mut bound.shown).zip([&pictures.before, &pictures.after])
        {
            if !shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, texels)) {
                upload(queue, texture, texels);
                *shown = Some(Arc::clone(texels));
            }
        }
        self.bound = Some(bound);
    }

    /// Draws what was prepared over the pass's viewport; nothing when the pictures do not fit the GPU.
    pub fn draw(&self, pass: &mut wgpu::RenderPass<'_>) {
        if let Some(bound) = &self.bound {
            pass.set_pipeline(&self.render);
            pass.set_bind_group(0, &bound.group, &[]);
            pass.draw(0..3, 0..1);
        }
    }

    fn bind(&self, device: &wgpu::Device, size: wgpu::Extent3d) -> Bound {
        let texture = |label| {
            device.create_texture(&wgpu::TextureDescriptor {
                label: Some(label),
                size,
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba32Float,
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            })
        };
        let (before, after) = (texture("canvas before"), texture("canvas after"));
        let view = |texture: &wgpu::Texture| {
            texture.create_view(&wgpu::TextureViewDescriptor { label: LABEL, ..Default::default() })
        };
        let (before_view, after_view) = (view(&before), view(&after));
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: LABEL,
            layout: &self.layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: self.uniforms.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::TextureView(&before_view) },
                wgpu::BindGroupEntry { binding: 2, resource: wgpu::BindingResource::TextureView(&after_view) },
            ],
        });
        Bound { textures: [before, after], shown: [None, None], group }
    }
}

fn upload(queue: &wgpu::Queue, texture: &wgpu::Texture, texels: &[f32]) {
    let size = texture.size();
    let layout = wgpu::TexelCopyBufferLayout {
        offset: 0,
        bytes_per_row: Some(size.width * (TEXEL * size_of::<f32>()) as u32),
        rows_per_image: Some(size.height),
    };
    queue.write_texture(texture.as_image_copy(), bytemuck::cast_slice(texels), layout, size);
}
