//! Work that is spread over several runs, of one machine or of many: which of its places are whose.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Most runs that work is spread over.
pub const MAX_SHARDS: u32 = 10_000;

/// One of several runs: the `k`-th of `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    /// Its number, from 1 to `n`.
    pub k: u32,
    /// How many there are.
    pub n: u32,
}

impl Shard {
    /// Its places of `all`. Each gets whole batches, as many as every other one or one more, so that all of them have the
    /// batches of the whole. Where there are fewer batches than runs, the last runs get nothing.
    #[must_use]
    pub fn cut(self, all: &Range<usize>, batch: usize) -> Range<usize> {
        let (before, n, batch) = (self.k.saturating_sub(1) as usize, self.n.max(1) as usize, batch.max(1));
        let batches = all.len().div_ceil(batch);
        let (each, more) = (batches / n, batches % n);
        let place = |before: usize| (all.start + batch * (each * before + before.min(more))).min(all.end);
        place(before)..place(before + 1)
    }

    /// All of them, in order.
    pub fn all(n: u32) -> impl Iterator<Item = Self> {
        (1..=n).map(move |k| Self { k, n })
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.k, self.n)
    }
}

/// What one run makes of something long, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Whose it is.
    #[serde(flatten)]
    pub shard: Shard,
    /// The command whose work it is a share of.
    pub command: String,
    /// Places of the whole.
    pub all: Range<usize>,
    /// Pictures of every batch of the whole but the last.
    pub batch: usize,
    /// Places of this share.
    pub own: Range<usize>,
    /// Pictures that came of it, once all of its places are done and its batches wait to be put together with others. Fewer
    /// than places are those that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<usize>,
}

impl Share {
    /// The share of a run that has just begun.
    #[must_use]
    pub fn new(shard: Shard, command: &str, all: Range<usize>, batch: usize) -> Self {
        let own = shard.cut(&all, batch);
        Self { shard, command: command.to_owned(), all, batch, own, ended: None }
    }

    /// Whether nothing is left for it, because there are fewer batches than runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Whether its places are those that it would get.
    #[must_use]
    pub(super) fn is_consistent(&self) -> bool {
        let Shard { k, n } = self.shard;
        (1..=n).contains(&k) && n <= MAX_SHARDS && self.own == self.shard.cut(&self.all, self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_in_one_share_and_every_share_ends_where_a_batch_ends() {
        for (start, count) in [(0, 1), (0, 7), (3, 64), (10, 257), (0, 1000)] {
            for batch in [1, 2, 5, 64, 2000] {
                for n in [1, 2, 3, 4, 9, 100, MAX_SHARDS] {
                    let all = start..start + count;
                    let mut next = start;
                    let mut batches = Vec::new();
                    for shard in Shard::all(n) {
                        let own = shard.cut(&all, batch);
                        assert_eq!(own.start, next, "{shard} of {all:?} in batches of {batch}");
                        assert!((own.start - start).is_multiple_of(batch) || own.is_empty(), "{shard}: {own:?}");
                        next = own.end;
                        batches.push(own.len().div_ceil(batch));
                        let share = Share::new(shard, "generate", all.clone(), batch);
                        assert!(share.is_consistent() && share.is_empty() == own.is_empty());
                    }
                    assert_eq!(next, all.end, "{n} shares of {all:?} in batches of {batch}");
                    assert!(batches.is_sorted_by(|a, b| a >= b) && batches[0] - batches[batches.len() - 1] <= 1);
                }
            }
        }
    }

    #[test]
    fn a_share_survives_a_file_and_one_that_was_edited_is_known() {
        let share = Share::new(Shard { k: 2, n: 3 }, "refine", 5..105, 16);
        assert_eq!((share.shard.to_string().as_str(), share.own.clone()), ("2/3", 53..85));
        let text = serde_json::to_string(&share).unwrap();
        assert_eq!(serde_json::from_str::<Share>(&text).unwrap(), share);
        for edited in [text.replace("\"k\":2", "\"k\":3"), text.replace("\"k\":2", "\"k\":0"), text.replace("85", "84")]
        {
            assert!(!serde_json::from_str::<Share>(&edited).unwrap().is_consistent(), "{edited}");
        }
    }
}
