//! What a network sees in a set of pictures.

use super::MetricError;

/// Features and logits, one row of each per picture, and features place by place where the network has some.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    width: usize,
    classes: usize,
    values: Vec<f32>,
    logits: Vec<f32>,
    /// Without logits.
    spatial: Option<Box<Self>>,
}

impl Features {
    /// None yet, of so many numbers and classes a picture.
    #[must_use]
    pub const fn new(width: usize, classes: usize) -> Self {
        Self { width, classes, values: Vec::new(), logits: Vec::new(), spatial: None }
    }

    /// Adds pictures: `[N, width]` features and `[N, classes]` logits, row-major.
    ///
    /// # Panics
    /// When the two are not of the same pictures.
    pub fn extend(&mut self, values: &[f32], logits: &[f32]) {
        assert_eq!(values.len() / self.width.max(1), logits.len() / self.classes.max(1), "one row of each per picture");
        self.values.extend_from_slice(values);
        self.logits.extend_from_slice(logits);
    }

    /// Adds what is seen place by place of pictures that [`Self::extend`] added: `[N, width]`, row-major.
    ///
    /// # Panics
    /// When the width changes, or when then not every picture has a row.
    pub fn extend_spatial(&mut self, values: &[f32], width: usize) {
        let count = self.len();
        let spatial = self.spatial.get_or_insert_with(|| Box::new(Self::new(width, 0)));
        assert_eq!(spatial.width, width, "one width for all");
        spatial.values.extend_from_slice(values);
        assert_eq!(spatial.len(), count, "one row per picture");
    }

    /// What is seen of the pictures place by place.
    #[must_use]
    pub fn spatial(&self) -> Option<&Self> {
        self.spatial.as_deref()
    }

    /// Adds the pictures of another set.
    ///
    /// # Errors
    /// [`MetricError::Width`] when they were seen by another network.
    pub fn append(&mut self, other: &Self) -> Result<(), MetricError> {
        if (self.width, self.classes) != (other.width, other.classes) {
            return Err(MetricError::Width { a: self.width, b: other.width });
        }
        match (&mut self.spatial, &other.spatial) {
            (Some(own), Some(more)) => own.append(more)?,
            (None, None) => {}
            (own, more) => {
                let [a, b] = [own.as_ref(), more.as_ref()].map(|spatial| spatial.map_or(0, |spatial| spatial.width));
                return Err(MetricError::Width { a, b });
            }
        }
        self.values.extend_from_slice(&other.values);
        self.logits.extend_from_slice(&other.logits);
        Ok(())
    }

    /// Number of pictures.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.values.len().checked_div(self.width) {
            Some(count) => count,
            None => 0,
        }
    }

    /// Whether there is no picture.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Features of a picture.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Classes.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// All features, `[N, width]`, row-major.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One picture's features.
    ///
    /// # Panics
    /// When there is no such picture.
    #[must_use]
    pub fn row(&self, place: usize) -> &[f32] {
        &self.values[place * self.width..(place + 1) * self.width]
    }

    /// One picture's logits.
    ///
    /// # Panics
    /// When there is no such picture.
    #[must_use]
    pub fn logits(&self, place: usize) -> &[f32] {
        &self.logits[place * self.classes..(place + 1) * self.classes]
    }

    /// The pictures at these places, in this order; a place may come again.
    ///
    /// # Panics
    /// When there is no such picture.
    #[must_use]
    pub fn at(&self, places: &[usize]) -> Self {
        let spatial = self.spatial.as_ref().map(|spatial| Box::new(spatial.at(places)));
        let mut some = Self { spatial, ..Self::new(self.width, self.classes) };
        for place in places {
            some.values.extend_from_slice(self.row(*place));
            some.logits.extend_from_slice(self.logits(*place));
        }
        some
    }

    /// Says which picture has features or logits that are no numbers.
    ///
    /// # Errors
    /// [`MetricError::NotFinite`]
    pub fn check(&self) -> Result<(), MetricError> {
        let is_broken = |place: &usize| {
            let all = self.row(*place).iter().chain(self.logits(*place));
            all.into_iter().any(|value| !value.is_finite())
        };
        match (0..self.len()).find(is_broken) {
            Some(place) => Err(MetricError::NotFinite { place, count: self.len() }),
            None => self.spatial.as_ref().map_or(Ok(()), |spatial| spatial.check()),
        }
    }

    /// Says whether another set can be compared with this one for a number that needs so many pictures.
    pub(super) fn fits(&self, other: &Self, (metric, needed): (&'static str, usize)) -> Result<(), MetricError> {
        if self.width != other.width {
            return Err(MetricError::Width { a: self.width, b: other.width });
        }
        let found = self.len().min(other.len());
        if found < needed { Err(MetricError::TooFew { metric, needed, found }) } else { Ok(()) }
    }
}

#[cfg(test)]
impl Features {
    /// Rows of `width` features, without anything to say of their class.
    pub(super) fn of_rows(width: usize, values: &[f32]) -> Self {
        let mut features = Self::new(width, 1);
        features.extend(values, &vec![0.0; values.len() / width]);
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_place_by_place_stays_with_its_picture() {
        let mut features = Features::of_rows(1, &[1.0, 2.0]);
        assert_eq!(features.spatial(), None);
        features.extend_spatial(&[10.0, 11.0, 20.0, 21.0], 2);
        features.extend(&[3.0], &[0.0]);
        features.extend_spatial(&[30.0, 31.0], 2);
        let some = features.at(&[2, 0, 2]);
        let spatial = some.spatial().expect("it is taken along");
        assert_eq!((some.values(), spatial.width()), (&[3.0, 1.0, 3.0][..], 2));
        assert_eq!(spatial.values(), [30.0, 31.0, 10.0, 11.0, 30.0, 31.0]);
        assert_eq!(some.check(), Ok(()));
        let mut all = features.clone();
        all.append(&some).unwrap();
        assert_eq!((all.len(), all.spatial().unwrap().len()), (6, 6));
        assert_eq!(all.spatial().unwrap().row(3), [30.0, 31.0]);
        let bare = Features::of_rows(1, &[4.0]);
        assert_eq!(all.append(&bare), Err(MetricError::Width { a: 2, b: 0 }), "a picture would have no places");
        assert_eq!(all.len(), 6, "and nothing was added");
        let mut broken = bare;
        broken.extend_spatial(&[f32::NAN], 1);
        assert_eq!(broken.check(), Err(MetricError::NotFinite { place: 0, count: 1 }));
    }

    #[test]
    #[should_panic(expected = "one row per picture")]
    fn a_picture_without_its_places_is_refused() {
        let mut features = Features::of_rows(1, &[1.0, 2.0]);
        features.extend_spatial(&[10.0, 11.0], 2);
    }
}
