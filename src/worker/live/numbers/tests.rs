//! What the judge says of pictures, and what it looks at for that.

use super::*;
use crate::image::ImageBatch;
use crate::trace::RunId;
use crate::worker::live::message::Subject;

/// Never rests; stops after so many pieces.
struct Pieces(usize);

impl Turn for Pieces {
    fn is_wanted(&mut self) -> bool {
        true
    }

    fn goes_on(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }

    fn looked_at(&mut self, _: usize, _: usize) {}

    fn newer(&mut self) -> Option<Wish> {
        None
    }

    fn tell(&mut self, _: StateId, _: Result<Numbers, Vec<String>>) {}
}

/// Never rests; wishes for newer states come while real pictures are looked at, and what is told is remembered.
#[derive(Default)]
struct Seat {
    newer: Vec<Wish>,
    told: Vec<(StateId, Numbers)>,
    looked: Vec<(usize, usize)>,
}

impl Turn for Seat {
    fn is_wanted(&mut self) -> bool {
        true
    }

    fn goes_on(&mut self) -> bool {
        true
    }

    fn looked_at(&mut self, done: usize, all: usize) {
        self.looked.push((done, all));
    }

    fn newer(&mut self) -> Option<Wish> {
        self.newer.pop()
    }

    fn tell(&mut self, state: StateId, found: Result<Numbers, Vec<String>>) {
        self.told.push((state, found.expect("it can be judged")));
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// Stripes; those of another pitch are other pictures.
fn pictures(n: usize, pitch: f32) -> ImageBatch {
    let value = |i: usize| 0.5 + 0.4 * (i as f32 * pitch).sin();
    ImageBatch::new([n, 3, 32, 32], (0..n * 3 * 32 * 32).map(value).collect())
}

fn wish(pictures: [ImageBatch; 2]) -> Wish {
    let n = pictures[0].len();
    Wish {
        of: Subject { epoch: 1, judge: "gtsrb12-judge".to_owned(), reference: None, choosing: 0 },
        state: StateId { run: RunId(1), iteration: 3 },
        pictures,
        targets: (0..n).map(|sample| sample % 12).collect(),
        classes: crate::zoo::class_names("gtsrb12-judge").unwrap(),
        memory_mib: None,
    }
}

fn memory(folder: &Path) -> Memory {
    Memory::new(folder.to_owned())
}

fn numbers(memory: &mut Memory, asked: &Wish, turn: &mut dyn Turn) -> Result<Numbers, LiveError> {
    memory.numbers(asked, turn).map(|(_, numbers)| numbers)
}

/// Puts pictures of 32×32 into a folder, numbered from `first`.
fn save(folder: &Path, made: &ImageBatch, first: usize) {
    std::fs::create_dir_all(folder).unwrap();
    for place in 0..made.len() {
        let rgb = crate::image::Levels::Rounded.rgb8(made, place);
        let picture = ::image::RgbImage::from_raw(32, 32, rgb).unwrap();
        picture.save(folder.join(format!("{:03}.png", first + place))).unwrap();
    }
}

#[test]
fn the_numbers_are_those_of_the_judge_and_the_pictures_before_are_looked_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut memory, mut turn) = (memory(folder.path()), Pieces(usize::MAX));
    let mut asked = wish([pictures(9, 0.013), pictures(9, 0.021)]);
    let found = numbers(&mut memory, &asked, &mut turn).unwrap();
    let judged = found.judged.as_ref().unwrap();
    assert_eq!((found.pictures, found.distance.is_none()), (9, true));
    let own = memory.before.as_ref().unwrap();
    assert_eq!((own.features.len(), own.features.width()), (9, 128));
    assert!(judged.confidence.change.interval.is_some(), "nine pairs are enough: {judged:?}");
    assert_eq!(found.sha256, crate::zoo::find("gtsrb12-judge").unwrap().0.sha256.unwrap());
    // What is the same twice has no change, and the first look is not taken again: these pictures would be others.
    asked.pictures = [pictures(9, 0.37), pictures(9, 0.013)];
    let judged = numbers(&mut memory, &asked, &mut turn).unwrap().judged.unwrap();
    assert_eq!((judged.confidence.change.value, judged.agreement.change.value), (0.0, 0.0));
    // Of another set of pictures they are.
    asked.of.epoch = 2;
    let judged = numbers(&mut memory, &asked, &mut turn).unwrap().judged.unwrap();
    assert!(judged.confidence.change.value != 0.0);
}

#[test]
fn what_cannot_be_judged_is_said_in_a_sentence_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut memory, mut turn) = (memory(folder.path()), Pieces(usize::MAX));
    let mut refused = |change: &dyn Fn(&mut Wish)| {
        let mut asked = wish([pictures(2, 0.013), pictures(2, 0.021)]);
        change(&mut asked);
        match numbers(&mut memory, &asked, &mut turn) {
            Err(error) => error_chain(&error).join(": "),
            Ok(found) => found.judged.unwrap_err(),
        }
    };
    let text = refused(&|wish| wish.classes = names(&["cat", "dog"]));
    assert!(text.contains("12 classes") && text.contains("2 classes (cat, dog)"), "{text}");
    let text = refused(&|wish| wish.classes.clear());
    assert!(text.contains("no classes"), "{text}");
    let text = refused(&|wish| wish.targets[1] = 99);
    assert!(text.contains("choose a judge"), "{text}");
    let text = refused(&|wish| {
        let mut pixels = wish.pictures[1].pixels().to_vec();
        pixels[3 * 32 * 32 + 7] = f32::NAN;
        wish.pictures[1] = ImageBatch::new([2, 3, 32, 32], pixels);
    });
    assert!(text.contains("picture 1 of the 2 after holds values that are not finite"), "{text}");
    let text = refused(&|wish| {
        wish.pictures = [0, 1].map(|_| ImageBatch::new([2, 1, 32, 32], vec![0.5; 2 * 32 * 32]));
    });
    assert!(text.contains("takes 3 channels"), "{text}");
    let text = refused(&|wish| wish.of.judge = "gtsrb12-cm".to_owned());
    assert!(text.contains("classifier"), "{text}");
    let text = refused(&|wish| wish.of.judge = "/no/judge.pt".to_owned());
    assert!(text.contains("/no/judge.pt"), "{text}");
}

#[test]
fn few_pictures_have_no_distance_and_enough_of_them_have_one_to_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    let made = pictures(140, 0.013);
    save(&real, &made, 0);
    let (mut memory, mut turn) = (memory(folder.path()), Seat::default());
    let mut asked = wish([pictures(9, 0.013), pictures(9, 0.021)]);
    asked.of.reference = Some(real.clone());
    let few = numbers(&mut memory, &asked, &mut turn).unwrap().distance.unwrap().unwrap_err();
    assert!(few.contains("9 pictures with 128 features each"), "{few}");
    assert!(turn.looked.is_empty(), "nobody waited for the real ones");
    asked.of.reference = Some(folder.path().join("none"));
    let missing = numbers(&mut memory, &asked, &mut turn).unwrap().distance.unwrap().unwrap_err();
    assert!(missing.contains("no file is there"), "what is wrong with them is told all the same: {missing}");
    asked.of.reference = Some(real);
    asked.pictures = [pictures(140, 0.37), made];
    let found = numbers(&mut memory, &asked, &mut turn).unwrap().distance.unwrap().unwrap();
    // The pictures after are the real ones; those before are others.
    assert!(found.of.after < 1e-3 * found.of.before, "{found:?}");
    assert_eq!((found.features, found.real, found.held_out, found.doubt), (128, Some(140), 0, None));
    // A constant picture again and again has no covariance.
    asked.pictures[1] = ImageBatch::new([140, 3, 32, 32], vec![0.5; 140 * 3 * 32 * 32]);
    let why = numbers(&mut memory, &asked, &mut turn).unwrap().distance.unwrap().unwrap_err();
    assert!(why.contains("the same features"), "{why}");
    asked.of.reference = Some(folder.path().join("none"));
    let why = numbers(&mut memory, &asked, &mut turn).unwrap().distance.unwrap().unwrap_err();
    assert!(why.contains("none"), "{why}");
}

#[test]
fn whoever_is_not_wanted_any_more_stops_at_the_next_piece_and_keeps_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut memory = memory(folder.path());
    let asked = wish([pictures(40, 0.013), pictures(40, 0.021)]);
    // The judge is loaded, and the first of two pieces of the pictures before is looked at.
    let stopped = numbers(&mut memory, &asked, &mut Pieces(2));
    assert!(matches!(stopped, Err(LiveError::Stopped)), "{stopped:?}");
    assert!(memory.before.is_none(), "half of them are not all");
    let found = numbers(&mut memory, &asked, &mut Pieces(usize::MAX)).unwrap();
    assert_eq!(found.pictures, 40);
}

#[test]
fn while_real_pictures_are_looked_at_the_numbers_go_on_and_nothing_is_looked_at_twice() {
    let folder = tempfile::tempdir().unwrap();
    let real = ["one", "two"].map(|name| folder.path().join(name));
    save(&real[0], &pictures(140, 0.013), 0);
    save(&real[1], &pictures(140, 0.017), 0);
    let mut memory = memory(folder.path());
    let mut asked = wish([pictures(140, 0.37), pictures(140, 0.021)]);
    asked.of.reference = Some(real[0].clone());
    let newer = [5, 4].map(|iteration| Wish { state: StateId { iteration, ..asked.state }, ..asked.clone() });
    let mut turn = Seat { newer: newer.to_vec(), ..Seat::default() };
    let (state, found) = memory.numbers(&asked, &mut turn).unwrap();
    assert!(state.iteration == 5 && found.distance.is_some_and(|distance| distance.is_ok()), "of the newest state");
    let told: Vec<_> = turn.told.iter().map(|(state, found)| (state.iteration, found.distance.is_none())).collect();
    assert_eq!(told, [(3, true), (4, true), (5, true)], "what needs no real pictures came first");
    assert!(turn.told.iter().all(|(_, found)| found.judged.is_ok()));
    let every = [(32, 140), (64, 140), (96, 140), (128, 140), (140, 140)];
    assert_eq!(turn.looked, every, "no state began it anew");

    // There and back, nothing is looked at again.
    let mut looked = |asked: &Wish| {
        let mut turn = Seat::default();
        let distance = numbers(&mut memory, asked, &mut turn).unwrap().distance.unwrap();
        (distance.map(|distance| distance.of.after), turn.looked.len())
    };
    let first = looked(&asked);
    assert_eq!(first.1, 0);
    asked.of = Subject { reference: Some(real[1].clone()), choosing: 1, ..asked.of };
    let other = looked(&asked);
    assert!(other.1 == 5 && other.0 != first.0);
    asked.of = Subject { reference: Some(real[0].clone()), choosing: 2, ..asked.of };
    assert_eq!(looked(&asked), first);

    // A picture came: that is seen at the next wish.
    save(&real[0], &pictures(1, 0.9), 140);
    let (distance, pieces) = looked(&asked);
    assert!(pieces == 5 && distance != first.0);
}

#[test]
fn a_file_that_was_mended_or_put_back_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (real, aside) = (folder.path().join("real"), folder.path().join("aside"));
    save(&aside, &pictures(140, 0.013), 0);
    let mut memory = memory(folder.path());
    let mut asked = wish([pictures(140, 0.37), pictures(140, 0.021)]);
    asked.of.reference = Some(real.clone());
    let mut distance = |asked: &Wish| numbers(&mut memory, asked, &mut Seat::default()).unwrap().distance.unwrap();
    assert!(distance(&asked).unwrap_err().contains("no file is there"));
    std::fs::write(&real, "no pictures, but some words").unwrap();
    let wrong = distance(&asked).unwrap_err();
    assert!(wrong.contains("a text file") && wrong.contains("give an .npz"), "{wrong}");
    std::fs::remove_file(&real).unwrap();
    std::fs::rename(&aside, &real).unwrap();
    assert!(distance(&asked).is_ok());
}

#[test]
fn pictures_that_a_data_set_holds_out_are_neither_looked_at_nor_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.npz");
    let (count, held_out) = (170, 30);
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let made = pictures(count, 0.013);
    let levels: Vec<u8> = made.pixels().iter().map(|value| (value * 255.0).round() as u8).collect();
    let marks: Vec<u8> = (0..count).map(|place| u8::from(place < held_out)).collect();
    let shape = format!("({count}, 3, 32, 32)");
    let arrays: [(&str, String, Vec<u8>); 2] = [("images", shape, levels), ("is_val", format!("({count},)"), marks)];
    for (name, shape, data) in arrays {
        let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
        header.push('\n');
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        zip.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        let array = [b"\x93NUMPY\x01\x00".as_slice(), length.as_slice(), header.as_bytes(), data.as_slice()].concat();
        std::io::Write::write_all(&mut zip, &array).unwrap();
    }
    zip.finish().unwrap();
    let mut asked = wish([pictures(140, 0.37), pictures(140, 0.021)]);
    asked.of.reference = Some(path);
    let mut turn = Seat::default();
    let found = numbers(&mut memory(folder.path()), &asked, &mut turn).unwrap().distance.unwrap().unwrap();
    assert_eq!((found.real, found.held_out), (Some(140), 30));
    assert_eq!(turn.looked, [(2, 140), (34, 140), (66, 140), (98, 140), (130, 140), (140, 140)]);
}
