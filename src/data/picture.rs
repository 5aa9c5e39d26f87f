//! One picture file: decoded by its content, turned upright, sRGB-encoded, whole.

use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::Path;

use ::image::codecs::gif::GifDecoder;
use ::image::{
    AnimationDecoder as _, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, guess_format,
};

use super::unread::{unread, unread_by_content};
use super::{MAX_BYTES, MAX_PIXELS, MAX_SIDE, PictureError};
use crate::checkpoint::{Content, sniff};
use crate::image::colour::encoded;

/// Largest file that is read; a JPEG is read whole before it is decoded.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Bytes that tell the kind of a file.
const HEAD: u64 = 512;
/// A picture, upright and sRGB-encoded, and what was done to its values, in words.
#[derive(Debug)]
pub struct Picture {
    /// The picture.
    pub image: DynamicImage,
    /// What was done.
    pub notes: Vec<&'static str>,
}

/// Decodes a picture by its content, with limits on its size.
///
/// # Errors
/// [`PictureError`] when it is none, too large, damaged or cut off.
pub fn read_picture(path: &Path) -> Result<Picture, PictureError> {
    let source = Source::open(path)?;
    if guess_format(&source.bytes).ok() == Some(ImageFormat::Jpeg) && !is_whole(&source.bytes) {
        return Err(PictureError::CutOff { path: path.to_owned() });
    }
    let fail = |error| source.refusal(path, error);
    let mut decoder = source.decoder(path)?;
    // What cannot be understood says nothing.
    let orientation = decoder.orientation().ok();
    let mut image = DynamicImage::from_decoder(decoder).map_err(fail)?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    let several = several(&source.bytes, source.format);
    let linear = matches!(source.format, Some(ImageFormat::Hdr | ImageFormat::OpenExr));
    let mut notes = match &mut image {
        DynamicImage::ImageRgb32F(pixels) => in_range(pixels.chunks_exact_mut(3), linear),
        DynamicImage::ImageRgba32F(pixels) => in_range(pixels.chunks_exact_mut(4), linear),
        _ => Vec::new(),
    };
    notes.extend(several);
    Ok(Picture { image, notes })
}

/// Width and height of a picture as it will be read, without decoding it.
///
/// # Errors
/// As [`read_picture`], as far as its first bytes tell.
pub fn picture_size(path: &Path) -> Result<[u32; 2], PictureError> {
    use ::image::metadata::Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let source = Source::open(path)?;
    let mut decoder = source.decoder(path)?;
    let (width, height) = decoder.dimensions();
    let lies = matches!(decoder.orientation(), Ok(Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH));
    Ok(if lies { [height, width] } else { [width, height] })
}

/// Whether a file is a picture by its content, or by its name where a format cannot be told by content: of those that are read,
/// and of others, which are named when they are read.
pub(super) fn is_picture(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).is_ok_and(|file| file.take(HEAD).read_to_end(&mut head).is_ok());
    read && (format_of(path, &head).is_some() || unread(path, &head).is_some())
}

/// A file, read.
struct Source {
    bytes: Vec<u8>,
    format: Option<ImageFormat>,
}

impl Source {
    fn open(path: &Path) -> Result<Self, PictureError> {
        let unreadable = |source| PictureError::Unreadable { path: path.to_owned(), source };
        crate::file::check(path)?;
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
        read.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => PictureError::Missing { path: path.to_owned() },
            _ => unreadable(source),
        })?;
        let format = format_of(path, &bytes);
        Ok(Self { bytes, format })
    }

    fn decoder(&self, path: &Path) -> Result<impl ImageDecoder + '_, PictureError> {
        let fail = |error| self.refusal(path, error);
        let mut reader = ImageReader::new(Cursor::new(self.bytes.as_slice()));
        if let Some(format) = self.format {
            reader.set_format(format);
        }
        let mut limits = Limits::default();
        limits.max_image_width = Some(MAX_SIDE);
        limits.max_image_height = Some(MAX_SIDE);
        limits.max_alloc = Some(MAX_BYTES);
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(fail)?;
        let (width, height) = decoder.dimensions();
        if decoder.total_bytes() > MAX_BYTES || u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(PictureError::TooLarge { path: path.to_owned(), size: format!(" ({width}×{height})") });
        }
        Ok(decoder)
    }

    /// Width and height, however large.
    fn size(&self) -> Option<(u32, u32)> {
        let mut reader = ImageReader::with_format(Cursor::new(self.bytes.as_slice()), self.format?);
        reader.no_limits();
        reader.into_dimensions().ok()
    }

    /// What is wrong with the file, by what it is.
    fn refusal(&self, path: &Path, source: ImageError) -> PictureError {
        let path = path.to_owned();
        let found = sniff(&self.bytes[..self.bytes.len().min(HEAD as usize)], self.bytes.len() as u64);
        match (source, self.format) {
            (ImageError::Limits(_), _) => {
                let size = self.size().map_or_else(String::new, |(width, height)| format!(" ({width}×{height})"));
                PictureError::TooLarge { path, size }
            }
            // An icon may hold a PNG, but not every kind of it.
            (ImageError::Decoding(_), Some(ImageFormat::Ico))
                if self.bytes.windows(4).any(|four| four == b"\x89PNG") =>
            {
                PictureError::Kind { path, format: "ICO".to_owned() }
            }
            (ImageError::Unsupported(_), Some(format)) if format.reading_enabled() => {
                PictureError::Kind { path, format: format!("{format:?}").to_uppercase() }
            }
            (ImageError::Unsupported(_), Some(format)) => {
                PictureError::Format { path, format: format!("{format:?}").to_uppercase() }
            }
            (_, None) => match unread(&path, &self.bytes) {
                Some(format) => PictureError::Format { path, format: format.to_owned() },
                None => PictureError::NotAPicture { path, found },
            },
            // Only the name says that it is a picture.
            (_, Some(_)) if found != Content::Picture && found != Content::Unknown => {
                PictureError::NotAPicture { path, found }
            }
            (source, Some(_)) => PictureError::Damaged { path, source },
        }
    }
}

fn format_of(path: &Path, head: &[u8]) -> Option<ImageFormat> {
    let by_name = || ImageFormat::from_path(path).ok().filter(|_| unread_by_content(head).is_none());
    guess_format(head).ok().or_else(by_name)
}

/// What to say of a file that holds more than one picture, of which the first is read.
fn several(bytes: &[u8], format: Option<ImageFormat>) -> Option<&'static str> {
    let is = match format? {
        // Two are enough to know.
        ImageFormat::Gif => GifDecoder::new(Cursor::new(bytes))
            .is_ok_and(|decoder| decoder.into_frames().take(2).flatten().count() == 2),
        // Said before the first pixels, in a chunk that begins with the number of frames.
        ImageFormat::Png => {
            let pixels = bytes.windows(4).position(|four| four == b"IDAT").unwrap_or(0);
            bytes[..pixels].windows(8).any(|eight| eight.starts_with(b"acTL") && eight[4..] > [0, 0, 0, 1][..])
        }
        // A flag of the extended format.
        ImageFormat::WebP => {
            bytes.get(12..16) == Some(b"VP8X".as_slice()) && bytes.get(20).is_some_and(|flags| flags & 2 != 0)
        }
        ImageFormat::Tiff => return has_pages(bytes).then_some("the first of its pages"),
        _ => false,
    };
    is.then_some("the first picture of an animation")
}

/// Whether a TIFF has another page: the list of what is known of the first one ends with the place of the next list.
fn has_pages(bytes: &[u8]) -> bool {
    let number = |at: usize, bytes_of: usize| {
        let field = bytes.get(at..at.checked_add(bytes_of)?)?.iter();
        let add = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
        Some(if bytes.starts_with(b"II") { field.rev().fold(0, add) } else { field.fold(0, add) })
    };
    let next = number(4, 4).and_then(|list| number(list + 2 + 12 * number(list, 2)?, 4));
    // Long ones count otherwise.
    number(2, 2) == Some(42) && next.is_some_and(|next| next != 0)
}

/// Whether a JPEG ends as it must: a decoder fills what is missing with grey and says nothing.
fn is_whole(bytes: &[u8]) -> bool {
    // Behind a marker come a segment with its length and perhaps coded data, in which only these follow a byte of ones.
    let is_marker = |two: &[u8]| two[0] == 0xff && !matches!(two[1], 0x00 | 0x01 | 0xd0..=0xd8 | 0xff);
    let mut rest = bytes;
    while let Some(place) = rest.windows(2).position(is_marker) {
        if rest[place + 1] == 0xd9 {
            return true;
        }
        let length = rest.get(place + 2..place + 4).map_or(0, |two| (usize::from(two[0]) << 8) | usize::from(two[1]));
        rest = rest.get(place + 2 + length..).unwrap_or_default();
    }
    false
}

/// Brings the colours of floating-point pixels into `[0, 1]`, from light to levels where they are `linear`; says what was
/// done.
fn in_range<'a>(pixels: impl Iterator<Item = &'a mut [f32]>, linear: bool) -> Vec<&'static str> {
    let mut cut = false;
    for value in pixels.flat_map(|pixel| pixel.iter_mut().take(3)) {
        cut |= !(0.0..=1.0).contains(value);
        *value = if linear { encoded(*value) } else { *value };
    }
    let light = linear.then_some("linear light made sRGB");
    light.into_iter().chain(cut.then_some("values outside of [0, 1] cut")).collect()
}

#[cfg(test)]
mod tests {
    use ::image::{ImageEncoder as _, Rgb, Rgb32FImage, RgbImage};

    use super::*;

    /// Red above, blue below; 4 columns, 6 rows.
    fn flag() -> DynamicImage {
        RgbImage::from_fn(4, 6, |_, y| if y < 3 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) }).into()
    }

    fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// EXIF of one entry: the orientation.
    fn exif(orientation: u8) -> Vec<u8> {
        let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        exif
    }

    /// A TIFF of 8-bit colours with an orientation.
    fn tiff(image: &RgbImage, orientation: u16) -> Vec<u8> {
        let (width, height) = image.dimensions();
        let strip = image.as_raw().len() as u32;
        let entries: [(u16, u16, u32, u32); 10] = [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 2),
            (273, 4, 1, 8),
            (274, 3, 1, u32::from(orientation)),
            (277, 3, 1, 3),
            (278, 4, 1, height),
            (279, 4, 1, strip),
        ];
        let mut bytes = b"II*\0".to_vec();
        bytes.extend((8 + strip).to_le_bytes());
        bytes.extend(image.as_raw());
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn pictures_of_cameras_stand_upright() {
        let folder = tempfile::tempdir().unwrap();
        let rgb = flag().to_rgb8();
        let mut files = vec![("a.tiff", tiff(&rgb, 6))];
        let mut jpeg = Vec::new();
        let mut encoder = ::image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 100);
        encoder.set_exif_metadata(exif(6)).unwrap();
        encoder.write_image(rgb.as_raw(), 4, 6, ::image::ExtendedColorType::Rgb8).unwrap();
        let mut png = Vec::new();
        let mut encoder = ::image::codecs::png::PngEncoder::new(&mut png);
        encoder.set_exif_metadata(exif(6)).unwrap();
        encoder.write_image(rgb.as_raw(), 4, 6, ::image::ExtendedColorType::Rgb8).unwrap();
        let mut webp = Vec::new();
        let mut encoder = ::image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
        encoder.set_exif_metadata(exif(6)).unwrap();
        encoder.write_image(rgb.as_raw(), 4, 6, ::image::ExtendedColorType::Rgb8).unwrap();
        files.extend([("a.jpg", jpeg), ("a.png", png), ("a.webp", webp)]);
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(picture_size(&path).unwrap(), [6, 4], "{name}");
            let image = read_picture(&path).unwrap().image.to_rgb8();
            assert_eq!(image.dimensions(), (6, 4), "{name}");
            let (left, right) = (image.get_pixel(0, 1).0, image.get_pixel(5, 2).0);
            assert!(left[2] > 200 && left[0] < 60 && right[0] > 200 && right[2] < 60, "{name}: {left:?} {right:?}");
        }
    }

    #[test]
    fn of_several_pictures_in_one_file_the_first_is_read_and_that_is_told() {
        use ::image::codecs::gif::GifEncoder;
        let folder = tempfile::tempdir().unwrap();
        let animated = |frames: usize| {
            let mut bytes = Vec::new();
            let mut encoder = GifEncoder::new(&mut bytes);
            encoder.encode_frames((0..frames).map(|_| ::image::Frame::new(flag().to_rgba8()))).unwrap();
            drop(encoder);
            bytes
        };
        let png = |frames: Option<u8>| {
            let mut bytes = written(&flag(), ImageFormat::Png);
            if let Some(frames) = frames {
                let mut chunk = [b"acTL".as_slice(), &[0, 0, 0, frames], &[0; 4]].concat();
                chunk.extend(crc32fast::hash(&chunk).to_be_bytes());
                bytes.splice(33..33, [&[0, 0, 0, 8][..], chunk.as_slice()].concat());
            }
            bytes
        };
        let two_pages = |mut bytes: Vec<u8>| {
            let end = bytes.len() - 4;
            bytes[end] = 8;
            bytes
        };
        let (film, rgb) = ("the first picture of an animation", flag().to_rgb8());
        let webp = written(&flag(), ImageFormat::WebP);
        let files = [
            ("two.gif", animated(2), Some(film)),
            ("one.gif", animated(1), None),
            ("two.png", png(Some(2)), Some(film)),
            ("one.png", png(None), None),
            ("still.webp", webp, None),
            ("two.tiff", two_pages(tiff(&rgb, 1)), Some("the first of its pages")),
            ("one.tiff", tiff(&rgb, 1), None),
        ];
        for (name, bytes, told) in files {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let picture = read_picture(&path).unwrap();
            assert_eq!(picture.notes, told.into_iter().collect::<Vec<_>>(), "{name}");
            assert_eq!(picture.image.to_rgb8().dimensions(), (4, 6), "{name}");
        }
        let mut moving = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0".to_vec();
        assert_eq!(several(&moving, Some(ImageFormat::WebP)), Some(film));
        moving[20] = 0x10;
        assert_eq!(several(&moving, Some(ImageFormat::WebP)), None);
        assert!(!has_pages(b"II*\0\xff\xff\xff\xff") && !has_pages(b"MM"));
    }

    #[test]
    fn what_was_cut_off_is_called_so_in_every_format() {
        use ImageFormat::{Bmp, Farbfeld, Gif, Jpeg, Png, Pnm, Qoi, Tga, Tiff, WebP};
        let folder = tempfile::tempdir().unwrap();
        let noise = |x: u32, y: u32| Rgb([x * y, x * 7 + y, x ^ y].map(|value| (value * 37 % 256) as u8));
        let noise = DynamicImage::from(RgbImage::from_fn(64, 64, noise));
        for format in [Jpeg, Png, WebP, Tiff, Bmp, Gif, Pnm, Qoi, Tga, Farbfeld] {
            let path = folder.path().join("cut").with_extension(format.extensions_str()[0]);
            let image = if format == Farbfeld { DynamicImage::from(noise.to_rgba16()) } else { noise.clone() };
            let whole = written(&image, format);
            std::fs::write(&path, &whole).unwrap();
            read_picture(&path).unwrap();
            std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            let error = read_picture(&path).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("cut off") && text.ends_with(path.to_str().unwrap()), "{format:?}: {text}");
        }
        let mut thumbnail = written(&noise, Jpeg);
        // A picture inside the header of another has an end of its own.
        let inner = [[0xff, 0xe1, 0x00, 0x06].as_slice(), &[0xff, 0xd8, 0xff, 0xd9]].concat();
        thumbnail.splice(2..2, inner);
        assert!(is_whole(&thumbnail));
        thumbnail.truncate(thumbnail.len() / 2);
        assert!(!is_whole(&thumbnail) && !is_whole(b"") && !is_whole(&[0xff, 0xd8, 0xff]));
    }

    #[test]
    fn linear_light_becomes_levels_and_what_is_too_bright_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (name, format) in [("a.hdr", ImageFormat::Hdr), ("a.exr", ImageFormat::OpenExr)] {
            let path = folder.path().join(name);
            for (value, level, told) in [(0.213_9, 127..=128, false), (0.001, 3..=4, false), (4.0, 255..=255, true)] {
                let light = DynamicImage::from(Rgb32FImage::from_pixel(4, 4, Rgb([value; 3])));
                std::fs::write(&path, written(&light, format)).unwrap();
                let picture = read_picture(&path).unwrap();
                let found = picture.image.to_rgb8().get_pixel(2, 2).0[1];
                assert!(level.contains(&found), "{name}: {value} became {found}");
                assert_eq!(picture.notes.len(), 1 + usize::from(told), "{:?}", picture.notes);
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let avif = b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf".as_slice();
        let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".as_slice();
        let mut huge = written(&flag(), ImageFormat::Png);
        // Width and height in the first chunk, and its checksum.
        huge[16..24].copy_from_slice(&[0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20]);
        let checksum = crc32fast::hash(&huge[12..29]).to_be_bytes();
        huge[29..33].copy_from_slice(&checksum);
        // Few bytes as they are packed and as levels, but each pixel becomes three floats to be resized.
        let mut grey = huge.clone();
        grey[25] = 0;
        let checksum = crc32fast::hash(&grey[12..29]).to_be_bytes();
        grey[29..33].copy_from_slice(&checksum);
        let png = written(&flag(), ImageFormat::Png);
        let mut icon = b"\0\0\x01\0\x01\0\x04\x06\0\0\0\0\x18\0".to_vec();
        icon.extend((png.len() as u32).to_le_bytes());
        icon.extend(22_u32.to_le_bytes());
        icon.extend(&png);
        let cases: [(&str, &[u8], &str); 12] = [
            ("scraped.jpg", avif, "this is a picture of the format AVIF, which is not read"),
            ("phone.jpg", heic, "this is a picture of the format HEIC, which is not read"),
            ("scan.png", b"\0\0\0\x0cjP  \r\n\x87\n", "the format JPEG 2000, which is not read"),
            ("new.jxl", b"\xff\x0a\x10", "the format JPEG XL, which is not read"),
            ("drawing.svg", b"<svg>", "the format SVG, which is not read"),
            ("packed.JPEG", b"\x1f\x8b\x08\0rest of it", "a gzip archive, but no picture: unpack it"),
            ("empty.png", b"", "an empty file"),
            ("poem.png", b"to be or not to be", "a text file"),
            ("net.png", b"\x80\x02}q\0.", "give it to --classifier or --generator"),
            ("huge.png", &huge, "too large (20000×20000), for a side may have at most 20000 pixels"),
            ("grey.png", &grey, "too large (20000×20000)"),
            ("a.ico", &icon, "a form of ICO that is not read: save it as PNG"),
        ];
        for (name, bytes, expected) in cases {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let text = read_picture(&path).unwrap_err().to_string();
            assert!(text.contains(expected), "{name}: {text}");
        }
        let text = read_picture(folder.path()).unwrap_err().to_string();
        assert!(text.contains("a folder, not a file"), "{text}");
    }

    #[test]
    fn a_picture_is_read_by_what_it_is_and_not_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        let red = DynamicImage::from(RgbImage::from_pixel(4, 4, Rgb([255, 0, 0])));
        for format in [ImageFormat::WebP, ImageFormat::Png, ImageFormat::Bmp] {
            std::fs::write(&path, written(&red, format)).unwrap();
            assert_eq!(read_picture(&path).unwrap().image.to_rgb8(), red.to_rgb8(), "{format:?}");
        }
    }

    #[test]
    fn inks_become_colours() {
        // One block of each of four inks, as Adobe's programs write them: 255 is none of an ink, so this is red.
        let segment = |marker: u8, body: &[u8]| [&[0xff, marker, 0, 2 + body.len() as u8], body].concat();
        let steps = [&[0, 8][..], &[1; 63]].concat();
        let inks: Vec<u8> = (1..=4).flat_map(|ink| [ink, 0x11, 0]).collect();
        let scan: Vec<u8> = (1..=4).flat_map(|ink| [ink, 0]).collect();
        let bytes = [
            vec![0xff, 0xd8],
            segment(0xee, b"Adobe\0\x64\0\0\0\0\0"),
            segment(0xdb, &steps),
            segment(0xc0, &[&[8, 0, 8, 0, 8, 4][..], &inks].concat()),
            // Means of 7 bits (255) and of 8 bits (0), and no waves.
            segment(0xc4, &[&[0, 1, 1][..], &[0; 14], &[7, 8]].concat()),
            segment(0xc4, &[&[0x10, 1][..], &[0; 15], &[0]].concat()),
            segment(0xda, &[&[4][..], &scan, &[0, 63, 0]].concat()),
            vec![0x7f, 0x4f, 0xe9, 0xfc, 0xfe, 0xff, 0xd9],
        ]
        .concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inks.jpg");
        std::fs::write(&path, bytes).unwrap();
        let [red, green, blue] = read_picture(&path).unwrap().image.to_rgb8().get_pixel(3, 3).0;
        assert!(red > 250 && green < 5 && blue < 5, "{red} {green} {blue}");
    }
}
