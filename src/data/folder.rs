//! Pictures in a folder and in the folders below it, and what is left out of them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::PictureError;
use super::picture::is_picture;
use super::results::{Results, archive_instead};

/// What is left out though it may be a picture, or hold some: nobody meant that it should be.
const UNREAD: [&str; 3] = ["links that lead nowhere", "not readable", "folders that cannot be read"];

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
    let results = Results::of(root);
    let within = results.as_ref().map(|results| (root, results));
    walk.enter(root, None, within).map_err(|source| PictureError::Folder { path: root.to_owned(), source })?;
    let Walk { files, left_out, .. } = walk;
    if files.is_empty() {
        return Err(match archive_instead(root) {
            Some(path) => PictureError::ArchiveInFolder { path },
            None => PictureError::EmptyFolder { path: root.to_owned() },
        });
    }
    let counts: Vec<String> = left_out.iter().map(|(what, count)| format!("{what} {count}")).collect();
    let kind = if left_out.keys().any(|what| UNREAD.contains(what)) { "warning" } else { "note" };
    let note = format!("{kind}: left out of {}: {}", root.display(), counts.join(", "));
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
    /// `within`: the folder of results that it is or lies in.
    fn enter(&mut self, folder: &Path, first: Option<&str>, within: Option<(&Path, &Results)>) -> std::io::Result<()> {
        if !self.seen.insert(folder.canonicalize()?) {
            self.leave("folders met before");
            return Ok(());
        }
        let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
        let mut entries: Vec<PathBuf> = entries?.iter().map(std::fs::DirEntry::path).collect();
        entries.sort();
        let is_left = |path: &Path| {
            within.is_some_and(|(results, of)| path.strip_prefix(results).is_ok_and(|way| of.leaves(way)))
        };
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match std::fs::metadata(&path) {
                // macOS puts one beside every file on a foreign disk, named and ending like it.
                _ if name.starts_with('.') => self.leave("hidden"),
                Ok(_) if is_left(&path) => self.leave("results of Lapidary"),
                Err(_) if path.is_symlink() => self.leave(UNREAD[0]),
                Err(_) => self.leave(UNREAD[1]),
                Ok(meta) if meta.is_dir() => {
                    let results = Results::of(&path);
                    let own = results.as_ref().map(|results| (path.as_path(), results));
                    if results.as_ref().is_some_and(Results::are_alone) {
                        self.leave("folders of results");
                    } else if self.enter(&path, first.or(Some(&name)), own.or(within)).is_err() {
                        self.leave(UNREAD[2]);
                    }
                }
                Ok(meta) if !meta.is_file() => self.leave("pipes, devices and sockets"),
                Ok(_) if !is_picture(&path) => self.leave("other files"),
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
    let is_number = |file: &Listed| file.folder.as_deref().is_some_and(|folder| folder.parse::<u64>().is_ok());
    if let Some(name) = names.first().filter(|_| files.iter().all(is_number)) {
        return Err(Some(format!(
            "warning: the folders are named as numbers, which may be of another list of classes, so they say no classes: name them as the classes are, such as {name:?}"
        )));
    }
    Err(some.then(|| {
        let folder = files[odd].folder.as_deref().unwrap_or("the folder itself");
        format!(
            "warning: not every folder is named as a class ({folder:?} is not), so none says the class of its pictures"
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

    /// An index that says that these files of a folder were written.
    fn index(folder: &Path, names: &[&str]) {
        let hash = |name: &str| crate::file::sha256_of(&folder.join(name)).unwrap_or_default();
        let files: BTreeMap<&str, String> = names.iter().map(|name| (*name, hash(name))).collect();
        let text = serde_json::json!({ "format": super::super::RESULTS_FORMAT, "files": files }).to_string();
        std::fs::write(folder.join(super::super::RESULTS_INDEX), text).unwrap();
    }

    fn names(files: &[Listed]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn a_folder_gives_its_pictures_in_order_and_says_what_it_leaves_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.png", "a.png", "deep/er/c.png", "out/after/d.png", ".hidden/e.png"] {
            picture(&at(name));
        }
        std::fs::write(at("notes.txt"), "not a picture").unwrap();
        std::fs::write(at("deep/scan.jp2"), b"\0\0\0\x0cjP  \r\n\x87\n").unwrap();
        std::fs::write(at("._a.png"), b"\0\x05\x16\x07").unwrap();
        index(&at("out"), &["after/d.png"]);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path(), at("deep/back")).unwrap();
            std::os::unix::fs::symlink(at("gone.png"), at("dangling.png")).unwrap();
            let _socket = std::os::unix::net::UnixListener::bind(at("socket.png")).unwrap();
        }
        let (files, note) = pictures_in(folder.path()).unwrap();
        // One that cannot be read is none that is no picture: whoever reads it says so.
        assert_eq!(names(&files), ["a.png", "b.png", "deep/er/c.png", "deep/scan.jp2"]);
        assert_eq!(files[2].folder.as_deref(), Some("deep"));
        let note = note.unwrap();
        assert!(note.starts_with(if cfg!(unix) { "warning: left out of " } else { "note: left out of " }), "{note}");
        for part in ["hidden 2", "other files 1", "folders of results 1"] {
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
        let session = "{\"format\": \"lapidary-session\"}";
        std::fs::write(at("session.json"), session).unwrap();
        let (seen, _) = pictures_in(folder.path()).unwrap();
        assert_eq!(names(&seen), ["after/000001.png"], "what is seen was copied with its recipe");
        std::fs::remove_file(at("contact_sheet.png")).unwrap();
        assert_eq!(pictures_in(folder.path()).unwrap().0.len(), 3, "a recipe was copied there");
        picture(&at("contact_sheet.png"));
        std::fs::write(at("result.npz"), "").unwrap();
        let (files, note) = pictures_in(folder.path()).unwrap();
        assert_eq!(names(&files), ["after/000001.png"]);
        let note = note.unwrap();
        assert!(note.starts_with("note: ") && note.contains("results of Lapidary 5"), "nothing is missed: {note}");
        std::fs::create_dir_all(at("figures")).unwrap();
        picture(&at("refined/after/000001.png"));
        std::fs::write(at("refined/session.json"), session).unwrap();
        std::fs::write(at("refined/result.npz"), "").unwrap();
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
    fn pictures_are_left_out_as_results_only_where_something_says_that_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let own = ["images/000000.png", "images/000001.png", "new.png"];
        for name in own {
            picture(&at(&format!("set/{name}")));
        }
        std::fs::write(at("set/session.json"), "{\"format\": \"lapidary-session\"}").unwrap();
        assert_eq!(names(&pictures_in(&at("set")).unwrap().0), own);
        assert_eq!(names(&pictures_in(folder.path()).unwrap().0), own.map(|name| format!("set/{name}")));
        // Of what an index lists, that; in a folder that is given and below it.
        index(&at("set"), &["images/000001.png", "contact_sheet.png"]);
        for (root, before) in [("set", ""), (".", "set/")] {
            let (files, note) = pictures_in(&at(root)).unwrap();
            assert_eq!(names(&files), ["images/000000.png", "new.png"].map(|name| format!("{before}{name}")));
            assert!(note.unwrap().contains("results of Lapidary 1"));
        }
        index(&at("set"), &["images/000000.png", "images/000001.png", "new.png"]);
        assert_eq!(names(&pictures_in(&at("set")).unwrap().0), own[..2], "nothing else is there");
        let error = pictures_in(folder.path()).unwrap_err();
        assert!(matches!(error, PictureError::EmptyFolder { .. }), "{error}");
    }

    #[test]
    fn of_unfinished_results_the_archive_that_holds_them_is_named() {
        let folder = tempfile::tempdir().unwrap();
        index(folder.path(), &[]);
        std::fs::create_dir(folder.path().join("parts")).unwrap();
        for name in ["00000000.npz", "under-way.npz"] {
            let path = folder.path().join("parts").join(name);
            std::fs::write(&path, "").unwrap();
            let text = pictures_in(folder.path()).unwrap_err().to_string();
            assert!(text.starts_with("no picture is in this folder or below it, but this archive is"), "{text}");
            assert!(text.ends_with(path.to_str().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_picture_that_was_retouched_beside_the_archive_that_is_taken_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let names: Vec<String> = (0..5).map(|seed| format!("images/{seed:06}.png")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in &names {
            picture(&at(name));
        }
        index(folder.path(), &[&names[..], &["samples.npz", "images/gone.png", "images/../notes.txt"]].concat());
        let said = || super::super::results::changed_beside(&at("samples.npz"));
        std::fs::write(at("notes.txt"), "not looked into").unwrap();
        assert_eq!(said(), None);
        let retouch = |name: &str| image::RgbImage::from_pixel(2, 2, image::Rgb([9; 3])).save(at(name)).unwrap();
        retouch(names[3]);
        let text = said().unwrap();
        assert!(text.starts_with("warning: images/000003.png in ") && text.contains(" was changed since"), "{text}");
        assert!(text.contains("the pictures of samples.npz are taken: give the file itself to use it"), "{text}");
        for name in &names {
            retouch(name);
        }
        let text = said().unwrap();
        assert!(text.contains("000000.png, images/000001.png, images/000002.png and 2 more in "), "{text}");
    }

    #[test]
    fn an_archive_that_was_changed_is_named_by_whatever_its_index_says_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("samples.npz");
        let said = |content: &str, index: serde_json::Value| {
            std::fs::write(&archive, content).unwrap();
            let mut all = serde_json::json!({ "format": super::super::RESULTS_FORMAT });
            all.as_object_mut().unwrap().extend(index.as_object().unwrap().clone());
            std::fs::write(folder.path().join(super::super::RESULTS_INDEX), all.to_string()).unwrap();
            super::super::results::changed(&archive)
        };
        std::fs::write(&archive, "first").unwrap();
        let first = crate::file::sha256_of(&archive).unwrap();
        let files = |held: serde_json::Value| serde_json::json!({ "files": { "samples.npz": held } });
        let by_hash = files(first.clone().into());
        assert_eq!(said("first", by_hash.clone()), None);
        let text = said("other", by_hash).unwrap();
        assert!(text.starts_with("warning: samples.npz in ") && text.contains(" was changed since"), "{text}");
        // An earlier index has the length, and one of what is being written knows nothing.
        assert_eq!(said("other", files(5.into())), None);
        assert!(said("longer", files(5.into())).is_some());
        assert_eq!(said("longer", files(serde_json::Value::Null)), None);
        assert_eq!(said("longer", serde_json::json!({ "files": {} })), None, "it is not of Lapidary");
        // A move that was cut off leaves either.
        let moving = serde_json::json!({
            "files": { "samples.npz": "0".repeat(64) },
            "next": { "files": { "samples.npz": first } },
        });
        assert_eq!(said("first", moving.clone()), None);
        assert!(said("third", moving).is_some());
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
