//! A training of the smallest size.

use std::path::{Path, PathBuf};

/// A consistency model of the smallest size, and five pictures in two folders.
pub(crate) fn prepare(folder: &Path) -> PathBuf {
    for (i, class) in [0, 1, 0, 1, 1].into_iter().enumerate() {
        let place = folder.join(format!("pictures/{class}"));
        std::fs::create_dir_all(&place).expect("it is ours");
        let level = |x: u32, y: u32| image::Rgb([0, 90, 180].map(|c| (c + x * 7 + y * 11 + i as u32 * 31) as u8));
        image::RgbImage::from_fn(8, 8, level).save(place.join(format!("{i}.png"))).expect("it is ours");
    }
    let config = folder.join("tiny.toml");
    let text = format!(
        "name = 'tiny'
        data = {{ pictures = ['{}'], resolution = 8 }}
        objective = {{ kind = 'consistency-training', grid = {{ kind = 'progressive', last = 4 }} }}
        course = {{ steps = 400, batch = 2, averages = [0.9] }}
        output = {{ every = 2, keep = 1 }}
        [network.unet]
        model_channels = 32
        num_res_blocks = 1
        channel_mult = [1]
        attention_downsample = []
        num_heads = 1",
        folder.join("pictures").display()
    );
    std::fs::write(&config, text).expect("it is ours");
    config
}
