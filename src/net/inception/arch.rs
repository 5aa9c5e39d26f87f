//! Which layers the network consists of, in the order in which blocks join their branches.

/// Height and width of the pictures that it sees.
pub(super) const SIDE: usize = 299;
/// Colour channels of a picture.
pub(super) const CHANNELS: usize = 3;

/// A convolution without a bias, with a batch norm and a ReLU behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filter {
    /// Within its block.
    pub(super) name: &'static str,
    /// Channels that it puts out.
    pub(super) width: usize,
    /// Height and width.
    pub(super) kernel: [usize; 2],
    pub(super) stride: usize,
    /// Zeros on both sides of the height, and of the width.
    pub(super) padding: [usize; 2],
}

impl Filter {
    /// Padded by half its kernel.
    const fn same(name: &'static str, width: usize, kernel @ [h, w]: [usize; 2]) -> Self {
        Self { name, width, kernel, stride: 1, padding: [h / 2, w / 2] }
    }

    const fn pointwise(name: &'static str, width: usize) -> Self {
        Self::same(name, width, [1, 1])
    }

    /// 3x3, not padded.
    const fn bare(name: &'static str, width: usize, stride: usize) -> Self {
        Self { name, width, kernel: [3, 3], stride, padding: [0, 0] }
    }

    /// `[H, W]` that a map of such a size becomes.
    pub(super) const fn output(self, [h, w]: [usize; 2]) -> [usize; 2] {
        let ([kernel_h, kernel_w], [padding_h, padding_w]) = (self.kernel, self.padding);
        [(h + 2 * padding_h - kernel_h) / self.stride + 1, (w + 2 * padding_w - kernel_w) / self.stride + 1]
    }
}

/// What a branch does before its layers, over 3x3 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// Nothing.
    None,
    /// Means; what lies outside the map is not counted.
    Mean,
    /// Maxima.
    Max,
    /// Maxima of every second pixel, not padded.
    Halve,
}

/// A chain of layers, whose result the layers of a fork see each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) pool: Pool,
    pub(super) layers: Vec<Filter>,
    pub(super) fork: Vec<Filter>,
}

impl Branch {
    fn of(layers: &[Filter]) -> Self {
        Self::behind(Pool::None, layers)
    }

    fn behind(pool: Pool, layers: &[Filter]) -> Self {
        Self { pool, layers: layers.to_vec(), fork: Vec::new() }
    }

    fn forked(layers: &[Filter], fork: [Filter; 2]) -> Self {
        Self { fork: fork.to_vec(), ..Self::of(layers) }
    }
}

/// Layers before the blocks, and whether maxima of every second pixel follow.
pub(super) const STEM: [(Filter, bool); 5] = [
    (Filter::bare("Conv2d_1a_3x3", 32, 2), false),
    (Filter::bare("Conv2d_2a_3x3", 32, 1), false),
    (Filter::same("Conv2d_2b_3x3", 64, [3, 3]), true),
    (Filter::pointwise("Conv2d_3b_1x1", 80), false),
    (Filter::bare("Conv2d_4a_3x3", 192, 1), true),
];

/// The blocks and their branches.
pub(super) fn blocks() -> Vec<(&'static str, Vec<Branch>)> {
    vec![
        ("Mixed_5b", at_35(32)),
        ("Mixed_5c", at_35(64)),
        ("Mixed_5d", at_35(64)),
        ("Mixed_6a", to_17()),
        ("Mixed_6b", at_17(128)),
        ("Mixed_6c", at_17(160)),
        ("Mixed_6d", at_17(160)),
        ("Mixed_6e", at_17(192)),
        ("Mixed_7a", to_8()),
        ("Mixed_7b", at_8(Pool::Mean)),
        // Of the file of 2015; networks that were trained later have means here, too.
        ("Mixed_7c", at_8(Pool::Max)),
    ]
}

fn at_35(pooled: usize) -> Vec<Branch> {
    vec![
        Branch::of(&[Filter::pointwise("branch1x1", 64)]),
        Branch::of(&[Filter::pointwise("branch5x5_1", 48), Filter::same("branch5x5_2", 64, [5, 5])]),
        Branch::of(&[
            Filter::pointwise("branch3x3dbl_1", 64),
            Filter::same("branch3x3dbl_2", 96, [3, 3]),
            Filter::same("branch3x3dbl_3", 96, [3, 3]),
        ]),
        Branch::behind(Pool::Mean, &[Filter::pointwise("branch_pool", pooled)]),
    ]
}

fn to_17() -> Vec<Branch> {
    vec![
        Branch::of(&[Filter::bare("branch3x3", 384, 2)]),
        Branch::of(&[
            Filter::pointwise("branch3x3dbl_1", 64),
            Filter::same("branch3x3dbl_2", 96, [3, 3]),
            Filter::bare("branch3x3dbl_3", 96, 2),
        ]),
        Branch::behind(Pool::Halve, &[]),
    ]
}

fn at_17(inner: usize) -> Vec<Branch> {
    vec![
        Branch::of(&[Filter::pointwise("branch1x1", 192)]),
        Branch::of(&[
            Filter::pointwise("branch7x7_1", inner),
            Filter::same("branch7x7_2", inner, [1, 7]),
            Filter::same("branch7x7_3", 192, [7, 1]),
        ]),
        Branch::of(&[
            Filter::pointwise("branch7x7dbl_1", inner),
            Filter::same("branch7x7dbl_2", inner, [7, 1]),
            Filter::same("branch7x7dbl_3", inner, [1, 7]),
            Filter::same("branch7x7dbl_4", inner, [7, 1]),
            Filter::same("branch7x7dbl_5", 192, [1, 7]),
        ]),
        Branch::behind(Pool::Mean, &[Filter::pointwise("branch_pool", 192)]),
    ]
}

fn to_8() -> Vec<Branch> {
    vec![
        Branch::of(&[Filter::pointwise("branch3x3_1", 192), Filter::bare("branch3x3_2", 320, 2)]),
        Branch::of(&[
            Filter::pointwise("branch7x7x3_1", 192),
            Filter::same("branch7x7x3_2", 192, [1, 7]),
            Filter::same("branch7x7x3_3", 192, [7, 1]),
            Filter::bare("branch7x7x3_4", 192, 2),
        ]),
        Branch::behind(Pool::Halve, &[]),
    ]
}

fn at_8(pool: Pool) -> Vec<Branch> {
    vec![
        Branch::of(&[Filter::pointwise("branch1x1", 320)]),
        Branch::forked(
            &[Filter::pointwise("branch3x3_1", 384)],
            [Filter::same("branch3x3_2a", 384, [1, 3]), Filter::same("branch3x3_2b", 384, [3, 1])],
        ),
        Branch::forked(
            &[Filter::pointwise("branch3x3dbl_1", 448), Filter::same("branch3x3dbl_2", 384, [3, 3])],
            [Filter::same("branch3x3dbl_3a", 384, [1, 3]), Filter::same("branch3x3dbl_3b", 384, [3, 1])],
        ),
        Branch::behind(pool, &[Filter::pointwise("branch_pool", 192)]),
    ]
}
