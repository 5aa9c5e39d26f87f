//! `--shard k/n`: one of several runs that share the work, and what stays of it for `lapidary merge`.

use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::edit::word;
use super::ending::Whole;
use super::say::say_err;
use super::usage::SHARD;
use super::{CliError, DEFAULT_OUT, flags};
use crate::data::PARTS;
use crate::export::{self, MAX_SHARDS, SHARED, Shard, Share};
use crate::session::document::Document;
use crate::units::counted;

/// Which of several runs this is, if it was said.
pub(super) fn given(matches: &ArgMatches) -> Result<Option<Shard>, CliError> {
    flags::given(matches, SHARD).map(parse).transpose()
}

/// `2/8`: the second of eight.
fn parse(text: &str) -> Result<Shard, CliError> {
    let wrong = || CliError::Shard { found: text.to_owned() };
    let (k, n) = text.split_once('/').ok_or_else(wrong)?;
    let number = |part: &str| part.trim().parse::<u32>().map_err(|_no_number| wrong());
    let shard = Shard { k: number(k)?, n: number(n)? };
    if (1..=shard.n).contains(&shard.k) && shard.n <= MAX_SHARDS { Ok(shard) } else { Err(wrong()) }
}

/// The folder of a share: that of the results with `-k-of-n` behind its name, so that all runs are given the same.
pub(super) fn folder_of(out: Option<&Path>, shard: Shard) -> PathBuf {
    let (out, Shard { k, n }) = (out.unwrap_or_else(|| Path::new(DEFAULT_OUT)), shard);
    match out.file_name() {
        Some(name) => {
            let mut name = name.to_owned();
            name.push(format!("-{k}-of-{n}"));
            out.with_file_name(name)
        }
        None => out.join(format!("{k}-of-{n}")),
    }
}

/// Whether there is something to do; where there are fewer batches than runs it is said that there is not.
pub(super) fn has_work(share: Option<&Share>) -> bool {
    let Some(Share { shard, all, batch, .. }) = share.filter(|share| share.is_empty()) else { return true };
    let pictures = counted(all.len(), "picture");
    let batches = match all.len().div_ceil(*batch) {
        1 => "one batch, which shard 1 makes".to_owned(),
        n => format!("{n} batches of up to {batch}, which the first {n} shards make"),
    };
    say_err(&format!(
        "nothing is left for shard {shard}: {pictures} are {batches}; lapidary merge needs no folder of it"
    ));
    false
}

/// Bytes of a share on the disk at least, of a whole that needs `bytes`: its batches, which are not put together yet.
pub(super) fn bytes(share: Option<&Share>, bytes: u64) -> u64 {
    share.map_or(bytes, |share| {
        let part = u128::from(bytes) * share.own.len() as u128 / (2 * share.all.len().max(1)) as u128;
        u64::try_from(part).unwrap_or(u64::MAX)
    })
}

/// A line about a share, for a dry run.
pub(super) fn describe(share: &Share) -> String {
    let Share { shard, own, all, .. } = share;
    let pictures = counted(all.len(), "picture");
    format!("{:<11}{shard}: places {}..{} ({} of {pictures})", "shard", own.start, own.end, own.len())
}

/// What a share that is done comes to: its batches stay as they are, beside a description of the whole. `done` are its pictures.
pub(super) fn kept(share: &Share, folder: &Path, document: Document, (done, device): (usize, &str)) -> Whole<'static> {
    let (shard, [description]) = (share.shard, SHARED);
    let (n, text) = (shard.n, folder.display().to_string());
    let base = text.strip_suffix(&format!("-{}-of-{n}", shard.k)).map(|base| word(Path::new(base)));
    let hint = base.map_or_else(String::new, |base| {
        format!("\nput all {n} together, once they are done, with: lapidary merge {base}-*-of-{n} --out {base}")
    });
    Whole {
        files: vec![PARTS, description],
        names: export::names(&SHARED, &[]),
        write: Box::new(move |folder| export::write_document(&folder.join(description), &document)),
        said: format!("shard {shard}: {} on {device}", counted(done, "picture")),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_a_part_of_a_number_of_parts() {
        assert_eq!(parse("2/8").unwrap(), Shard { k: 2, n: 8 });
        assert_eq!(parse(" 10000 / 10000").unwrap(), Shard { k: 10_000, n: 10_000 });
        for wrong in ["", "2", "0/8", "9/8", "2/0", "1/10001", "-1/8", "2/8/1", "a/b", "1.5/3", "2 of 8"] {
            let text = parse(wrong).unwrap_err().to_string();
            assert!(text.starts_with(&format!("--shard is {wrong:?}, but must be ")), "{text}");
        }
    }

    #[test]
    fn every_share_has_a_folder_of_its_own() {
        let of = |out| folder_of(out, Shard { k: 2, n: 8 });
        assert_eq!(of(None), Path::new("lapidary-out-2-of-8"));
        assert_eq!(of(Some(Path::new("a/b.c/"))), Path::new("a/b.c-2-of-8"));
        assert_eq!(of(Some(Path::new(".."))), Path::new("../2-of-8"));
    }

    #[test]
    fn a_share_needs_the_room_of_its_batches_alone() {
        let share = Share::new(Shard { k: 1, n: 4 }, "generate", 0..100, 25);
        assert_eq!([bytes(None, 800), bytes(Some(&share), 800)], [800, 100]);
        assert!(describe(&share).ends_with("1/4: places 0..25 (25 of 100 pictures)"), "{}", describe(&share));
    }
}
