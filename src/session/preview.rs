//! Pictures that an edit has on their way, shown in the places of those that are edited.

use std::sync::Arc;

use super::Session;
use crate::image::ImageBatch;
use crate::refiner::{Numbers, State};

/// Pictures on their way.
#[derive(Debug)]
pub(super) struct Preview {
    /// The sample that is edited; none for all of them.
    of: Option<usize>,
    /// Counts what came.
    count: u64,
    /// The pictures that are edited, with what came in their places; none before something has come.
    state: Option<Arc<State>>,
}

impl Preview {
    pub(super) const fn of(sample: Option<usize>) -> Self {
        Self { of: sample, count: 0, state: None }
    }

    /// Takes in pictures of the places `first` and following; `origins` are what is edited. Of several that are made of one
    /// picture the first is shown.
    pub(super) fn take(&mut self, origins: &ImageBatch, first: usize, images: &ImageBatch) {
        let [n, channels, h, w] = origins.shape();
        if images.shape()[1] != channels {
            return;
        }
        let shown = self.state.as_ref().map_or(origins, |state| &state.images);
        let mut pixels = shown.pixels().to_vec();
        let (images, len) = (images.resized([h, w]), origins.sample_len());
        for i in 0..images.len() {
            let place = match self.of {
                Some(sample) if first + i == 0 => sample,
                Some(_) => continue,
                None => first + i,
            };
            if place < n {
                pixels[place * len..(place + 1) * len].copy_from_slice(images.sample(i));
            }
        }
        self.count += 1;
        let images = ImageBatch::new(origins.shape(), pixels);
        // Nothing was computed of what is not finished.
        self.state = Some(Arc::new(State { iteration: 0, images, numbers: Numbers::default() }));
    }
}

impl Session {
    /// The pictures that an edit has on their way, and how often they changed; they have no numbers.
    #[must_use]
    pub fn preview(&self) -> Option<(u64, &Arc<State>)> {
        let preview = self.work.preview.as_ref()?;
        Some((preview.count, preview.state.as_ref()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_edit_makes_stands_where_its_picture_is() {
        let batch = |values: &[f32]| ImageBatch::new([values.len(), 1, 1, 1], values.to_vec());
        let seen = |preview: &Preview| preview.state.as_ref().expect("it came").images.pixels().to_vec();
        let origins = batch(&[0.1, 0.2, 0.3]);
        let mut all = Preview::of(None);
        all.take(&origins, 1, &batch(&[0.7, 0.8, 0.9]));
        assert_eq!(seen(&all), [0.1, 0.7, 0.8], "no more than there are");
        all.take(&origins, 0, &batch(&[0.6]));
        assert_eq!((seen(&all), all.count), (vec![0.6, 0.7, 0.8], 2));
        let mut one = Preview::of(Some(2));
        one.take(&origins, 0, &batch(&[0.6, 0.7]));
        one.take(&origins, 2, &batch(&[0.9]));
        assert_eq!(seen(&one), [0.1, 0.2, 0.6], "the first of the variants");
    }
}
