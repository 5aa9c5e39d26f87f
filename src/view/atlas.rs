//! The pictures of a grid as textures: one per cell, made when the cell is seen, so that neither the number of pictures nor
//! their size meets the graphics card's limit or holds up a frame.

use std::ops::Range;

use egui::{Color32, ColorImage, Context, Painter, Rect, TextureHandle, TextureOptions, pos2};

use crate::image::reduced::{reading_cost, reduced, reduced_size};

/// Values that are read per frame at most, one picture at least: a few milliseconds. What is left waits for the next frame.
const VALUES_PER_FRAME: usize = 4_000_000;

/// A batch of pictures, by name and shape.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Names the set of origins: another one never shows pictures of this.
    pub epoch: u64,
    /// Another number whenever the pixels are others.
    pub key: u64,
    /// `[N, C, H, W]`
    pub shape: [usize; 4],
}

struct Cell {
    key: u64,
    texture: TextureHandle,
}

/// The textures of a batch.
#[derive(Default)]
pub struct Atlas {
    epoch: Option<u64>,
    cells: Vec<Option<Cell>>,
    /// The cell that the next frame begins with, so that none waits for ever behind those that change at every frame.
    next: usize,
}

impl Atlas {
    /// Renews the textures of the pictures that are seen, as far as one frame's time allows; asks for another frame when that is
    /// not all.
    ///
    /// `sample`: the values of one picture, `[C, H, W]` in `[0, 1]`. `side`: pixels of the screen along the side of a cell, which
    /// no texture exceeds.
    pub fn update<'a>(
        &mut self,
        ctx: &Context,
        Batch { epoch, key, shape: [n, c, h, w] }: Batch,
        sample: impl Fn(usize) -> &'a [f32],
        side: usize,
        visible: Range<usize>,
    ) {
        if self.epoch != Some(epoch) || self.cells.len() != n {
            *self = Self { epoch: Some(epoch), cells: std::iter::repeat_with(|| None).take(n).collect(), next: 0 };
        }
        let size = reduced_size([h, w], side);
        let cost = reading_cost([c, h, w], size);
        let first = if visible.contains(&self.next) { self.next } else { visible.start };
        let mut left = VALUES_PER_FRAME;
        for index in (first..visible.end).chain(visible.start..first) {
            let Some(cell) = self.cells.get_mut(index) else { continue };
            let fits = |cell: &Cell| cell.texture.size() == [size[1], size[0]];
            if cell.as_ref().is_some_and(|cell| cell.key == key && fits(cell)) {
                continue;
            }
            if left == 0 {
                self.next = index;
                ctx.request_repaint();
                return;
            }
            left = left.saturating_sub(cost);
            let pixels = reduced(sample(index), [c, h, w], size, |[r, g, b]| Color32::from_rgb(r, g, b));
            let image = ColorImage::new([size[1], size[0]], pixels);
            match cell.as_mut().filter(|cell| fits(cell)) {
                Some(cell) => {
                    // In place: the texture and its bindings stay.
                    cell.texture.set_partial([0, 0], image, TextureOptions::NEAREST);
                    cell.key = key;
                }
                None => {
                    let texture = ctx.load_texture(format!("picture {index}"), image, TextureOptions::NEAREST);
                    *cell = Some(Cell { key, texture });
                }
            }
        }
    }

    /// Forgets the pictures of other origins.
    pub fn keep_only(&mut self, epoch: u64) {
        if self.epoch != Some(epoch) {
            *self = Self::default();
        }
    }

    /// Draws a picture into a square, in its own shape; nothing while it is not made.
    pub fn paint(&self, painter: &Painter, square: Rect, index: usize) {
        let Some(cell) = self.cells.get(index).and_then(Option::as_ref) else { return };
        let size = cell.texture.size_vec2();
        let rect = Rect::from_center_size(square.center(), size * (square.width() / size.max_elem().max(1.0)));
        let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        painter.image(cell.texture.id(), rect, whole, Color32::WHITE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Updates until no further frame is asked for; returns the number of frames and the textures' sizes.
    fn settle(shape: [usize; 4], side: usize) -> (usize, Vec<[usize; 2]>) {
        let picture = vec![0.5; shape[1..].iter().product()];
        let (ctx, mut atlas) = (Context::default(), Atlas::default());
        let mut frames = 0;
        let is_done = |atlas: &Atlas| {
            atlas.cells.len() == shape[0]
                && atlas.cells.iter().flatten().filter(|cell| cell.key == 1).count() == shape[0]
        };
        while !is_done(&atlas) {
            assert!(frames < 1000, "it comes to an end");
            let made = atlas.cells.iter().flatten().count();
            atlas.update(&ctx, Batch { epoch: 1, key: 1, shape }, |_| picture.as_slice(), side, 0..shape[0]);
            frames += 1;
            let size = reduced_size([shape[2], shape[3]], side);
            let read =
                (atlas.cells.iter().flatten().count() - made) * reading_cost([shape[1], shape[2], shape[3]], size);
            let one = reading_cost([shape[1], shape[2], shape[3]], size);
            assert!(read < VALUES_PER_FRAME + one, "{read} values in one frame");
        }
        (frames, atlas.cells.iter().flatten().map(|cell| cell.texture.size()).collect())
    }

    #[test]
    fn many_large_pictures_and_few_huge_ones_stay_within_the_limits_of_frame_and_card() {
        let (frames, sizes) = settle([256, 3, 768, 768], 144);
        assert!(frames > 1 && sizes.len() == 256 && sizes.iter().all(|size| *size == [144, 144]), "{frames} frames");
        let (_, sizes) = settle([9, 1, 4096, 4096], 288);
        assert_eq!(sizes, [[288, 288]; 9]);
        let (frames, sizes) = settle([64, 3, 32, 32], 144);
        assert_eq!((frames, sizes), (1, vec![[32, 32]; 64]), "small ones are made at once, at their own size");
    }

    #[test]
    fn what_changes_at_every_frame_does_not_starve_the_last_cells() {
        let shape = [8, 3, 512, 512];
        let picture = vec![0.5; 3 * 512 * 512];
        let (ctx, mut atlas) = (Context::default(), Atlas::default());
        for key in 0..16 {
            atlas.update(&ctx, Batch { epoch: 1, key, shape }, |_| picture.as_slice(), 512, 0..8);
        }
        let keys: Vec<u64> = atlas.cells.iter().flatten().map(|cell| cell.key).collect();
        assert!(keys.len() == 8 && keys.iter().all(|key| *key >= 12), "{keys:?}");
    }

    #[test]
    fn only_what_is_seen_and_changed_is_made() {
        let (first, second) = (vec![0.25; 3 * 16], vec![0.75; 3 * 16]);
        let (ctx, mut atlas) = (Context::default(), Atlas::default());
        let shape = [10, 3, 4, 4];
        let update = |atlas: &mut Atlas, epoch, key, pixels: &[f32]| {
            let reads = std::cell::Cell::new(0);
            let sample = |_| {
                reads.set(reads.get() + 1);
                pixels
            };
            atlas.update(&ctx, Batch { epoch, key, shape }, sample, 144, 2..5);
            reads.get()
        };
        assert_eq!(update(&mut atlas, 1, 1, &first), 3);
        assert_eq!(update(&mut atlas, 1, 1, &first), 0);
        assert_eq!(update(&mut atlas, 1, 2, &second), 3);
        assert_eq!(atlas.cells.iter().flatten().count(), 3);
        assert_eq!(update(&mut atlas, 2, 2, &second), 3, "other origins never show these");
    }
}
