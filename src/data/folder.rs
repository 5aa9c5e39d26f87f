//! Pictures in a folder and in the folders below it, and what is left out of them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::PictureError;
use super::picture::is_picture;
use super::results::Results;

/// A file among those that are opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    /// Its name, or the way to it from the folder that was given.
    pub(super) name: String,
    /// The folder in the one that was given that it lies in or below: in many data sets its class.
    pub(super) folder: Option<String>,
}

/// The pictures in a folder and below it, in order of their names, and a line about what is left out.
pub(super) fn pictures_in(root: &Path) -> Result<(Vec<Listed>, Option<String>), PictureError> {
    let mut walk = Walk { root, files: Vec::new(), left_out: BTreeMap::new(), seen: HashSet::new() };
    walk.enter(root, None).map_err(|source| PictureError::Folder { path: root.to_owned(), source })?;
    let Walk { files, left_out, .. } = walk;
    if files.is_empty() {
        return Err(PictureError::EmptyFolder { path: root.to_owned() });
    }
    let counts: Vec<String> = left_out.iter().map(|(what, count)| format!("{what} {count}")).collect();
    let note = format!("note: left out of {}: {}", root.display(), counts.join(", "));
    Ok((files, (!counts.is_empty()).then_some(note)))
}

struct Walk<'a> {
    root: &'a Path,
    files: Vec<Listed>,
    /// How many, by what they are.
    left_out: BTreeMap<&'static str, usize>,
    /// Folders without links: a link may lead back to where it was met.
    seen: HashSet<PathBuf>,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &Path, first: Option<&str>) -> std::io::Result<()> {
        if !self.seen.insert(folder.canonicalize()?) {
            self.leave("folders met before");
            return Ok(());
        }
        let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
        let mut entries: Vec<PathBuf> = entries?.iter().map(std::fs::DirEntry::path).collect();
        entries.sort();
        let results = if folder == self.root { Results::of(folder) } else { None };
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match std::fs::metadata(&path) {
                // macOS puts one beside every file on a foreign disk, named and ending like it.
                _ if name.starts_with('.') => self.leave("hidden"),
                Ok(_) if results.is_some_and(|results| results.leaves(&name)) => self.leave("results of Lapidary"),
                Err(_) if path.is_symlink() => self.leave("links that lead nowhere"),
                Err(_) => self.leave("not readable"),
                Ok(meta) if meta.is_dir() && path.join("session.json").is_file() => self.leave("folders of results"),
                Ok(meta) if meta.is_dir() => {
                    if self.enter(&path, first.or(Some(&name))).is_err() {
                        self.leave("folders that cannot be read");
                    }
                }
                Ok(meta) if !meta.is_file() => self.leave("pipes, devices and sockets"),
                Ok(_) if !is_picture(&path) => self.leave("no pictures"),
                Ok(_) => {
                    let way = path.strip_prefix(self.root).unwrap_or(&path).to_string_lossy().into_owned();
                    self.files.push(Listed { path, name: way, folder: first.map(str::to_owned) });
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, what: &'static str) {
        *self.left_out.entry(what).or_insert(0) += 1;
    }
}

/// The class of every file by the folder that it lies in, where each of these is named as a class; or what is to be said of
/// folders only some of which are.
pub(super) fn classes_of(files: &[Listed], names: &[String]) -> Result<Vec<usize>, Option<String>> {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-'], " ");
    // Classes without names have numbers.
    let numbered = |folder: &str| {
        let class = folder.parse::<usize>().ok()?;
        names.get(class).filter(|name| **name == format!("class {class}")).map(|_| class)
    };
    let known: BTreeMap<String, usize> = names.iter().enumerate().map(|(class, name)| (plain(name), class)).collect();
    let class = |folder: &str| known.get(&plain(folder)).copied().or_else(|| numbered(folder));
    let found: Vec<Option<usize>> = files.iter().map(|file| class(file.folder.as_deref()?)).collect();
    let Some(odd) = found.iter().position(Option::is_none) else {
        return Ok(found.into_iter().flatten().collect());
    };
    let some = found.iter().any(Option::is_some);
    Err(some.then(|| {
        let folder = files[odd].folder.as_deref().unwrap_or("the folder itself");
        format!(
            "note: not every folder is named as a class ({folder:?} is not), so none says the class of its pictures"
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::new(2, 2).save(path).unwrap();
    }

    fn names(files: &[Listed]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn a_folder_gives_its_pictures_in_order_and_says_what_it_leaves_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.png", "a.png", "deep/er/c.png", "out/before/d.png", ".hidden/e.png"] {
            picture(&at(name));
        }
        std::fs::write(at("notes.txt"), "not a picture").unwrap();
        std::fs::write(at("._a.png"), b"\0\x05\x16\x07").unwrap();
        std::fs::write(at("out/session.json"), "{}").unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path(), at("deep/back")).unwrap();
            std::os::unix::fs::symlink(at("gone.png"), at("dangling.png")).unwrap();
            let _socket = std::os::unix::net::UnixListener::bind(at("socket.png")).unwrap();
        }
        let (files, note) = pictures_in(folder.path()).unwrap();
        assert_eq!(names(&files), ["a.png", "b.png", "deep/er/c.png"]);
        assert_eq!(files[2].folder.as_deref(), Some("deep"));
        let note = note.unwrap();
        for part in ["hidden 2", "no pictures 1", "folders of results 1"] {
            assert!(note.contains(part), "{part}: {note}");
        }
        if cfg!(unix) {
            for part in ["folders met before 1", "links that lead nowhere 1", "pipes, devices and sockets 1"] {
                assert!(note.contains(part), "{part}: {note}");
            }
        }
        assert!(pictures_in(&at("out")).is_ok(), "the folder that is given is read whatever lies in it");
    }

    #[test]
    fn of_results_what_was_made_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["contact_sheet.png", "pair_000001.png", "before/000001.png", "after/000001.png"] {
            picture(&at(name));
        }
        assert_eq!(pictures_in(folder.path()).unwrap().0.len(), 4, "another program's");
        std::fs::write(at("session.json"), "{\"format\": \"lapidary-session\"}").unwrap();
        let (files, note) = pictures_in(folder.path()).unwrap();
        assert_eq!(names(&files), ["after/000001.png"]);
        assert!(note.unwrap().contains("results of Lapidary 4"));
        std::fs::create_dir_all(at("figures")).unwrap();
        picture(&at("refined/after/000001.png"));
        std::fs::write(at("refined/session.json"), "{\"format\": \"lapidary-session\"}").unwrap();
        assert_eq!(
            names(&pictures_in(folder.path()).unwrap().0),
            ["after/000001.png"],
            "neither is a picture of others"
        );
        picture(&at("photo.png"));
        let (files, note) = pictures_in(folder.path()).unwrap();
        assert_eq!(names(&files), ["photo.png"], "results were written beside a picture");
        assert!(note.unwrap().contains("results of Lapidary 4"));
    }

    #[test]
    fn several_folders_are_as_what_holds_them_and_results_are_given_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["stop/1.png", "yield/1.png"] {
            picture(&at(name));
        }
        let classes = ["yield", "stop"].map(str::to_owned);
        let mut source = super::super::PictureSource::open(&[at("stop"), at("yield")]).unwrap();
        source.take_classes(&classes);
        assert_eq!((source.count(), source.labels()), (2, Some(&[1, 0][..])));
        for name in ["one", "two"] {
            picture(&at(&format!("{name}/images/000000.png")));
            std::fs::write(at(name).join("samples.npz"), "").unwrap();
            std::fs::write(at(name).join("session.json"), "{\"format\": \"lapidary-session\"}").unwrap();
        }
        let both = super::super::PictureSource::open(&[at("one"), at("two")]);
        assert!(matches!(both, Err(PictureError::ArchiveAmongOthers { path }) if path.ends_with("one/samples.npz")));
    }

    #[test]
    fn folders_named_as_classes_give_them() {
        let file = |folder: Option<&str>| Listed {
            path: PathBuf::new(),
            name: String::new(),
            folder: folder.map(str::to_owned),
        };
        let classes = |folders: &[Option<&str>], names: &[&str]| {
            let files: Vec<Listed> = folders.iter().map(|folder| file(*folder)).collect();
            classes_of(&files, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        let signs = ["speed limit 30", "stop", "no-entry"];
        assert_eq!(classes(&[Some("Stop"), Some("speed_limit_30"), Some("no entry")], &signs), Ok(vec![1, 0, 2]));
        assert_eq!(classes(&[Some("monday"), None], &signs), Err(None));
        let note = classes(&[Some("stop"), Some("frog")], &signs).unwrap_err().unwrap();
        assert!(note.contains("\"frog\" is not"), "{note}");
        assert_eq!(classes(&[Some("00001"), Some("0")], &["class 0", "class 1"]), Ok(vec![1, 0]));
        assert!(classes(&[Some("7")], &["class 0"]).is_err());
    }
}
