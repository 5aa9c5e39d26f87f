//! The pictures that a session is about, and where they came from.

use serde::{Deserialize, Serialize};

use crate::classifier::{LabelError, translation};
use crate::generator::{EditSettings, GenerateSettings, Mask};
use crate::image::ImageBatch;

/// The pictures that everything starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "PackedOrigins", try_from = "PackedOrigins")]
pub struct Origins {
    /// x_0, the centre of the ball for ever.
    pub images: ImageBatch,
    /// Class of every picture: the generator's, or the one chosen by hand.
    pub labels: Vec<usize>,
    /// The names that [`Self::labels`] count: the generator's, or the classifier's that chose them; no names where the labels
    /// mean nothing. `None` where only the numbers are known, as in archives and in files of earlier versions.
    pub classes: Option<Vec<String>>,
    /// Seed of every picture.
    pub seeds: Vec<u64>,
    /// File name of every picture that was opened; empty for generated ones.
    pub names: Vec<String>,
    /// How they were generated; none for opened pictures.
    pub made_by: Option<GenerateSettings>,
    /// What they were edited from, and how; none for pictures that were not edited.
    pub edited: Option<Edited>,
}

/// How pictures were edited.
#[derive(Debug, Clone, PartialEq)]
pub struct Edited {
    /// The edit.
    pub settings: EditSettings,
    /// The pictures that were edited, one per result.
    pub reference: ImageBatch,
    /// Which pixels were to be generated.
    pub mask: Option<Mask>,
    /// Whether all results are of one picture, or each is of its own, whatever their pixels are. `None` where that is not
    /// known, as in files of earlier versions.
    pub is_of_one: Option<bool>,
}

/// [`Origins`] in a file: pictures as they are, everything else as JSON, so that later versions may add fields.
#[derive(Serialize, Deserialize)]
struct PackedOrigins {
    images: ImageBatch,
    reference: Option<ImageBatch>,
    facts: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct OriginFacts {
    labels: Vec<usize>,
    classes: Option<Vec<String>>,
    seeds: Vec<u64>,
    names: Vec<String>,
    made_by: Option<GenerateSettings>,
    edit: Option<EditSettings>,
    mask: Option<Mask>,
    is_of_one: Option<bool>,
}

impl From<Origins> for PackedOrigins {
    fn from(origins: Origins) -> Self {
        let Origins { images, labels, classes, seeds, names, made_by, edited } = origins;
        let (edit, reference, mask, is_of_one) = match edited {
            Some(edited) => (Some(edited.settings), Some(edited.reference), edited.mask, edited.is_of_one),
            None => (None, None, None, None),
        };
        let facts = OriginFacts { labels, classes, seeds, names, made_by, edit, mask, is_of_one };
        Self { images, reference, facts: serde_json::to_string(&facts).expect("facts are plain values") }
    }
}

impl TryFrom<PackedOrigins> for Origins {
    type Error = serde_json::Error;

    fn try_from(packed: PackedOrigins) -> Result<Self, serde_json::Error> {
        let OriginFacts { labels, classes, seeds, names, made_by, edit, mask, is_of_one } =
            serde_json::from_str(&packed.facts)?;
        let edited = edit.zip(packed.reference);
        let edited = edited.map(|(settings, reference)| Edited { settings, reference, mask, is_of_one });
        Ok(Self { images: packed.images, labels, classes, seeds, names, made_by, edited })
    }
}

impl Origins {
    /// Opened pictures, with one label and seed each.
    #[must_use]
    pub fn opened(images: ImageBatch, labels: Vec<usize>, names: Vec<String>) -> Self {
        let seeds = (0..images.len() as u64).collect();
        Self { images, labels, classes: None, seeds, names, made_by: None, edited: None }
    }

    /// The labels as places in another list of class names. Numbers without names are taken as they are.
    ///
    /// # Errors
    /// [`LabelError`] when the labels mean nothing, or nothing to that list.
    pub fn labels_among(&self, classes: &[String]) -> Result<Vec<usize>, LabelError> {
        let Some(own) = &self.classes else { return Ok(self.labels.clone()) };
        let places = translation(own, classes)?;
        // A label beyond its own list is refused by whoever knows how many classes there are.
        Ok(self.labels.iter().map(|label| places.get(*label).copied().unwrap_or(*label)).collect())
    }

    /// What an edit starts from: one picture, or all; of edited pictures, what they were edited from, once each.
    ///
    /// # Panics
    /// When `chosen` is no picture.
    #[must_use]
    pub fn to_edit(&self, chosen: Option<usize>) -> Self {
        let images = self.edited.as_ref().map_or(&self.images, |edited| &edited.reference);
        let is_of_one = self.edited.as_ref().map_or(Some(false), |edited| edited.is_of_one);
        // Pictures that are equal are two pictures all the same. Only where nothing else is known, neighbours with the same name
        // and pixels are taken for results of one.
        let resembles =
            |i: usize| images.sample(i) == images.sample(i - 1) && self.names.get(i) == self.names.get(i - 1);
        let is_new = |i: &usize| *i == 0 || !is_of_one.unwrap_or_else(|| resembles(*i));
        let chosen: Vec<usize> = chosen.map_or_else(|| (0..images.len()).filter(is_new).collect(), |one| vec![one]);
        let parts: Vec<_> = chosen.iter().map(|i| images.slice(*i, i + 1)).collect();
        let labels = chosen.iter().map(|i| self.labels[*i]).collect();
        let names = chosen.iter().filter_map(|i| self.names.get(*i).cloned()).collect();
        Self { classes: self.classes.clone(), ..Self::opened(ImageBatch::concat(&parts), labels, names) }
    }

    /// What edited pictures were made from, where each can be laid beside its own.
    #[must_use]
    pub fn input(&self) -> Option<&ImageBatch> {
        let input = self.edited.as_ref().map(|edited| &edited.reference);
        input.filter(|input| input.shape() == self.images.shape())
    }

    /// Whether all lists belong together; data from files may lie.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let [n, c, h, w] = self.images.shape();
        let names = self.names.is_empty() || self.names.len() == n;
        let reference = self.edited.as_ref().is_none_or(|edited| edited.reference.len() == n);
        n > 0
            && (1..=4).contains(&c)
            && h > 0
            && w > 0
            && self.labels.len() == n
            && self.seeds.len() == n
            && names
            && reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_edited_is_each_picture_once_and_equal_ones_are_two() {
        let batch = |values: [f32; 3]| ImageBatch::new([3, 1, 1, 1], values.to_vec());
        let names = ["stop/a.png", "yield/b.png", "yield/c.png"].map(str::to_owned);
        let opened = Origins::opened(batch([0.5, 0.5, 0.25]), vec![7, 6, 6], names.to_vec());
        let all = opened.to_edit(None);
        assert_eq!((&all.images, &all.labels, &all.names), (&opened.images, &opened.labels, &opened.names));
        let edited = |is_of_one, names: &[String]| {
            let reference = opened.images.clone();
            let edited = Edited { settings: EditSettings::default(), reference, mask: None, is_of_one };
            Origins { edited: Some(edited), ..Origins::opened(batch([0.0, 0.1, 0.2]), vec![7, 7, 8], names.to_vec()) }
        };
        let found = |is_of_one, names: &[String]| edited(is_of_one, names).to_edit(None).images.pixels().to_vec();
        assert_eq!(found(Some(false), &names), [0.5, 0.5, 0.25], "each is of its own");
        assert_eq!(found(Some(false), &[]), [0.5, 0.5, 0.25], "though it has no name");
        assert_eq!(found(Some(true), &[]), [0.5], "all are of one");
        // Files of earlier versions do not say.
        assert_eq!(found(None, &names), [0.5, 0.5, 0.25]);
        assert_eq!(found(None, &[]), [0.5, 0.25]);
        assert_eq!(edited(Some(true), &[]).to_edit(Some(2)).images.pixels(), [0.25], "the chosen one");
        let back: Origins =
            serde_json::from_str(&serde_json::to_string(&edited(Some(false), &names)).unwrap()).unwrap();
        assert_eq!(back, edited(Some(false), &names));
    }

    #[test]
    fn labels_mean_names_wherever_names_are_known() {
        let list = |names: &str| names.split('|').map(str::to_owned).collect::<Vec<_>>();
        let images = ImageBatch::new([2, 1, 1, 1], vec![0.0, 1.0]);
        let numbers = Origins::opened(images, vec![1, 0], Vec::new());
        assert_eq!(numbers.labels_among(&list("cat|dog")), Ok(vec![1, 0]), "only numbers are known");
        let named = Origins { classes: Some(list("stop|yield")), ..numbers.clone() };
        assert_eq!(named.labels_among(&list("yield|no entry|stop")), Ok(vec![0, 2]));
        assert!(named.labels_among(&list("cat|dog")).is_err());
        let nothing = Origins { classes: Some(Vec::new()), ..numbers };
        assert_eq!(nothing.labels_among(&list("cat|dog")), Err(LabelError::Unlabelled));
        let back: Origins = serde_json::from_str(&serde_json::to_string(&named).unwrap()).unwrap();
        assert_eq!(back, named);
    }
}
