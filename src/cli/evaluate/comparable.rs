//! Which numbers of two evaluations compare: those for which everything here agrees.

use serde_json::{Value, json};

use super::reference::Described;
use super::table::Table;
use crate::data::Sight;
use crate::file::sha256;
use crate::metrics::pairs::{PIXELS_PER_DEGREE, WINDOW};
use crate::metrics::{BINS, NEIGHBOURS, PARTS, SUBSET, SUBSETS};
use crate::zoo::InceptionDialect;

/// Digits of a hash that says so.
const HASH: usize = 16;

impl Table<'_> {
    /// Everything that must agree where numbers of the same name are compared, but for how many pictures a set has, and a hash
    /// of it. Names, files and devices do not decide.
    pub(super) fn comparable(&self) -> Value {
        let (_, sha256, features) = self.extractor;
        let Described { pictures, is_statistics, count, identity, .. } = self.reference;
        let mut all = json!({
            "extractor_sha256": sha256,
            "features": features,
            "resize": self.resize,
            "height": self.size[0],
            "width": self.size[1],
            "levels": Sight::LEVELS,
            "real": { "sha256": identity, "pictures": pictures, "statistics": is_statistics, "count": count },
            "protocol": protocol(self.lpips, self.dialect),
        });
        all["hash"] = short(&all);
        all
    }
}

/// How numbers are computed, where there is a choice. `lpips`: SHA-256 of its two files; `way`: of pictures to Inception-2015.
pub(super) fn protocol(lpips: Option<&[String; 2]>, way: Option<InceptionDialect>) -> Value {
    json!({
        "dialect": dialect(way),
        "neighbours": { "precision_recall": NEIGHBOURS.0, "density_coverage": NEIGHBOURS.1 },
        "kernel": { "subsets": SUBSETS, "subset": SUBSET },
        "inception_parts": PARTS,
        "inception_order": "FNV-1a of features and logits",
        "calibration_bins": BINS,
        "ssim_window": WINDOW,
        "flip_pixels_per_degree": PIXELS_PER_DEGREE,
        "lpips": lpips.map(|[vgg, linear]| json!({ "vgg_sha256": vgg, "linear_sha256": linear })),
        "confidence": 0.95,
    })
}

/// A dialect in all that it decides.
pub(super) fn dialect(way: Option<InceptionDialect>) -> Option<Value> {
    way.map(|dialect| {
        json!({
            "name": dialect.key(),
            "resize": dialect.resize_in_words(),
            "scaling": dialect.scaling_in_words(),
            "logits": "without bias",
        })
    })
}

/// The beginning of the hash of what is written so.
pub(super) fn short(value: &Value) -> Value {
    sha256(&[value.to_string().as_bytes()]).chars().take(HASH).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::evaluate::table::COMPARABLE;
    use crate::cli::evaluate::table::tests::set;
    use crate::metrics::{Real, compare};

    #[test]
    fn numbers_compare_where_everything_that_decides_it_agrees() {
        let (real, sets) = (Real::of(set("real", 0.0).features), [set("a", 0.5)]);
        let (reports, reference) =
            (compare(&real, &sets, &mut |_, _| true).unwrap(), Described::of_some("real.npz", 12));
        let table = Table {
            extractor: ("judge", "0123", 2),
            dialect: None,
            device: "a device",
            size: [8, 16],
            resize: "none",
            reference: &reference,
            classes: &[],
            sets: &sets,
            fitted: &[0],
            left_out: &[Vec::new()],
            reports: &reports,
            paired: &[None],
            lpips: None,
        };
        let hashes = |table: &Table<'_>| {
            let json = table.json();
            assert_eq!(json[COMPARABLE]["hash"].as_str().unwrap().len(), HASH, "{json}");
            (json["comparable"]["hash"].clone(), json["sets"][0]["comparable"].clone())
        };
        let own = hashes(&table);
        let elsewhere = Described { files: "copy.npz".to_owned(), ..reference.clone() };
        assert_eq!(hashes(&Table { reference: &elsewhere, device: "another", ..table }), own);
        let others = [
            Described { identity: "ef".to_owned(), ..reference.clone() },
            Described { is_statistics: true, ..reference.clone() },
        ];
        for reference in &others {
            assert_ne!(hashes(&Table { reference, ..table }).0, own.0, "{reference:?}");
        }
        for other in [
            Table { extractor: ("judge", "4567", 2), ..table },
            Table { size: [16, 8], ..table },
            Table { resize: "bilinear", ..table },
            Table { dialect: Some(InceptionDialect::Clean), ..table },
        ] {
            assert_ne!(hashes(&other).0, own.0);
        }
        let mut fewer = sets.clone();
        fewer[0].features = fewer[0].features.at(&[0, 1, 2]);
        fewer[0].labels = None;
        let found = hashes(&Table { sets: &fewer, ..table });
        assert!(found.0 == own.0 && found.1 != own.1, "fewer pictures have other distances");
        let known = Described { is_statistics: true, pictures: 0, ..reference };
        assert_eq!(known.to_string(), "mean and covariance of 12 real ones (real.npz)");
        let unknown = Described { count: None, pictures: 5, ..known };
        assert_eq!(
            unknown.to_string(),
            "mean and covariance of nobody knows how many real ones, and 5 of them (real.npz)"
        );
    }
}
