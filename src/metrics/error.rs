//! Why a number cannot be had, each in one sentence.

/// Why a number about pictures cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// Too few pictures.
    #[error("{metric} needs at least {needed} pictures of a set, but there are {found}: give more")]
    TooFew {
        /// What was to be computed.
        metric: &'static str,
        /// Fewest pictures.
        needed: usize,
        /// Pictures that there are.
        found: usize,
    },
    /// Features that are no numbers.
    #[error(
        "picture {place} of {count} has features that are not finite numbers: its values, or the weights of the network that looks at it, are broken"
    )]
    NotFinite {
        /// Place of the first such picture.
        place: usize,
        /// Pictures in all.
        count: usize,
    },
    /// Features of two networks.
    #[error(
        "one set has {a} features a picture and the other {b}: both must come from the same layer of the same network"
    )]
    Width {
        /// Of one set.
        a: usize,
        /// Of the other.
        b: usize,
    },
    /// Every picture has the same features.
    #[error(
        "all {count} pictures of a set have the same features, so they are one picture: there is nothing to compare"
    )]
    Constant {
        /// Pictures of the set.
        count: usize,
    },
    /// Whoever waits for it does not any more.
    #[error("stopped before it was done")]
    Stopped,
}
