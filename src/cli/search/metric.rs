//! What a search can choose by.

use crate::metrics;
use crate::parameter::{Choice, ChoiceOption, Choosable};

/// What is to be best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Mean logit of the label.
    Logit,
    /// Mean probability of the label.
    Confidence,
    /// Share of pictures whose top class is the label.
    Agreement,
    /// What `lapidary evaluate` says of the pictures as a set, which has their classes from nobody.
    Of(metrics::Metric),
}

impl Metric {
    /// What [`metrics`] calls it, where the classifier has no part in it.
    #[must_use]
    pub const fn of_set(self) -> Option<metrics::Metric> {
        match self {
            Self::Of(metric) => Some(metric),
            Self::Logit | Self::Confidence | Self::Agreement => None,
        }
    }

    /// Whether more of it is better.
    #[must_use]
    pub const fn larger_is_better(self) -> bool {
        match self {
            Self::Of(metric) => metric.larger_is_better(),
            Self::Logit | Self::Confidence | Self::Agreement => true,
        }
    }

    /// Its name within a sentence.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Of(metric) => metric.label().to_owned(),
            own => own.option().label.to_lowercase(),
        }
    }
}

impl Choosable for Metric {
    const CHOICE: Choice = Choice {
        flag: "metric",
        label: "Metric",
        about: "What decides which level is best: what the classifier says of the generated pictures, or a number of lapidary evaluate",
    };
    const ALL: &'static [Self] = &[
        Self::Logit,
        Self::Confidence,
        Self::Agreement,
        Self::Of(metrics::Metric::Frechet),
        Self::Of(metrics::Metric::SpatialFrechet),
        Self::Of(metrics::Metric::Kernel),
        Self::Of(metrics::Metric::Precision),
        Self::Of(metrics::Metric::Recall),
        Self::Of(metrics::Metric::Density),
        Self::Of(metrics::Metric::Coverage),
        Self::Of(metrics::Metric::Inception),
    ];

    fn option(self) -> ChoiceOption {
        let (key, label, about) = match self {
            Self::Logit => ("logit", "Logit", "mean of f_y, the logit of the picture's class"),
            Self::Confidence => {
                ("confidence", "Confidence", "mean of softmax_y, the probability of the picture's class")
            }
            Self::Agreement => ("agreement", "Agreement", "share of pictures whose most likely class is theirs"),
            Self::Of(metric) => (metric.key(), metric.label(), about(metric)),
        };
        ChoiceOption { key, label, about }
    }
}

/// What a number says of the generated pictures.
const fn about(metric: metrics::Metric) -> &'static str {
    use metrics::Metric;
    match metric {
        Metric::Frechet => {
            "how far mean and covariance of what --extractor sees are from those of --reference; smaller is better"
        }
        Metric::SpatialFrechet => "the same of what Inception-2015 sees place by place (sFID)",
        Metric::Kernel => "how far three moments are apart (KID); smaller is better",
        Metric::Precision => "share of the pictures that lie among those of --reference",
        Metric::Recall => "share of the pictures of --reference that lie among the generated ones",
        Metric::Density => "in how many neighbourhoods of --reference a picture lies",
        Metric::Coverage => "share of the pictures of --reference that have a generated one near them",
        Metric::Inception => "how sure and how varied the classes are that --extractor sees, without --reference",
        _ => "a number of lapidary evaluate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::options;

    #[test]
    fn what_evaluate_has_a_word_for_has_the_same_word_here_and_no_word_has_two_meanings() {
        let mut keys: Vec<&str> = options::<Metric>().iter().map(|option| option.key).collect();
        for metric in metrics::Metric::ALL.into_iter().filter(|metric| metric.compares()) {
            assert_eq!(Metric::from_key(metric.key()), Some(Metric::Of(metric)));
        }
        assert_eq!(Metric::from_key("inception_score"), Some(Metric::Of(metrics::Metric::Inception)));
        assert_eq!(keys.len(), 11);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 11, "no word twice");
        let smaller = Metric::ALL.iter().filter(|metric| !metric.larger_is_better());
        let smaller: Vec<&str> = smaller.map(|metric| metric.option().key).collect();
        assert_eq!(smaller, ["frechet_distance", "spatial_frechet_distance", "kernel_distance"]);
    }
}
