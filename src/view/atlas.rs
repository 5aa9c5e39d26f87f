//! The pictures of a grid as textures: one per cell, made when the cell is seen, so that neither the number of pictures nor
//! their size meets the graphics card's limit or holds up a frame.

use egui::{Color32, ColorImage, Context, Painter, Rect, TextureHandle, TextureOptions, pos2};

use crate::image::reduced::{reading_cost, reduced, reduced_size};

/// Values that are read or written per frame at most, one picture at least: a few milliseconds. What is left waits for the next frame.
const VALUES_PER_FRAME: usize = 4_000_000;
/// Largest factor by which a picture is enlarged before it is drawn; beyond it the blur at its pixels' edges is no longer seen.
const MOST_REPEATED: usize = 8;

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
    /// `sample`: the values of one picture, `[C, H, W]` in `[0, 1]`. `side`: pixels of the screen along the longer side of a
    /// picture, which a texture exceeds by less than one pixel of the picture for each of its own. `visible`: which are seen.
    pub fn update<'a>(
        &mut self,
        ctx: &Context,
        Batch { epoch, key, shape: [n, c, h, w] }: Batch,
        sample: impl Fn(usize) -> &'a [f32],
        side: usize,
        visible: &[usize],
    ) {
        if self.epoch != Some(epoch) || self.cells.len() != n {
            *self = Self { epoch: Some(epoch), cells: std::iter::repeat_with(|| None).take(n).collect(), next: 0 };
        }
        let size = reduced_size([h, w], side);
        let (repeat, options) = enlarged(size, side);
        let full = size.map(|length| length * repeat);
        let cost = reading_cost([c, h, w], size) + full[0] * full[1];
        let first = visible.iter().position(|index| *index == self.next).unwrap_or(0);
        let mut left = VALUES_PER_FRAME;
        for index in visible[first..].iter().chain(&visible[..first]).copied() {
            let Some(cell) = self.cells.get_mut(index) else { continue };
            let fits = |cell: &Cell| cell.texture.size() == [full[1], full[0]];
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
            let image = ColorImage::new([full[1], full[0]], repeated(pixels, size[1], repeat));
            match cell.as_mut().filter(|cell| fits(cell)) {
                Some(cell) => {
                    // In place: the texture and its bindings stay.
                    cell.texture.set_partial([0, 0], image, options);
                    cell.key = key;
                }
                None => {
                    let texture = ctx.load_texture(format!("picture {index}"), image, options);
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

    /// Draws a picture into a rectangle, in its own shape; nothing while it is not made.
    pub fn paint(&self, painter: &Painter, place: Rect, index: usize) {
        let Some(cell) = self.cells.get(index).and_then(Option::as_ref) else { return };
        let size = cell.texture.size_vec2();
        let rect = Rect::from_center_size(place.center(), size * (place.size() / size).min_elem());
        let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        painter.image(cell.texture.id(), rect, whole, Color32::WHITE);
    }
}

/// How often each pixel is repeated, and how what comes of it is drawn, so that a picture of `size` pixels fills `side` of them
/// with pixels that are sharp and all alike: where they do not fit a whole number of times, more are drawn a little smaller.
fn enlarged(size: [usize; 2], side: usize) -> (usize, TextureOptions) {
    let longest = size[0].max(size[1]).max(1);
    if side <= longest || side.is_multiple_of(longest) {
        (1, TextureOptions::NEAREST)
    } else {
        (side.div_ceil(longest).min(MOST_REPEATED), TextureOptions::LINEAR)
    }
}

/// Every pixel of rows of `width`, `repeat` times in both directions.
fn repeated(pixels: Vec<Color32>, width: usize, repeat: usize) -> Vec<Color32> {
    if repeat == 1 {
        return pixels;
    }
    let row = |row: &[Color32]| row.iter().flat_map(|pixel| std::iter::repeat_n(*pixel, repeat)).collect::<Vec<_>>();
    pixels.chunks(width.max(1)).flat_map(|pixels| row(pixels).repeat(repeat)).collect()
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
            atlas.update(
                &ctx,
                Batch { epoch: 1, key: 1, shape },
                |_| picture.as_slice(),
                side,
                &(0..shape[0]).collect::<Vec<_>>(),
            );
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
        let (frames, sizes) = settle([64, 3, 32, 32], 128);
        assert_eq!((frames, sizes), (1, vec![[32, 32]; 64]), "small ones are made at once, at their own size");
        let (frames, sizes) = settle([64, 3, 32, 32], 80);
        assert_eq!((frames, sizes), (1, vec![[96, 96]; 64]), "larger by a whole factor, to be drawn a little smaller");
        assert_eq!(repeated(vec![Color32::RED, Color32::BLUE], 2, 2)[1..3], [Color32::RED, Color32::BLUE]);
    }

    #[test]
    fn what_changes_at_every_frame_does_not_starve_the_last_cells() {
        let shape = [8, 3, 512, 512];
        let picture = vec![0.5; 3 * 512 * 512];
        let (ctx, mut atlas) = (Context::default(), Atlas::default());
        for key in 0..16 {
            atlas.update(&ctx, Batch { epoch: 1, key, shape }, |_| picture.as_slice(), 512, &[0, 1, 2, 3, 4, 5, 6, 7]);
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
            atlas.update(&ctx, Batch { epoch, key, shape }, sample, 144, &[2, 3, 4]);
            reads.get()
        };
        assert_eq!(update(&mut atlas, 1, 1, &first), 3);
        assert_eq!(update(&mut atlas, 1, 1, &first), 0);
        assert_eq!(update(&mut atlas, 1, 2, &second), 3);
        assert_eq!(atlas.cells.iter().flatten().count(), 3);
        assert_eq!(update(&mut atlas, 2, 2, &second), 3, "other origins never show these");
    }
}
