//! What belongs together becomes the whole, and what does not is named. No network runs here: the batches are numbers.

use std::ops::Range;

use super::*;
use crate::cli::generate::windows;
use crate::export::Share;
use crate::generator::GenerateSettings;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::session::{Provenance, Settings};
use crate::trace::Trace;

/// Four batches of up to two.
const ALL: Range<usize> = 0..7;
const BATCH: usize = 2;

struct Place(tempfile::TempDir);

/// The user's folders, which no shard of pictures asks for.
fn nowhere() -> Folders {
    Folders { cache: PathBuf::new(), autosave: PathBuf::new() }
}

fn options(shards: &[PathBuf], out: PathBuf, earlier: Earlier) -> MergeOptions {
    MergeOptions { shards: shards.to_vec(), out: Some(out), earlier, quiet: true, ..MergeOptions::default() }
}

/// What a shard is made with, and how far.
#[derive(Clone)]
struct Made {
    recipe: &'static str,
    version: &'static str,
    /// Most of its batches.
    most: usize,
    /// The name of its input.
    input: Option<&'static str>,
}

impl Default for Made {
    fn default() -> Self {
        Self { recipe: "a", version: "1", most: usize::MAX, input: None }
    }
}

fn origins(places: Range<usize>) -> Origins {
    let pixels = places.clone().flat_map(|place| [place as f32 / 8.0; 3]).collect();
    let images = ImageBatch::new([places.len(), 3, 1, 1], pixels);
    let labels = places.clone().map(|place| place % 3).collect();
    let seeds = places.map(|place| place as u64).collect();
    Origins { seeds, made_by: Some(GenerateSettings::default()), ..Origins::opened(images, labels, Vec::new()) }
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn document(&self, made: &Made, listed: Option<&Origins>, folder: &Path) -> Document {
        let provenance = Provenance { lapidary: made.version.to_owned(), ..Provenance::default() };
        let mut settings = Settings::default();
        // Read from a file and written again it must be the same.
        settings.refine.eps = 3.0 / 255.0;
        let new = Document::new(&settings, &provenance, listed, &Trace::default(), Some(folder));
        let files: Vec<PathBuf> = made.input.iter().map(|name| self.at(name)).collect();
        let inputs = files.iter().map(|file| crate::session::document::relative_file(file, folder)).collect();
        Document { inputs, input_hashes: hashes(&files, &mut |_, _| ()), ..new }
    }

    fn begin(&self, name: &str, made: &Made, share: Option<&Share>) -> (OutFolder, Parts) {
        let (folder, files) = (self.at(name), generate::files(ALL.len()));
        let files = if share.is_some() { export::SHARED.to_vec() } else { files };
        let (recipe, earlier) = (made.recipe, Earlier::Resume);
        let claim = Claim { folder: &folder, numbered: false, earlier, recipe, share, files: &files, inputs: &[] };
        let Claimed::Begun(mut out) = claim.claim().unwrap() else { panic!("nothing was there") };
        let provenance = Provenance { lapidary: made.version.to_owned(), ..Provenance::default() };
        out.set_provenance(&provenance).unwrap();
        let own = share.map_or(ALL, |share| share.own.clone());
        let mut parts = Parts::open(&folder, recipe, own.start).unwrap();
        for places in windows(own, BATCH).take(made.most) {
            parts.add_made((places.start, places.end), &origins(places.clone())).unwrap();
        }
        (out, parts)
    }

    /// What one run makes.
    fn whole(&self, name: &str, made: &Made) {
        let (mut out, parts) = self.begin(name, made, None);
        let shown = parts.made(shown_of(ALL.len()), &GenerateSettings::default(), None).unwrap();
        let document = self.document(made, Some(&shown), &self.at(name));
        let said = (String::new(), String::new());
        let Whole { names, write, .. } = maker::whole_of(&parts, ALL.len(), (shown, document), said);
        out.publish(names, Extent::Whole, write).unwrap();
    }

    /// What one of several runs makes.
    fn shard(&self, name: &str, (k, n): (u32, u32), made: &Made) -> PathBuf {
        let share = Share::new(Shard { k, n }, "generate", ALL, BATCH);
        let (mut out, parts) = self.begin(name, made, Some(&share));
        if parts.next(share.own.start) == share.own.end {
            let document = self.document(made, None, &self.at(name));
            out.end_share(parts.count());
            let write = |folder: &Path| export::write_document(&folder.join(export::SHARED[0]), &document);
            out.publish(export::names(&export::SHARED, &[]), Extent::Whole, write).unwrap();
        }
        self.at(name)
    }

    fn shards(&self, n: u32) -> Vec<PathBuf> {
        (1..=n).map(|k| self.shard(&format!("r-{k}-of-{n}"), (k, n), &Made::default())).collect()
    }

    fn merge(&self, shards: &[&PathBuf], out: &str) -> anyhow::Result<Outcome> {
        let (shards, out) = (shards.iter().map(|path| (*path).clone()).collect(), Some(self.at(out)));
        run(&MergeOptions { shards, out, quiet: true, ..MergeOptions::default() }, &nowhere())
    }

    fn contents(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.at(name)]);
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    files.insert(path.strip_prefix(self.at(name)).unwrap().to_owned(), bytes);
                }
            }
        }
        files
    }

    /// Refused with these words, and nothing is written.
    #[track_caller]
    fn check_refused(&self, shards: &[&PathBuf], expected: &str) {
        let error = self.merge(shards, "refused").unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!self.at("refused").exists(), "{text}");
        let code = if text.contains("works on shard") { 75 } else { 1 };
        assert_eq!(crate::cli::exit_code_of(&error), code);
    }
}

#[test]
fn shards_in_any_order_come_to_the_bytes_of_the_whole_and_stay_as_they_are() {
    let place = Place::new();
    place.whole("whole", &Made::default());
    let whole = place.contents("whole");
    for name in ["samples.npz", "session.json", "images/000006.png", "contact_sheet.png", ".lapidary.json"] {
        assert!(whole.contains_key(Path::new(name)), "{name}: {:?}", whole.keys());
    }
    for n in [1, 2, 3, 4] {
        let shards = place.shards(n);
        let before = place.contents(&format!("r-1-of-{n}"));
        assert!(before.contains_key(Path::new("parts/00000000.npz")), "{:?}", before.keys());
        for turn in 0..shards.len() {
            let mut turned: Vec<&PathBuf> = shards.iter().collect();
            turned.rotate_left(turn);
            turned.reverse();
            let out = format!("merged-{n}-{turn}");
            assert_eq!(place.merge(&turned, &out).unwrap(), Outcome::Done);
            let merged = place.contents(&out);
            assert_eq!(merged.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
            for (name, bytes) in &whole {
                assert!(merged[name] == *bytes, "{} of {n} shards differs", name.display());
            }
        }
        assert!(place.contents(&format!("r-1-of-{n}")) == before);
    }
    // Of more shards than batches the last need not be there.
    let six: Vec<PathBuf> = (1..=4).map(|k| place.shard(&format!("six-{k}"), (k, 6), &Made::default())).collect();
    place.merge(&six.iter().collect::<Vec<_>>(), "six").unwrap();
    assert!(place.contents("six") == whole);
}

#[test]
fn what_was_put_together_before_is_not_done_again_and_not_replaced() {
    let place = Place::new();
    let shards = place.shards(2);
    let merge = |earlier| run(&options(&shards, place.at("out"), earlier), &nowhere());
    merge(Earlier::Resume).unwrap();
    let before = place.contents("out");
    assert!(merge(Earlier::Keep).unwrap_err().to_string().starts_with("the folder holds an earlier result"));
    merge(Earlier::Resume).unwrap();
    merge(Earlier::Overwrite).unwrap();
    assert!(place.contents("out") == before);
    // Nor are the shards themselves.
    let into = |earlier| run(&options(&shards, shards[0].clone(), earlier), &nowhere());
    assert!(into(Earlier::Overwrite).unwrap_err().to_string().starts_with("this input lies where the results"));
    assert!(place.contents("r-1-of-2").contains_key(Path::new("parts/00000000.npz")));
}

#[test]
fn pictures_come_to_one_folder_and_no_table() {
    let place = Place::new();
    let whole = options(&place.shards(2), place.at("out"), Earlier::Keep);
    for other in [
        MergeOptions { tables: vec![place.at("more")], ..whole.clone() },
        MergeOptions { save_features: Some(place.at("seen")), ..whole.clone() },
    ] {
        let error = run(&other, &nowhere()).unwrap_err();
        assert!(error.to_string().contains("are for shards of lapidary evaluate"), "{error}");
        assert!(!place.at("out").exists());
    }
}

#[test]
fn a_shard_that_is_missing_or_given_twice_is_named() {
    let place = Place::new();
    let shards = place.shards(4);
    place.check_refused(&[&shards[3], &shards[0]], "shards 2/4, 3/4 are missing: give their folders as well, or make");
    place.check_refused(&[&shards[3], &shards[1], &shards[0]], "such as --shard 3/4");
    place.check_refused(&[&shards[0], &shards[1], &shards[1], &shards[2], &shards[3]], "shard 2/4 is given twice");
    let copy = place.shard("copy", (4, 4), &Made::default());
    place.check_refused(&[&shards[0], &copy, &shards[1], &shards[2], &shards[3]], "shard 4/4 is given twice");
    place.check_refused(&[&place.at("nothing")], "no folder is there: check the path");
    place.whole("whole", &Made::default());
    place.check_refused(&[&shards[0], &place.at("whole")], "this is no folder of a run with --shard");
    let many: Vec<Shard> = Shard::all(20).collect();
    let text = MergeError::Missing { shards: many }.to_string();
    assert!(text.starts_with("shards 1/20, 2/20, 3/20, 4/20, 5/20, 6/20, 7/20, 8/20, 12 more are missing"), "{text}");
}

#[test]
fn a_shard_of_other_work_is_named_and_not_those_that_belong_together() {
    let place = Place::new();
    let shards = place.shards(3);
    let refused = |shard: &PathBuf, expected: &str| {
        place.check_refused(&[shard, &shards[1], &shards[2]], expected);
        let text = place.merge(&[shard, &shards[1], &shards[2]], "refused").unwrap_err().to_string();
        assert!(text.ends_with(shard.to_str().unwrap()), "{text}");
    };
    let other = place.shard("settings", (1, 3), &Made { recipe: "b", ..Made::default() });
    refused(&other, "was made by another command or version, or with other settings or inputs");
    let other = place.shard("version", (1, 3), &Made { version: "2", ..Made::default() });
    place.check_refused(&[&shards[1], &other, &shards[2]], "was made by Lapidary 2 with burn , and this is Lapidary 1");
    let other = place.shard("number", (1, 4), &Made::default());
    refused(&other, "was made as one of 4, and not of 3");
}

#[test]
fn a_shard_that_is_not_done_or_is_worked_on_is_named_with_what_is_missing() {
    let place = Place::new();
    let first = place.shard("r-1-of-2", (1, 2), &Made::default());
    let second = place.shard("r-2-of-2", (2, 2), &Made { most: 1, ..Made::default() });
    let expected = "shard 2/2 (1 picture missing in ";
    place.check_refused(&[&second, &first], expected);
    place.check_refused(&[&second, &first], "is unfinished: finish each by the same command with --shard and --resume");
    place.check_refused(&[&second, &first], "such as --shard 2/2 --resume");
    // It goes on where it was, and is whole then.
    let share = Share::new(Shard { k: 2, n: 2 }, "generate", ALL, BATCH);
    let (out, parts) = place.begin("r-2-of-2", &Made { most: 0, ..Made::default() }, Some(&share));
    assert_eq!((parts.next(4), parts.count()), (6, 2));
    place.check_refused(&[&second, &first], "another Lapidary works on shard 2/2: wait until it is done");
    drop((out, parts));
    std::fs::remove_dir_all(&second).unwrap();
    place.shard("r-2-of-2", (2, 2), &Made::default());
    // One of its batches is lost.
    let part = second.join("parts/00000004.npz");
    let bytes = std::fs::read(&part).unwrap();
    std::fs::remove_file(&part).unwrap();
    place.check_refused(&[&second, &first], "shard 2/2 (3 pictures missing in ");
    std::fs::write(&part, &bytes[1..]).unwrap();
    place.check_refused(&[&second, &first], "shard 2/2 (3 pictures missing in ");
    std::fs::write(&part, bytes).unwrap();
    place.merge(&[&second, &first], "out").unwrap();
}

#[test]
fn a_finished_shard_whose_batch_was_lost_goes_on_and_one_that_is_whole_has_nothing_left_to_do() {
    let place = Place::new();
    let second = place.shard("r-2-of-2", (2, 2), &Made::default());
    let claim = |share: Option<&Share>, recipe| {
        let claim = Claim {
            folder: &second,
            numbered: false,
            earlier: Earlier::Resume,
            recipe,
            share,
            files: &export::SHARED,
            inputs: &[],
        };
        claim.claim()
    };
    let share = |k| Share::new(Shard { k, n: 2 }, "generate", ALL, BATCH);
    assert!(matches!(claim(Some(&share(2)), "a").unwrap(), Claimed::Finished(_)));
    assert!(second.join("parts/00000006.npz").exists(), "its batches are what it is for");
    for (share, recipe) in [(Some(share(1)), "a"), (None, "a"), (Some(share(2)), "b")] {
        let text = claim(share.as_ref(), recipe).unwrap_err().to_string();
        assert!(text.contains("it holds the finished results of another command"), "{text}");
    }
    std::fs::remove_file(second.join("parts/00000006.npz")).unwrap();
    assert!(matches!(claim(Some(&share(2)), "a").unwrap(), Claimed::Begun(_)));
    let third = place.shard("r-1-of-2", (1, 2), &Made { most: 1, ..Made::default() });
    let goes_on = Claim {
        folder: &third,
        numbered: false,
        earlier: Earlier::Resume,
        recipe: "a",
        share: Some(&share(2)),
        files: &export::SHARED,
        inputs: &[],
    };
    let text = goes_on.claim().unwrap_err().to_string();
    assert!(text.contains("what is in this folder was made with --shard 1/2: give all as before"), "{text}");
}

#[test]
fn a_shard_or_an_input_that_was_changed_since_is_named() {
    let place = Place::new();
    std::fs::write(place.at("in.png"), "one").unwrap();
    let made = Made { input: Some("in.png"), ..Made::default() };
    let shards: Vec<PathBuf> = (1..=2).map(|k| place.shard(&format!("r-{k}-of-2"), (k, 2), &made)).collect();
    let all: Vec<&PathBuf> = shards.iter().collect();
    std::fs::write(place.at("in.png"), "two").unwrap();
    place.check_refused(&all, "this input is missing or was changed since the shards were made");
    std::fs::remove_file(place.at("in.png")).unwrap();
    place.check_refused(&all, "put it back as it was");
    std::fs::write(place.at("in.png"), "one").unwrap();
    place.merge(&all, "out").unwrap();
    place.whole("whole", &made);
    assert!(place.contents("out") == place.contents("whole"));
    let description = shards[1].join("session.json");
    let text = std::fs::read_to_string(&description).unwrap();
    std::fs::write(&description, text.replace("in.png", "on.png")).unwrap();
    place.check_refused(&all, "this file of a shard is missing or was changed since it was written");
}
