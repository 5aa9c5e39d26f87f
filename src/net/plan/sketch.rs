//! What a plan is made from: a network's steps in order, each with the value that it makes.

use super::attention::Attention;
use super::finish::Curve;
use super::map::{GROUP, Shape};
use super::method::{Choice, Method};
use super::norm::{Norm, Resample};
use super::pack::{Filter, picture_channels};
use super::plain::{Gather, Plain};

/// A map on its way through the network.
pub(in crate::net) type Value = usize;

/// A convolution whose sides and whose padding in either direction are its own.
#[derive(Debug, Clone)]
pub(in crate::net) struct Window {
    /// `[C_out, C_in, h, w]`
    pub(in crate::net) weight: Vec<f32>,
    /// `[C_out]`
    pub(in crate::net) bias: Vec<f32>,
    /// Channels out and in, height and width.
    pub(in crate::net) dims: [usize; 4],
    pub(in crate::net) stride: usize,
    /// Zeros above and below, before and behind.
    pub(in crate::net) padding: [usize; 2],
}

impl Window {
    const fn side(&self) -> usize {
        let [_, _, h, w] = self.dims;
        if h > w { h } else { w }
    }

    /// The same in a square, in the middle of zeros.
    fn filter(&self) -> Filter {
        let ([c_out, c_in, h, w], k) = (self.dims, self.side());
        let (top, left) = ((k - h) / 2, (k - w) / 2);
        let mut weight = vec![0.0; c_out * c_in * k * k];
        for (to, from) in weight.chunks_exact_mut(k * k).zip(self.weight.chunks_exact(h * w)) {
            for (to, from) in to.chunks_exact_mut(k).skip(top).zip(from.chunks_exact(w)) {
                to[left..left + w].copy_from_slice(from);
            }
        }
        Filter { weight, bias: Some(self.bias.clone()), dims: [c_out, c_in, k], stride: self.stride, before: k / 2 }
    }
}

/// The steps of a network, written down by a walk over its modules.
///
/// A value that is added to others must not be the last use of an activated value; residual networks keep this, because a
/// block's convolutions come before its sum.
#[derive(Debug)]
pub(in crate::net) struct Sketch {
    lanes: usize,
    /// Height and width of the pictures that it will mostly see.
    size: [usize; 2],
    /// Whether the gradient of the picture is wanted.
    gradient: bool,
    /// Values that are read when all is computed.
    pub(super) kept: Vec<Value>,
    /// The pictures, and what else is given with them.
    pub(super) inputs: Vec<Value>,
    pub(super) values: Vec<Made>,
    pub(super) steps: Vec<Step>,
}

/// What is known of a value.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) shape: Shape,
    /// Zeros around its gradient.
    pub(super) gradient_halo: usize,
    pub(super) channels: usize,
    pub(super) curve: Option<Curve>,
    /// How often it is read.
    pub(super) uses: usize,
}

/// `y = curve(kind(x) + add)`, or `curve(norm(x, add, film))`
#[derive(Debug)]
pub(super) struct Step {
    pub(super) forward: Kind,
    /// Where it is wanted and known.
    pub(super) backward: Option<Kind>,
    pub(super) x: Value,
    pub(super) add: Option<Value>,
    pub(super) film: Option<Value>,
    pub(super) y: Value,
}

/// What is done to a map.
#[derive(Debug)]
pub(super) enum Kind {
    /// With a bias per channel, padded.
    Conv(Method, Vec<f32>),
    Plain(Plain),
    Norm(Norm),
    Attention(Attention),
}

impl Sketch {
    /// A network that sees pictures of so many channels, which are value 0 and are only convolved, for processors whose
    /// vectors have `lanes` numbers. It takes pictures of any size; methods are chosen for `size`, height and width.
    pub(in crate::net) fn new(channels: usize, size: [usize; 2], lanes: usize) -> Self {
        let shape = Shape { channels: picture_channels(channels), by: 1, less: 0, halo: 0 };
        let picture = Made { shape, gradient_halo: 0, channels, curve: None, uses: 0 };
        let (inputs, values) = (vec![0], vec![picture]);
        Self { lanes, size, gradient: true, kept: Vec::new(), inputs, values, steps: Vec::new() }
    }

    /// The same without a gradient, which some steps have none of.
    pub(in crate::net) fn forwards_only(self) -> Self {
        Self { gradient: false, ..self }
    }

    /// A vector per picture, of which there are `channels` values.
    pub(in crate::net) fn vector(&mut self, channels: usize) -> Value {
        let shape = Shape { channels: channels.next_multiple_of(GROUP), by: Shape::PIXEL, less: 0, halo: 0 };
        self.values.push(Made { shape, gradient_halo: 0, channels, curve: None, uses: 0 });
        self.inputs.push(self.values.len() - 1);
        self.values.len() - 1
    }

    fn push(
        &mut self,
        (forward, backward): (Kind, Option<Kind>),
        (x, add, film): (Value, Option<Value>, Option<Value>),
        [channels, by, gradient_halo]: [usize; 3],
        curve: Option<Curve>,
    ) -> Value {
        debug_assert!(backward.is_some() || !self.gradient, "every step has a gradient where it is wanted");
        let y = self.values.len();
        for used in std::iter::once(x).chain(add).chain(film) {
            self.values[used].uses += 1;
        }
        let less = if by == self.values[x].shape.by { self.values[x].shape.less } else { 0 };
        let shape = Shape { channels: channels.next_multiple_of(GROUP), by, less, halo: 0 };
        self.values.push(Made { shape, gradient_halo, channels, curve, uses: 0 });
        self.steps.push(Step { forward, backward, x, add, film, y });
        y
    }

    /// Channels of a value.
    pub(in crate::net) fn channels(&self, value: Value) -> usize {
        self.values[value].channels
    }

    /// `curve(conv(x) + add)`
    pub(in crate::net) fn conv(
        &mut self,
        x: Value,
        filter: &Filter,
        add: Option<Value>,
        curve: Option<Curve>,
    ) -> Value {
        let [c_out, c_in, k] = filter.dims;
        let pad = |values: usize| vec![0.0; values.next_multiple_of(GROUP)];
        let mut bias = pad(c_out);
        if let Some(values) = &filter.bias {
            bias[..c_out].copy_from_slice(values);
        }
        let shape = self.values[x].shape;
        let place = (shape, self.size);
        let choice = if self.gradient { Choice::BEFORE_A_GRADIENT } else { Choice::ALONE };
        let forward = Kind::Conv(Method::choose(filter, choice, place, self.lanes), bias);
        let gradient = || Kind::Conv(Method::choose(filter, Choice::GRADIENT, place, self.lanes), pad(c_in));
        let backward = self.gradient.then(gradient);
        let from = &mut self.values[x].shape;
        from.halo = from.halo.max(k / 2);
        let by = from.by.saturating_mul(filter.stride);
        self.push((forward, backward), (x, add, None), [c_out, by, k / 2], curve)
    }

    /// `curve(x scale + shift)`, per channel.
    pub(in crate::net) fn affine(
        &mut self,
        x: Value,
        [mut scale, mut shift]: [Vec<f32>; 2],
        curve: Option<Curve>,
    ) -> Value {
        let channels = scale.len();
        scale.resize(channels.next_multiple_of(GROUP), 0.0);
        shift.resize(scale.len(), 0.0);
        let backward = Plain::Affine { scale: scale.clone(), shift: vec![0.0; scale.len()] };
        let kinds = (Kind::Plain(Plain::Affine { scale, shift }), Some(Kind::Plain(backward)));
        let by = self.values[x].shape.by;
        self.push(kinds, (x, None, None), [channels, by, 0], curve)
    }

    /// `curve(norm(x, behind, film))`, halved or doubled.
    ///
    /// The channels of `behind` lie behind those of `x`, which are whole groups of 16. Without a gradient only.
    pub(in crate::net) fn norm(
        &mut self,
        norm: Norm,
        (x, behind): (Value, Option<Value>),
        film: Option<Value>,
        curve: Option<Curve>,
    ) -> Value {
        debug_assert!(behind.is_none() || self.channels(x).is_multiple_of(GROUP), "whole groups");
        let by = norm.resample.by(self.values[x].shape.by);
        let channels = self.channels(x) + behind.map_or(0, |behind| self.channels(behind));
        self.push((Kind::Norm(norm), None), (x, behind, film), [channels, by, 0], curve)
    }

    /// Every pixel four times. Without a gradient only.
    pub(in crate::net) fn upsample(&mut self, x: Value) -> Value {
        let by = Resample::Up.by(self.values[x].shape.by);
        let channels = self.channels(x);
        self.push((Kind::Plain(Plain::Upsample), None), (x, None, None), [channels, by, 0], None)
    }

    /// Attention between the pixels of a map of queries, keys and values. Without a gradient only.
    pub(in crate::net) fn attention(&mut self, qkv: Value, attention: Attention) -> Value {
        let (channels, by) = (attention.channels(), self.values[qkv].shape.by);
        self.push((Kind::Attention(attention), None), (qkv, None, None), [channels, by, 0], None)
    }

    /// 3x3, stride 2, padded by 1.
    pub(in crate::net) fn max_pool(&mut self, x: Value) -> Value {
        self.plain(x, (Plain::MaxPool, Plain::MaxUnpool), 2)
    }

    /// Means of 2x2.
    pub(in crate::net) fn average_pool(&mut self, x: Value) -> Value {
        self.plain(x, (Plain::AvgPool, Plain::AvgUnpool), 2)
    }

    /// The mean of all pixels.
    pub(in crate::net) fn mean(&mut self, x: Value) -> Value {
        self.plain(x, (Plain::Mean, Plain::Spread), Shape::PIXEL)
    }

    /// `curve(conv(x))` of a filter `[C_out, C_in, h, w]` of any sides and padding, for pictures of the sketch's size only.
    /// Without a gradient only.
    pub(in crate::net) fn window(&mut self, x: Value, window: &Window, curve: Option<Curve>) -> Value {
        let Window { dims: [c_out, _, h, w], padding: [rows, columns], stride, .. } = *window;
        debug_assert_eq!(h - 2 * rows, w - 2 * columns, "both sides lose as much");
        let filter = window.filter();
        if h == w && [rows, columns] == [h / 2; 2] {
            return self.conv(x, &filter, None, curve);
        }
        let [by, less] = self.shrunk(x, h - 2 * rows, stride);
        let from = &mut self.values[x].shape;
        from.halo = from.halo.max(rows.max(columns));
        let method = Method::Direct(filter.band(self.lanes, from.channels, [h, w], [rows, columns]));
        let mut bias = window.bias.clone();
        bias.resize(c_out.next_multiple_of(GROUP), 0.0);
        let y = self.push((Kind::Conv(method, bias), None), (x, None, None), [c_out, by, 0], curve);
        self.values[y].shape.less = less;
        y
    }

    /// The largest or the mean of 3x3 pixels, padded by 1 or not, for pictures of the sketch's size only. Without a gradient
    /// only.
    pub(in crate::net) fn pool(&mut self, x: Value, pool: Gather, [stride, padding]: [usize; 2]) -> Value {
        let [by, less] = self.shrunk(x, 3 - 2 * padding, stride);
        let channels = self.channels(x);
        let kind = Kind::Plain(Plain::Gather { what: pool, stride, padding, first: 0 });
        let y = self.push((kind, None), (x, None, None), [channels, by, 0], None);
        self.values[y].shape.less = less;
        y
    }

    /// The channels of maps of one size, whole groups of 16 each, one behind the other. Without a gradient only.
    pub(in crate::net) fn joined(&mut self, maps: &[Value]) -> Value {
        let y = self.values.len();
        let channels = maps.iter().map(|map| self.channels(*map)).sum();
        let shape = Shape { channels, halo: 0, ..self.values[maps[0]].shape };
        self.values.push(Made { shape, gradient_halo: 0, channels, curve: None, uses: 0 });
        let mut first = 0;
        for x in maps.iter().copied() {
            debug_assert!(self.channels(x).is_multiple_of(GROUP), "whole groups");
            self.values[x].uses += 1;
            let forward = Kind::Plain(Plain::Gather { what: Gather::Copy, stride: 1, padding: 0, first });
            self.steps.push(Step { forward, backward: None, x, add: None, film: None, y });
            first += self.channels(x);
        }
        y
    }

    /// Has a value kept until all is computed, for [`super::Plan::seen`].
    pub(in crate::net) fn keep(&mut self, value: Value) {
        self.kept.push(value);
    }

    /// What a side is divided by and what it has less, behind a window that takes `pixels` with what is padded left out.
    fn shrunk(&self, x: Value, pixels: usize, stride: usize) -> [usize; 2] {
        let Shape { by, .. } = self.values[x].shape;
        let (side, by) = (self.values[x].shape.of(self.size).height, by * stride);
        [by, self.size[0].div_ceil(by) - ((side - pixels) / stride + 1)]
    }

    fn plain(&mut self, x: Value, (forward, backward): (Plain, Plain), by: usize) -> Value {
        let Made { shape, channels, .. } = &self.values[x];
        let (channels, by) = (*channels, shape.by.saturating_mul(by));
        self.push((Kind::Plain(forward), Some(Kind::Plain(backward))), (x, None, None), [channels, by, 0], None)
    }
}
