//! What stays of results that a disk has no room for.

use super::{Extent, NEW, OutFolder, UNFINISHED};

impl OutFolder {
    /// Keeps what there is room for of results that [`Self::publish`] could not write, as if the command had been stopped after
    /// `done`: whole files only, of `names`, which stand in order of worth. Says which are kept. Nothing is changed where
    /// another command's or an earlier try's results hold a file that would not be among them.
    #[must_use]
    pub fn keep_what_fits(&mut self, names: &[String], done: u64) -> Vec<String> {
        let new = self.path.join(NEW);
        let below = if self.index.earlier { format!("{UNFINISHED}/") } else { String::new() };
        if self.index.next.is_some() {
            // All of them are written and about to be moved: this or the next command ends it.
            let _the_next_ends_it = self.index.end_moving(&self.path).map(|aside| self.aside.extend(aside));
            return names.to_vec();
        }
        let mut kept: Vec<String> = names.iter().map(|name| format!("{below}{name}")).collect();
        for (name, to) in names.iter().zip(&kept).filter(|(name, _)| !below.is_empty() && new.join(name).exists()) {
            let to = new.join(to);
            let moved =
                to.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::rename(new.join(name), to));
            moved.unwrap_or_else(|error| tracing::debug!(%error, "a result that is whole cannot be kept"));
        }
        kept.retain(|name| new.join(name).is_file());
        let is_held = |name: &&String| name.starts_with(&below) && self.path.join(name).exists();
        let held: Vec<String> = self.index.files.keys().filter(is_held).cloned().collect();
        while !kept.is_empty() && held.iter().all(|name| kept.contains(name)) {
            if self.index.begin_moving(&self.path, kept.clone(), Extent::Part(done)).is_ok() {
                self.written = true;
                let _the_next_ends_it = self.index.end_moving(&self.path).map(|aside| self.aside.extend(aside));
                return kept.iter().map(|name| name[below.len()..].to_owned()).collect();
            }
            // The index needs room as well.
            for name in kept.split_off(kept.len() - kept.len().div_ceil(8)) {
                let _may_be_gone = std::fs::remove_file(new.join(name));
            }
        }
        Vec::new()
    }
}
