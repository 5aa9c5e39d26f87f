//! Class names, in a manifest either as a list or as one word.
//!
//! # Sources
//! ImageNet: the thousand names of torchvision (`models/_meta.py`), in the order of the labels of ILSVRC 2012.
//! CIFAR-10: Krizhevsky 2009.

use std::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde::ser::{Serialize as _, Serializer};

/// Lists that are known by a word; one name per line.
const BUILT_IN: [(&str, &str); 2] = [
    ("imagenet", include_str!("../../models/classes/imagenet.txt")),
    ("cifar10", include_str!("../../models/classes/cifar10.txt")),
];

/// The names behind `word`, which is `imagenet` or `cifar10`.
#[must_use]
pub fn built_in(word: &str) -> Option<Vec<String>> {
    let (_, list) = BUILT_IN.iter().find(|(known, _)| *known == word)?;
    Some(list.lines().map(str::to_owned).collect())
}

/// The word for exactly these names.
#[must_use]
pub fn word_for(names: &[String]) -> Option<&'static str> {
    BUILT_IN.iter().find(|(_, list)| list.lines().eq(names)).map(|(word, _)| *word)
}

/// Names for classes of which only the number is known: "class 0", "class 1", ...
#[must_use]
pub fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class {class}")).collect()
}

/// The names, those that occur more than once with their number behind them: a class is chosen by its name.
pub(super) fn distinct(names: Vec<String>) -> Vec<String> {
    let mut counts = std::collections::HashMap::new();
    for name in &names {
        *counts.entry(name.clone()).or_insert(0) += 1;
    }
    let one = |(class, name): (usize, String)| if counts[&name] > 1 { format!("{name} ({class})") } else { name };
    names.into_iter().enumerate().map(one).collect()
}

/// A name that two classes of a list have; built-in lists are as their authors wrote them.
pub(super) fn repeated(names: &[String]) -> Option<&str> {
    let mut seen = std::collections::HashSet::new();
    let repeated = names.iter().find(|name| !seen.insert(name.as_str()));
    repeated.filter(|_| word_for(names).is_none()).map(String::as_str)
}

pub(super) fn serialize<S: Serializer>(names: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match word_for(names) {
        Some(word) => serializer.serialize_str(word),
        None => names.serialize(serializer),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(Names)
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of names, \"imagenet\" or \"cifar10\"")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        built_in(word).ok_or_else(|| E::invalid_value(Unexpected::Str(word), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = seq.next_element()? {
            names.push(name);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_lists_are_complete_and_in_the_order_of_the_labels() {
        let imagenet = built_in("imagenet").unwrap();
        assert_eq!(imagenet.len(), 1000);
        assert_eq!((imagenet[0].as_str(), imagenet[145].as_str()), ("tench", "king penguin"));
        assert_eq!(imagenet[999], "toilet tissue");
        let cifar = built_in("cifar10").unwrap();
        assert_eq!((cifar.len(), cifar[0].as_str(), cifar[9].as_str()), (10, "airplane", "truck"));
        assert!(imagenet.iter().chain(&cifar).all(|name| !name.trim().is_empty()));
        assert_eq!((word_for(&imagenet), word_for(&cifar[1..])), (Some("imagenet"), None));
    }
}
