//! The names under which the tensors of a file are presented, and how their values are arranged for it.

use std::collections::BTreeMap;

use super::TensorInfo;

/// Where the values of a tensor lie in the file; names are those of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// As they are, in the same order.
    Plain(String),
    /// Several tensors, one behind the other along the first axis.
    Stacked(Vec<String>),
    /// Rows `(channel, three)` that become `(three, channel)`: EDM's order of `qkv`.
    Interleaved(String),
    /// Rows that become columns.
    Transposed(String),
}

impl Source {
    /// Names of the stored tensors.
    pub(crate) fn stored(&self) -> &[String] {
        match self {
            Self::Plain(name) | Self::Interleaved(name) | Self::Transposed(name) => std::slice::from_ref(name),
            Self::Stacked(names) => names,
        }
    }

    /// Brings the values of the stored tensors, one behind the other, into order; `rows` is the first extent of the result.
    fn arrange(&self, values: Vec<f32>, rows: usize) -> Vec<f32> {
        let fan = values.len() / rows.max(1);
        match self {
            Self::Plain(_) | Self::Stacked(_) => values,
            Self::Interleaved(_) => {
                let channels = rows / 3;
                let row = |i: usize| &values[i * fan..(i + 1) * fan];
                (0..rows).flat_map(|i| row((i % channels) * 3 + i / channels)).copied().collect()
            }
            Self::Transposed(_) => (0..values.len()).map(|i| values[(i % fan) * rows + i / fan]).collect(),
        }
    }
}

/// What a file holds, under the names that are asked for.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    pub(super) sources: BTreeMap<String, Source>,
}

impl View {
    /// Every tensor under the name that it has in the file.
    pub(super) fn plain(stored: &BTreeMap<String, TensorInfo>) -> Self {
        let sources = stored.keys().map(|name| (name.clone(), Source::Plain(name.clone()))).collect();
        Self { tensors: stored.clone(), sources }
    }

    /// Whether a tensor has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Adds a tensor, unless the file lacks what it consists of; `pointwise` says that it is the kernel of a 1x1 convolution,
    /// which some libraries store 1-d or as a linear layer.
    pub(crate) fn put(
        &mut self,
        stored: &BTreeMap<String, TensorInfo>,
        name: String,
        source: Source,
        pointwise: bool,
    ) -> bool {
        let parts: Option<Vec<&TensorInfo>> = source.stored().iter().map(|part| stored.get(part)).collect();
        let Some(info) = parts.and_then(|parts| arranged(&source, &parts, pointwise)) else {
            return false;
        };
        self.tensors.insert(name.clone(), info);
        self.sources.insert(name, source);
        true
    }

    /// Brings the values of the stored tensors of `name`, one behind the other, into order.
    pub(super) fn arrange(&self, name: &str, values: Vec<f32>) -> Vec<f32> {
        match (self.sources.get(name), self.tensors.get(name)) {
            (Some(source), Some(info)) => source.arrange(values, info.shape.first().copied().unwrap_or(1)),
            _ => values,
        }
    }
}

/// Shape and type after [`Source::arrange`].
fn arranged(source: &Source, parts: &[&TensorInfo], pointwise: bool) -> Option<TensorInfo> {
    let first = parts.first()?;
    let mut shape = first.shape.clone();
    match source {
        Source::Plain(_) => {}
        Source::Stacked(_) => {
            let (_, fan) = first.shape.split_first()?;
            let mut rows = 0_usize;
            for part in parts {
                let (more, _) = part.shape.split_first().filter(|(_, rest)| *rest == fan)?;
                rows = rows.checked_add(*more)?;
            }
            shape[0] = rows;
        }
        Source::Interleaved(_) if shape.first()?.is_multiple_of(3) => {}
        Source::Interleaved(_) => return None,
        Source::Transposed(_) if shape.len() == 2 => shape.reverse(),
        Source::Transposed(_) => return None,
    }
    if pointwise && (2..4).contains(&shape.len()) && shape[2..].iter().all(|n| *n == 1) {
        shape.resize(4, 1);
    }
    let odd = parts.iter().map(|part| part.element).find(|element| !element.is_float());
    let element = odd.unwrap_or(first.element);
    Some(TensorInfo { shape, element })
}
