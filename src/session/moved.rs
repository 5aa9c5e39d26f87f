//! A description that lies in another folder than the one that it was written for.

use std::path::{Component, Path, PathBuf};

use super::document::{Document, absolute, relative_file};

impl Document {
    /// The same, which lies in `from`, as it is written into `to`: every file is named from there.
    #[must_use]
    pub fn moved(&self, from: &Path, to: &Path) -> Self {
        let mut document = self.clone();
        let provenance = &mut document.provenance;
        let infos = provenance.generator.iter_mut().chain(&mut provenance.classifier).map(|info| &mut info.reference);
        let runs = document.runs.iter_mut().flat_map(|run| {
            let later = run.changes.iter_mut().map(|change| &mut change.settings);
            later.chain([&mut run.settings]).map(|settings| &mut settings.classifier)
        });
        let used = [&mut document.settings.generate.generator, &mut document.settings.refine.classifier];
        for model in used.into_iter().chain(infos).chain(runs) {
            *model = straight(Path::new(&absolute(model, from))).to_string_lossy().into_owned();
        }
        let named = |listed: &[String]| -> Vec<String> {
            Self::files(listed, from).iter().map(|file| relative_file(&straight(file), to)).collect()
        };
        document.inputs = named(&self.inputs);
        document.references = named(&self.references);
        if let (Some(mask), Some(then)) = (&mut document.mask, &self.mask) {
            mask.file = named(std::slice::from_ref(&then.file)).concat();
        }
        document.relative_to(to)
    }
}

/// The way to a file without going there and back, where that leads to the same place: behind a link it does not. What is no
/// way, such as a bundled name, stays.
fn straight(path: &Path) -> PathBuf {
    if !path.components().any(|part| part == Component::ParentDir) {
        return path.to_owned();
    }
    let mut straight = PathBuf::new();
    for part in absolute_path(path).components() {
        let is_link = || straight.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        let is_named = matches!(straight.components().next_back(), Some(Component::Normal(_)));
        if part == Component::ParentDir && is_named && !is_link() {
            straight.pop();
        } else {
            straight.push(part);
        }
    }
    straight
}

/// The same from the root on, without a look at the disk.
pub(super) fn absolute_path(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Provenance, Settings};
    use crate::trace::Trace;

    #[test]
    fn a_moved_description_is_the_one_that_would_have_been_written_there() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["runs/a-1-of-2", "runs/deep/a", "models", "in"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let mut settings = Settings::default();
        settings.refine.classifier = at("models/mine.pt").to_string_lossy().into_owned();
        let written = |folder: &Path| {
            let new = Document::new(&settings, &Provenance::new(), None, &Trace::default(), Some(folder));
            let inputs = vec![relative_file(&at("in/caf\u{e9} 1.png"), folder), relative_file(&at("b.npz"), folder)];
            let references = vec![relative_file(&at("in"), folder)];
            Document { inputs, references, ..new }
        };
        let [from, to] = ["runs/a-1-of-2", "runs/deep/a"].map(at);
        assert_eq!(written(&from).moved(&from, &to), written(&to));
        assert_eq!(written(&from).settings.refine.classifier, "../../models/mine.pt");
        assert_eq!(written(&to).moved(&to, &to).settings.generate.generator, "gtsrb12-cm", "a name stays");
    }

    #[cfg(unix)]
    #[test]
    fn a_way_back_from_behind_a_link_is_not_shortened() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        std::fs::create_dir_all(at("disk/run")).unwrap();
        std::os::unix::fs::symlink(at("disk/run"), at("run")).unwrap();
        assert_eq!(straight(&at("run/../in.png")), at("run/../in.png"));
        assert_eq!(straight(&at("disk/run/../in.png")), at("disk/in.png"));
    }
}
