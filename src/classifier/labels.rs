//! Labels on their way from one model to another.
//!
//! A label is a place in somebody's list of class names. To a model with another list the same number is another class, so
//! labels are translated by name, and refused where a name is not known.

use crate::zoo::classes::numbered;

/// Share of the names that must stand in their place for two lists to be one in two spellings: of a few classes all, of
/// ImageNet's thousand, which are spelt in many ways, all but thirty.
const SAME_LIST: f64 = 0.97;
/// Names of a list that a message shows from its beginning.
const SHOWN: usize = 3;

/// Why the labels of pictures mean nothing to a classifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The classifier knows other classes.
    #[error(
        "the pictures are of {made}, but the classifier knows {seen}: choose a classifier of the same classes, or the target pseudo-label (--target pseudo-label), which is the class that the classifier sees in a picture"
    )]
    Foreign {
        /// The classes that the labels count, in words.
        made: String,
        /// The classifier's, in words.
        seen: String,
    },
    /// The pictures have no labels.
    #[error(
        "the generator knows no classes, so its pictures have no label to be refined towards or away from: choose the target pseudo-label (--target pseudo-label), which is the class that the classifier sees in a picture"
    )]
    Unlabelled,
}

/// For each class of the list `from`, the class of the list `to` that has its name.
///
/// Spelling does not count: case, `_` and `-` for a blank, synonyms behind a comma. Lists that agree in nearly every place are
/// one list in two spellings. Where only the numbers of classes are known ("class 0", ...), the numbers are taken, if both
/// lists have as many.
///
/// # Errors
/// [`LabelError::Foreign`] when a name is not in `to`, [`LabelError::Unlabelled`] when `from` is empty.
pub fn translation(from: &[String], to: &[String]) -> Result<Vec<usize>, LabelError> {
    if from.is_empty() {
        return Err(LabelError::Unlabelled);
    }
    let foreign = || LabelError::Foreign { made: listed(from), seen: listed(to) };
    let own_places = || (0..from.len()).collect();
    if is_numbered(from) || is_numbered(to) {
        return if from.len() == to.len() { Ok(own_places()) } else { Err(foreign()) };
    }
    let [made, seen] = [from, to].map(|list| list.iter().map(|name| plain(name)).collect::<Vec<_>>());
    let in_place = made.iter().zip(&seen).filter(|(a, b)| a == b).count();
    let is_one_list = made.len() == seen.len() && in_place as f64 >= SAME_LIST * made.len() as f64;
    let place = |(own, name): (usize, &String)| {
        let stays = seen.get(own) == Some(name);
        let found = if stays { Some(own) } else { seen.iter().position(|known| known == name) };
        found.or_else(|| is_one_list.then_some(own)).ok_or_else(foreign)
    };
    made.iter().enumerate().map(place).collect()
}

/// A name without what spelling makes of it.
fn plain(name: &str) -> String {
    let first = name.split(',').next().unwrap_or(name);
    first.to_lowercase().split(|c: char| c.is_whitespace() || c == '_' || c == '-').collect::<Vec<_>>().join(" ")
}

/// Whether the names say nothing but the numbers of the classes.
fn is_numbered(names: &[String]) -> bool {
    names == numbered(names.len())
}

/// A list in a few words: `12 classes (a, b, c, ..., z)`.
#[must_use]
pub fn listed(names: &[String]) -> String {
    let shown = match names {
        [first @ .., last] if first.len() > SHOWN => format!("{}, ..., {last}", first[..SHOWN].join(", ")),
        all => all.join(", "),
    };
    match names.len() {
        0 => "no classes".to_owned(),
        1 => format!("1 class ({shown})"),
        count => format!("{count} classes ({shown})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        list.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn labels_go_by_name_into_any_list_that_has_them() {
        let from = names("stop|yield|no entry");
        assert_eq!(translation(&from, &from), Ok(vec![0, 1, 2]));
        assert_eq!(translation(&from, &names("no_entry|Stop|priority|Yield, give way")), Ok(vec![1, 3, 0]));
        let twins = names("crane|crane|maillot");
        assert_eq!(translation(&twins, &twins), Ok(vec![0, 1, 2]), "a name that comes twice stays in its place");
        let many: Vec<String> = (0..40).map(|i| format!("name {i}")).collect();
        let respelt: Vec<String> = many.iter().map(|name| name.replace("name 17", "seventeenth")).collect();
        assert_eq!(translation(&many, &respelt), Ok((0..40).collect()), "one list in two spellings");
        assert!(translation(&many[10..22], &respelt[10..22]).is_err(), "eleven of twelve are another list");
    }

    #[test]
    fn where_names_are_not_known_numbers_count_if_there_are_as_many() {
        let numbered: Vec<String> = (0..3).map(|class| format!("class {class}")).collect();
        assert_eq!(translation(&numbered, &names("a|b|c")), Ok(vec![0, 1, 2]));
        assert_eq!(translation(&names("a|b|c"), &numbered), Ok(vec![0, 1, 2]));
        assert!(translation(&numbered, &names("a|b")).is_err() && translation(&names("a|b"), &numbered).is_err());
    }

    #[test]
    fn what_is_not_known_is_refused_with_both_lists_and_a_way_out() {
        let error = translation(&names("stop|yield"), &names("cat|dog|frog|horse|ship")).unwrap_err().to_string();
        assert!(error.contains("2 classes (stop, yield)"), "{error}");
        assert!(error.contains("5 classes (cat, dog, frog, ..., ship)"), "{error}");
        assert!(error.contains("--target pseudo-label"), "{error}");
        assert_eq!(translation(&[], &names("cat")), Err(LabelError::Unlabelled));
    }
}
