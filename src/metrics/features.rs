//! What a network sees in a set of pictures.

use super::MetricError;

/// Features and logits, one row of each per picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    width: usize,
    classes: usize,
    values: Vec<f32>,
    logits: Vec<f32>,
}

impl Features {
    /// None yet, of so many numbers and classes a picture.
    #[must_use]
    pub const fn new(width: usize, classes: usize) -> Self {
        Self { width, classes, values: Vec::new(), logits: Vec::new() }
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

    /// Adds the pictures of another set.
    ///
    /// # Errors
    /// [`MetricError::Width`] when they were seen by another network.
    pub fn append(&mut self, other: &Self) -> Result<(), MetricError> {
        if (self.width, self.classes) != (other.width, other.classes) {
            return Err(MetricError::Width { a: self.width, b: other.width });
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
        let mut some = Self::new(self.width, self.classes);
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
            None => Ok(()),
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
