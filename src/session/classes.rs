//! Names of classes: every classifier has its own, and every run has one classifier.

use std::collections::BTreeMap;

use super::notice::sentence;
use super::{Cause, Session, Severity};
use crate::zoo;

/// Names of the classes of every classifier that is known, by what it is chosen by.
pub(super) type ClassNames = BTreeMap<String, Vec<String>>;

impl Session {
    /// Whether all are classes of the classifier that is chosen; says which is none.
    pub(super) fn are_classes(&mut self, labels: &[usize]) -> bool {
        let known = self.chosen_names().len();
        let Some(place) = labels.iter().position(|label| *label >= known) else { return true };
        let why = format!(
            "picture {place} is of class {}, but the classifier knows {known} classes (0 to {}): every picture is refined towards the class that the classifier sees in it",
            labels[place],
            known.saturating_sub(1)
        );
        let what = "The labels are left aside";
        self.notices.add_about(Cause::Pictures, Severity::Warning, what, vec![sentence(&why)]);
        false
    }

    /// Names of the classes of the classifier of what is shown.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        let run = self.shown_id().map(|id| id.run).or(self.look.run).and_then(|run| self.trace().run(run));
        self.names_of(run.map_or(&self.settings().refine.classifier, |run| &run.settings.classifier))
    }

    /// Name of a class, or its number.
    #[must_use]
    pub fn class_name(&self, class: usize) -> String {
        self.class_names().get(class).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Names of the generator's classes; empty when it knows none.
    #[must_use]
    pub fn generator_classes(&self) -> &[String] {
        &self.generator_classes
    }

    /// Names of the classes of the classifier that the settings name.
    pub(super) fn chosen_names(&self) -> &[String] {
        self.names_of(&self.settings().refine.classifier)
    }

    fn names_of(&self, classifier: &str) -> &[String] {
        self.class_names.get(classifier).map_or(&[], Vec::as_slice)
    }

    /// They come from the manifest, so they are known before any weight is read.
    pub(super) fn refresh_class_names(&mut self) {
        let classifier = self.settings().refine.classifier.clone();
        self.notices.settle(&[Cause::Model]);
        match zoo::class_names(&classifier) {
            // A file without a manifest is known only when it is loaded.
            Ok(names) if names.is_empty() => {}
            Ok(names) => drop(self.class_names.insert(classifier, names)),
            Err(error) => self.notices.failure_about(Cause::Model, &crate::error::error_chain(&error)),
        }
    }

    /// Likewise those of the runs of a session that was opened.
    pub(super) fn refresh_names_of_runs(&mut self) {
        let classifiers = self.trace().runs().map(|run| run.settings.classifier.clone());
        let of_runs: ClassNames =
            classifiers.filter_map(|it| zoo::class_names(&it).ok().map(|names| (it, names))).collect();
        self.class_names.extend(of_runs.into_iter().filter(|(_, names)| !names.is_empty()));
    }

    /// Likewise the generator's.
    pub(super) fn refresh_generator_classes(&mut self) {
        // Why a generator cannot be used is said when it is.
        self.generator_classes = zoo::class_names(&self.settings().generate.generator).unwrap_or_default();
    }
}
