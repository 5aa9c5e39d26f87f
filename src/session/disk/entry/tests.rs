//! Entries come back as they were, whatever else lies in the file.

use super::super::raw::Raw;
use super::*;
use crate::generator::EditTask;
use proptest::prelude::*;

fn numbers() -> Numbers {
    Numbers {
        logits: vec![f32::NAN, -0.0, 1.0, 2.0, 3.0, 4.0],
        objective: vec![f32::NEG_INFINITY, 0.5],
        gradient_l2: vec![1e-30, 2.0],
        step_l2: vec![0.0, 0.25],
        delta_l2: vec![0.1, 0.2],
        delta_linf: vec![0.3, 0.4],
        clipped: vec![0.0, 1.0],
        state: vec![SampleState::Active, SampleState::Stopped],
    }
}

fn state(iteration: u32, value: f32) -> State {
    State { iteration, images: ImageBatch::new([2, 1, 1, 2], vec![0.25, 0.5, 0.75, value]), numbers: numbers() }
}

fn edited() -> Origins {
    let images = state(0, 1.0).images;
    let settings = EditSettings { task: EditTask::Stroke, ..Default::default() };
    let edited = Edited { settings, reference: images.resized([2, 2]), mask: None, is_of_one: Some(false) };
    let made_by = Some(GenerateSettings { generator: "/data/mine.pt".to_owned(), ..Default::default() });
    Origins { made_by, edited: Some(edited), ..Origins::opened(images, vec![3, 4], vec!["a".into(), "b".into()]) }
}

/// Equal also where it is no number.
fn same(a: &Numbers, b: &Numbers) -> bool {
    let bits = |numbers: &Numbers| lists!(numbers, &).map(|(_, list)| bytemuck::cast_slice::<f32, u32>(list).to_vec());
    bits(a) == bits(b) && a.state == b.state
}

fn file() -> Vec<u8> {
    let origins = edited();
    let id = StateId { run: RunId(7), iteration: 2 };
    let entries = [
        Entry::Fact(Fact::Settings(Settings::default())),
        Entry::References(state(0, 0.0).images),
        Entry::Origins(Arc::new(origins.clone())),
        Entry::State(RunId(7), Arc::new(state(0, 1.0))),
        Entry::State(RunId(7), Arc::new(state(1, 0.5))),
        Entry::Numbers(id, numbers()),
    ];
    let mut bytes = Vec::new();
    for entry in entries {
        entry.encode(Some(&origins)).write(&mut bytes).unwrap();
    }
    bytes
}

fn read(bytes: &[u8]) -> Vec<Raw> {
    let mut input = bytes;
    std::iter::from_fn(|| Raw::read(&mut input)).collect()
}

#[test]
fn every_entry_comes_back_bit_by_bit_and_the_origins_are_not_repeated() {
    let (bytes, origins) = (file(), edited());
    let raw = read(&bytes);
    assert_eq!(raw.iter().map(Raw::len).sum::<u64>(), bytes.len() as u64);
    assert_eq!(raw[0].fact().unwrap().unwrap(), Fact::Settings(Settings::default()));
    assert_eq!(raw[1].references(), Some(state(0, 0.0).images));
    assert_eq!(raw[2].origins(), Some(origins.clone()));
    for (raw, value, pictures) in [(&raw[3], 1.0, Pictures::Origins), (&raw[4], 0.5, Pictures::Own)] {
        assert_eq!(raw.state_facts().unwrap().pictures, pictures);
        let (id, back) = raw.state(Some(&origins)).unwrap();
        let was = state(id.iteration, value);
        assert!(back.images == was.images && same(&back.numbers, &was.numbers), "{id:?}");
    }
    assert!(raw[3].len() < raw[4].len());
    let facts = raw[5].state_facts().unwrap();
    assert!(raw[5].state(Some(&origins)).is_none() && same(&raw[5].numbers(&facts).unwrap().0, &numbers()));
    assert_eq!(raw[4].without_pictures().unwrap().block, raw[5].block);
}

#[test]
fn a_file_torn_anywhere_gives_every_entry_before_the_tear() {
    let bytes = file();
    let mut ends = vec![0];
    ends.extend(read(&bytes).iter().scan(0, |end, raw| {
        *end += raw.len() as usize;
        Some(*end)
    }));
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(read(&bytes[..cut]).len(), whole, "cut at {cut}");
    }
    for place in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        let whole = ends.iter().filter(|end| **end <= place).count() - 1;
        assert_eq!(read(&damaged).len(), whole, "damaged at {place}");
    }
}

#[test]
fn what_a_later_version_adds_is_skipped_and_kept() {
    let entry = Entry::State(RunId(1), Arc::new(state(1, 0.5))).encode(None);
    let mut header: serde_json::Value = serde_json::from_slice(&entry.header).unwrap();
    header["facts"]["weather"] = "fine".into();
    let columns = header["columns"].as_array_mut().unwrap();
    columns.insert(2, serde_json::json!({"name": "curvature", "shape": [2, 3]}));
    columns.retain(|column| column["name"] != "clipped");
    let mut block = entry.block[..4 * 8].to_vec();
    block.extend_from_slice(bytemuck::cast_slice(&[9.0_f32; 6]));
    block.extend_from_slice(&entry.block[4 * 8..4 * 16]);
    block.extend_from_slice(&entry.block[4 * 18..]);
    let later = Raw { kind: STATE, header: serde_json::to_vec(&header).unwrap(), block };
    let (_, back) = later.state(None).unwrap();
    assert_eq!((back.images, back.numbers.delta_linf), (state(1, 0.5).images, vec![0.3, 0.4]));
    assert!(back.numbers.clipped.iter().all(|value| value.is_nan()) && back.numbers.clipped.len() == 2);
    assert_eq!(later.without_pictures().unwrap().block.len(), later.block.len() - 16);
    let unknown = Raw { kind: *b"new!", header: b"anything".to_vec(), block: vec![1, 2, 3] };
    let mut bytes = Vec::new();
    unknown.write(&mut bytes).unwrap();
    let back = read(&bytes).remove(0);
    assert!(back.fact().is_none() && back.origins().is_none() && back.state_facts().is_none());
    assert_eq!(back.with_models(&str::to_owned), unknown);
}

#[test]
fn model_paths_change_and_nothing_else() {
    let raw = read(&file());
    let change = |path: &str| path.replace("/data", "..");
    let changed = raw[2].clone().with_models(&change);
    assert_eq!(changed.block, raw[2].block);
    let generator = changed.origins().unwrap().made_by.unwrap().generator;
    assert_eq!(generator, "../mine.pt");
    assert_eq!(raw[4].clone().with_models(&change), raw[4]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode_all(&bytes);
    }

    #[test]
    fn no_damage_behind_a_good_checksum_makes_the_decoders_panic(
        which in 0_usize..6,
        header in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut raw = read(&file()).remove(which);
        for (place, byte) in header {
            let place = place.index(raw.header.len());
            // Digits and brackets, which make other values, not only broken JSON.
            raw.header[place] = b"0123456789[]{},:\"-e."[usize::from(byte) % 20];
        }
        raw.block.truncate(cut.index(raw.block.len() + 1));
        let mut bytes = Vec::new();
        raw.write(&mut bytes).unwrap();
        decode_all(&bytes);
    }
}

fn decode_all(bytes: &[u8]) {
    for raw in read(bytes) {
        drop((raw.fact(), raw.origins(), raw.references(), raw.state(None), raw.without_pictures()));
        if let Some(facts) = raw.state_facts() {
            drop(raw.numbers(&facts));
        }
        drop(raw.with_models(&str::to_owned));
    }
}
