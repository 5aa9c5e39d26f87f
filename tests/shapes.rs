//! Pictures of one to four channels, and such that are not square, through the whole program: opened, generated, refined,
//! written and opened again.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

use lapidary::zoo::{Manifest, expected};
use npyz::WriterBuilder as _;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn lapidary(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(args)
        .args(["--device", "cpu", "--out", "out", "--overwrite"])
        .current_dir(folder)
        .env("LAPIDARY_HOME", folder.join("home"))
        .env_remove("LAPIDARY_LOG")
        .output()
        .expect("the program starts")
}

fn succeed(folder: &Path, args: &[&str]) {
    let output = lapidary(folder, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(folder: &Path, args: &[&str]) -> String {
    let output = lapidary(folder, args);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An array of a result: its shape and its values.
fn array<T: npyz::Deserialize>(archive: &Path, name: &str) -> (Vec<u64>, Vec<T>) {
    let mut archive = zip::ZipArchive::new(File::open(archive).expect("the archive")).expect("a zip archive");
    let file = npyz::NpyFile::new(archive.by_name(&format!("{name}.npy")).expect("the array")).expect("a header");
    (file.shape().to_vec(), file.into_vec::<T>().expect("values of this type"))
}

/// Writes `net.toml`, and beside it weights that keep activations of order 1.
fn model(folder: &Path, manifest: &str) {
    let text = format!(
        "name = \"net\"\ntitle = \"net\"\nfile = \"net.safetensors\"\nsource = \"\"\nlicence = \"\"\n{manifest}"
    );
    std::fs::write(folder.join("net.toml"), &text).expect("a writable folder");
    let Ok(manifest) = Manifest::parse(&text, Path::new("net.toml")) else { return };
    let tensors = expected(&manifest);
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(name, shape)| {
            let start = name.bytes().map(f32::from).sum::<f32>();
            let fan: usize = shape.iter().skip(1).product();
            let value = |i: usize| {
                let wave = (start + 1.7 * i as f32).sin();
                match shape.len() {
                    1 if name.ends_with("weight") || name.ends_with("running_var") => 1.0 + 0.25 * wave,
                    1 => 0.1 * wave,
                    _ => wave * (2.0 / fan as f32).sqrt(),
                }
            };
            (0..shape.iter().product()).flat_map(|i| value(i).to_le_bytes()).collect()
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("as many bytes as the shape says"))
    });
    let file = safetensors::serialize(views, None).expect("distinct names");
    std::fs::write(folder.join("net.safetensors"), file).expect("a writable folder");
}

/// A classifier of two stages for pictures of this shape.
fn classifier(folder: &Path, [channels, height, width]: [usize; 3], more: &str) {
    let manifest = format!(
        "resolution = {height}\nwidth = {width}\nchannels = {channels}\nclasses = [\"a\", \"b\", \"c\"]\n\
         kind = \"classifier\"\nmean = {:?}\nstd = {:?}\n[resnet]\nblocks = [1, 1]\nwidths = [8, 16]\nstem_kernel = 3\n\
         stem_stride = 1\n{more}",
        vec![0.5; channels],
        vec![0.25; channels]
    );
    model(folder, &manifest);
}

const PICTURE: [&str; 7] = ["refine", "--input", "picture.png", "--classifier", "net.toml", "--iterations", "2"];
const AGAIN: [&str; 7] = ["refine", "--input", "again.npz", "--classifier", "net.toml", "--iterations", "1"];

#[test]
fn classifiers_of_every_number_of_channels_and_any_form_refine() {
    for shape @ [channels, height, width] in [[1, 28, 28], [2, 16, 16], [3, 32, 48], [4, 20, 15]] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let pre = "shortcut = \"conv\"\npreactivation = { stem_width = 4 }\n";
        classifier(folder, shape, if channels == 2 { pre } else { "shortcut = \"conv\"\n" });
        let colour = |x: u32, y: u32| image::Rgba([(3 * x) as u8, (5 * y) as u8, 128, (100 + x) as u8]);
        image::RgbaImage::from_fn(60, 50, colour).save(folder.join("picture.png")).unwrap();
        succeed(folder, &PICTURE);
        let result = folder.join("out/result.npz");
        let ((wanted, before), (found, after)) = (array::<f32>(&result, "before"), array::<f32>(&result, "after"));
        assert_eq!((&found, found[1..].to_vec()), (&wanted, shape.map(|extent| extent as u64).to_vec()));
        assert!(before != after && before.iter().any(|value| *value > 0.3), "{shape:?} was refined");
        // What was written is opened again, level by level.
        let (levels_shape, levels) = array::<u8>(&result, "arr_0");
        assert_eq!(levels_shape, [1, height as u64, width as u64, channels as u64]);
        assert!((f32::from(levels[channels - 1]) / 255.0 - after[(channels - 1) * height * width]).abs() < 0.003);
        std::fs::rename(result, folder.join("again.npz")).unwrap();
        succeed(folder, &AGAIN);
        let (again, _) = array::<u8>(&folder.join("out/samples.npz"), "arr_0");
        assert_eq!(again, levels_shape);
        let sheet = image::open(folder.join("out/contact_sheet.png")).unwrap();
        assert!(sheet.width() > sheet.height() / 2);
    }
}

#[test]
fn sides_that_a_classifier_cannot_halve_are_refused_with_the_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    classifier(folder, [3, 16, 16], "shortcut = \"pool\"\n");
    let mut archive = zip::ZipWriter::new(File::create(folder.join("again.npz")).unwrap());
    archive.start_file("arr_0.npy", zip::write::SimpleFileOptions::default()).unwrap();
    let options = npyz::WriteOptions::<u8>::new().default_dtype().shape(&[1, 15, 16, 3]);
    let mut writer = options.writer(&mut archive).begin_nd().unwrap();
    writer.extend(vec![7; 15 * 16 * 3]).unwrap();
    writer.finish().unwrap();
    archive.finish().unwrap();
    let text = refused(folder, &AGAIN);
    assert!(text.contains("pictures of 15×16 reach stage 2 of the classifier with 15×16 pixels"), "{text}");
    assert!(text.contains("multiples of 2"), "{text}");
}

/// A U-Net of three levels for pictures of two channels.
fn generator(folder: &Path, [height, width]: [usize; 2]) {
    let manifest = format!(
        "resolution = {height}\nwidth = {width}\nchannels = 2\nkind = \"generator\"\n[unet]\nmodel_channels = 32\n\
         num_res_blocks = 1\nchannel_mult = [1, 1, 1]\nattention_downsample = []\nnum_head_channels = 32\n\
         [diffusion]\npreconditioning = \"consistency\"\n"
    );
    model(folder, &manifest);
}

#[test]
fn generators_make_pictures_that_are_not_square_where_every_level_can_halve_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generator(folder, [8, 12]);
    let args = ["generate", "--generator", "net.toml", "--seeds", "3..5"];
    succeed(folder, &args);
    assert_eq!(array::<f32>(&folder.join("out/samples.npz"), "images").0, [2, 2, 8, 12]);
    let picture = image::open(folder.join("out/images/000003.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (12, 8));
    generator(folder, [8, 10]);
    let text = refused(folder, &args);
    let numbers = "resolution = 8 and width = 10 with patch_size = 1 and 3 levels, which need multiples of 4";
    assert!(text.contains(numbers), "{text}");
}

#[test]
fn a_folder_of_classes_is_read_upright_on_white_and_without_what_cannot_be_read() {
    use image::ImageEncoder as _;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    classifier(folder, [3, 16, 16], "shortcut = \"conv\"\n");
    for class in ["A", "c"] {
        std::fs::create_dir_all(folder.join("pictures").join(class)).unwrap();
    }
    let at = |name: &str| folder.join("pictures").join(name);
    // Red above and blue below, to be turned by a quarter to the right.
    let flag = image::RgbImage::from_fn(16, 16, |_, y| image::Rgb(if y < 8 { [255, 0, 0] } else { [0, 0, 255] }));
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    let exif = [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[6, 0, 0, 0, 0, 0, 0, 0]].concat();
    encoder.set_exif_metadata(exif).unwrap();
    encoder.write_image(&flag, 16, 16, image::ExtendedColorType::Rgb8).unwrap();
    std::fs::write(at("A/turned.png"), bytes).unwrap();
    image::RgbaImage::from_pixel(16, 16, image::Rgba([255, 0, 0, 0])).save(at("c/clear.png")).unwrap();
    let mut jpeg = Vec::new();
    flag.write_to(&mut std::io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg).unwrap();
    std::fs::write(at("c/cut.jpg"), &jpeg[..jpeg.len() - 20]).unwrap();
    let args = ["refine", "--input", "pictures", "--classifier", "net.toml", "--iterations", "1"];
    let output = lapidary(folder, &args);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("cut.jpg is left out: the picture was cut off"), "{told}");
    assert!(told.contains("c/clear.png: 16×16, transparency laid on white"), "{told}");
    let (shape, before) = array::<f32>(&folder.join("out/result.npz"), "before");
    assert_eq!(shape, [2, 3, 16, 16]);
    let value = |picture: usize, channel: usize, x: usize| before[((picture * 3 + channel) * 16 + 8) * 16 + x];
    assert_eq!([value(0, 0, 2), value(0, 2, 2), value(0, 0, 13), value(0, 2, 13)], [0.0, 1.0, 1.0, 0.0]);
    assert!(before[3 * 256..].iter().all(|value| *value == 1.0), "hidden colours stay hidden");
    let session = std::fs::read_to_string(folder.join("out/session.json")).unwrap();
    let session: serde_json::Value = serde_json::from_str(&session).unwrap();
    let labels: Vec<&serde_json::Value> = session["samples"].as_array().unwrap().iter().map(|s| &s["label"]).collect();
    assert_eq!(labels, [0, 2], "the folders are named as classes");
    let strict = refused(folder, &[&args[..], &["--strict"]].concat());
    assert!(strict.contains("the picture was cut off"), "{strict}");
}
