//! What a session remembers, entry by entry: what each kind of entry holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::raw::{Columns, Header, Raw, floats};
use crate::generator::{EditSettings, GenerateSettings, Mask};
use crate::image::ImageBatch;
use crate::origins::{Edited, Origins};
use crate::refiner::{Numbers, RefineSettings, SampleState, State};
use crate::session::provenance::Provenance;
use crate::session::settings::Settings;
use crate::trace::{Change, RunId, StateId, Tag};

const FACT: [u8; 4] = *b"fact";
const ORIGINS: [u8; 4] = *b"orig";
const REFERENCES: [u8; 4] = *b"refs";
const STATE: [u8; 4] = *b"stat";

/// Name of the column of an entry's pictures.
const PIXELS: &str = "pixels";
/// Name of the column of the pictures that were edited.
const SOURCE: &str = "source";

/// One thing that a session remembers.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A small fact.
    Fact(Fact),
    /// The pictures that everything starts from.
    Origins(Arc<Origins>),
    /// Real pictures that early stopping compares with.
    References(ImageBatch),
    /// A state with its pictures.
    State(RunId, Arc<State>),
    /// A state whose pictures were left out to save space.
    Numbers(StateId, Numbers),
}

/// Small facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The settings are now these.
    Settings(Settings),
    /// The published settings that those of the refinement come from, by their key.
    Preset(String),
    /// The pixels that inpainting generates are now these; none when nothing is painted any more.
    Mask(Option<Mask>),
    /// A run begins.
    Run {
        /// Its name.
        id: RunId,
        /// Where it starts.
        parent: Option<StateId>,
        /// Its settings.
        settings: RefineSettings,
    },
    /// Settings of a run changed.
    Change {
        /// The run.
        run: RunId,
        /// The change.
        change: Change,
    },
    /// The class that every sample of a run is refined towards, when it is not its label.
    Targets {
        /// The run.
        run: RunId,
        /// One class per sample.
        targets: Vec<usize>,
    },
    /// What computed it.
    Provenance(Provenance),
    /// What a run is called, and which runs it belongs to.
    Tag {
        /// The run.
        run: RunId,
        /// The tag.
        tag: Tag,
    },
    /// A run was given up.
    Deleted {
        /// The run.
        run: RunId,
    },
    /// A session file holds everything up to here. It says where, so it stays in the journal and goes into no file.
    Saved {
        /// The whole path.
        path: String,
        /// Its size.
        bytes: u64,
    },
}

/// What the header of a state says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StateFacts {
    run: RunId,
    iteration: u32,
    /// Samples.
    n: usize,
    pub(super) pictures: Pictures,
    /// Samples that do not move, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    at_rest: BTreeMap<usize, String>,
}

impl StateFacts {
    pub(super) const fn id(&self) -> StateId {
        StateId { run: self.run, iteration: self.iteration }
    }
}

/// Where the pictures of a state are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Pictures {
    /// In its block.
    Own,
    /// They are the origins.
    Origins,
    /// They were left out.
    LeftOut,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct OriginFacts {
    pub(super) labels: Vec<usize>,
    pub(super) classes: Option<Vec<String>>,
    pub(super) seeds: Vec<u64>,
    pub(super) names: Vec<String>,
    pub(super) made_by: Option<GenerateSettings>,
    pub(super) edit: Option<EditSettings>,
    pub(super) mask: Option<Mask>,
    pub(super) is_of_one: Option<bool>,
}

impl OriginFacts {
    /// What the pictures are, in few words: the file of the first, or what made them.
    pub(super) fn what(&self) -> String {
        let file = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or(name).to_owned();
        match (self.names.first(), &self.made_by) {
            (Some(first), _) => file(first),
            (None, Some(made_by)) => file(&made_by.generator),
            (None, None) => String::new(),
        }
    }
}

/// The lists of floats of [`Numbers`] by the names of their columns, all but the logits one value a sample.
macro_rules! lists {
    ($numbers:expr, $($by:tt)+) => {{
        let Numbers { logits, objective, gradient_l2, step_l2, delta_l2, delta_linf, clipped, state: _ } = $($by)+ $numbers;
        [
            ("logits", logits),
            ("objective", objective),
            ("gradient_l2", gradient_l2),
            ("step_l2", step_l2),
            ("delta_l2", delta_l2),
            ("delta_linf", delta_linf),
            ("clipped", clipped),
        ]
    }};
}

impl Entry {
    /// As it is written; pictures that are the origins are not repeated.
    pub(super) fn encode(&self, origins: Option<&Origins>) -> Raw {
        match self {
            Self::Fact(fact) => Raw::new(FACT, fact, &[]),
            Self::Origins(origins) => {
                let Origins { images, labels, classes, seeds, names, made_by, edited } = &**origins;
                let facts = OriginFacts {
                    labels: labels.clone(),
                    classes: classes.clone(),
                    seeds: seeds.clone(),
                    names: names.clone(),
                    made_by: made_by.clone(),
                    edit: edited.as_ref().map(|edited| edited.settings.clone()),
                    mask: edited.as_ref().and_then(|edited| edited.mask.clone()),
                    is_of_one: edited.as_ref().and_then(|edited| edited.is_of_one),
                };
                let source = edited.as_ref().map(|edited| (SOURCE, &edited.reference));
                let pictures: Vec<_> = [(PIXELS, images)].into_iter().chain(source).collect();
                let shapes: Vec<_> = pictures.iter().map(|(_, images)| images.shape()).collect();
                let columns: Vec<_> = pictures
                    .iter()
                    .zip(&shapes)
                    .map(|((name, images), shape)| (*name, shape.as_slice(), images.pixels()))
                    .collect();
                Raw::new(ORIGINS, &facts, &columns)
            }
            Self::References(images) => {
                Raw::new(REFERENCES, &serde_json::json!({}), &[(PIXELS, &images.shape(), images.pixels())])
            }
            Self::State(run, state) => {
                let id = StateId { run: *run, iteration: state.iteration };
                let same = origins.is_some_and(|origins| same_pictures(&origins.images, &state.images));
                encode_state(id, &state.numbers, (!same).then_some(&state.images), same)
            }
            Self::Numbers(id, numbers) => encode_state(*id, numbers, None, false),
        }
    }
}

fn encode_state(id: StateId, numbers: &Numbers, images: Option<&ImageBatch>, same: bool) -> Raw {
    let n = numbers.state.len();
    let moving = |state: &SampleState| *state == SampleState::Active;
    let resting = numbers.state.iter().enumerate().filter(|(_, state)| !moving(state));
    let facts = StateFacts {
        run: id.run,
        iteration: id.iteration,
        n,
        pictures: match images {
            Some(_) => Pictures::Own,
            None if same => Pictures::Origins,
            None => Pictures::LeftOut,
        },
        at_rest: resting.filter_map(|(i, state)| Some((i, word(*state)?))).collect(),
    };
    let shape = |values: &Vec<f32>| match values.len() {
        len if n > 0 && len != n && len.is_multiple_of(n) => vec![n, len / n],
        len => vec![len],
    };
    let lists = lists!(numbers, &);
    let shapes: Vec<_> = lists.iter().map(|(_, values)| shape(values)).collect();
    let mut columns: Vec<(&str, &[usize], &[f32])> =
        lists.iter().zip(&shapes).map(|((name, values), shape)| (*name, shape.as_slice(), values.as_slice())).collect();
    let size = images.map(ImageBatch::shape).unwrap_or_default();
    // Last, so that what is short lies together.
    columns.extend(images.map(|images| (PIXELS, size.as_slice(), images.pixels())));
    Raw::new(STATE, &facts, &columns)
}

/// Whether two batches are equal bit by bit.
pub(in crate::session) fn same_pictures(a: &ImageBatch, b: &ImageBatch) -> bool {
    let bytes = |images| bytemuck::cast_slice::<f32, u8>(ImageBatch::pixels(images));
    a.shape() == b.shape() && bytes(a) == bytes(b)
}

/// The word for why a sample does not move.
fn word(state: SampleState) -> Option<String> {
    serde_json::to_value(state).ok()?.as_str().map(str::to_owned)
}

impl Raw {
    pub(super) fn is_state(&self) -> bool {
        self.kind == STATE
    }

    /// The fact in it, if it is one.
    pub(super) fn fact(&self) -> Option<Result<Fact, serde_json::Error>> {
        (self.kind == FACT).then(|| self.facts())
    }

    /// The origins in it.
    pub(super) fn origins(&self) -> Option<Origins> {
        let OriginFacts { labels, classes, seeds, names, made_by, edit, mask, is_of_one } = self.origin_facts()?;
        let columns = self.columns()?;
        let images = pictures(&columns, PIXELS)?;
        let edited = edit.zip(pictures(&columns, SOURCE));
        let edited = edited.map(|(settings, reference)| Edited { settings, reference, mask, is_of_one });
        Some(Origins { images, labels, classes, seeds, names, made_by, edited })
    }

    /// What its header says of the pictures that everything starts from, if it is these.
    pub(super) fn origin_facts(&self) -> Option<OriginFacts> {
        (self.kind == ORIGINS).then(|| self.facts().ok()).flatten()
    }

    /// The real pictures in it.
    pub(super) fn references(&self) -> Option<ImageBatch> {
        (self.kind == REFERENCES).then(|| pictures(&self.columns()?, PIXELS)).flatten()
    }

    /// What the header of a state says.
    pub(super) fn state_facts(&self) -> Option<StateFacts> {
        (self.kind == STATE).then(|| self.facts().ok()).flatten()
    }

    /// The numbers of a state, and the shape of its own pictures; the pictures stay where they are.
    pub(super) fn numbers(&self, facts: &StateFacts) -> Option<(Numbers, Option<[usize; 4]>)> {
        let columns = self.columns()?;
        // A header may lie about what memory is taken for; every sample has at least one value.
        let n = Some(facts.n).filter(|n| *n <= self.block.len())?;
        let mut numbers = Numbers { state: vec![SampleState::Active; n], ..Numbers::default() };
        for (sample, why) in &facts.at_rest {
            // A reason of a later version is no reason of ours, but the sample rests.
            let state = serde_json::from_value(why.as_str().into()).unwrap_or(SampleState::ZeroGradient);
            *numbers.state.get_mut(*sample)? = state;
        }
        for (name, list) in lists!(numbers, &mut) {
            match columns.get(name) {
                Some((_, bytes)) => *list = floats(bytes),
                // A column that another version does not write is unknown, not zero.
                None if name != "logits" => *list = vec![f32::NAN; n],
                None => {}
            }
        }
        let shape = columns.get(PIXELS).and_then(|(shape, _)| shape.as_slice().try_into().ok());
        Some((numbers, shape))
    }

    /// A whole state; `None` without its pictures.
    pub(super) fn state(&self, origins: Option<&Origins>) -> Option<(StateId, State)> {
        let facts = self.state_facts()?;
        let (numbers, _) = self.numbers(&facts)?;
        let images = match facts.pictures {
            Pictures::Own => pictures(&self.columns()?, PIXELS)?,
            Pictures::Origins => origins?.images.clone(),
            Pictures::LeftOut => return None,
        };
        Some((facts.id(), State { iteration: facts.iteration, images, numbers }))
    }

    /// A state without its pictures; the numbers are those bytes that they were.
    pub(super) fn without_pictures(&self) -> Option<Self> {
        let mut facts = self.state_facts()?;
        facts.pictures = Pictures::LeftOut;
        let header: Header<IgnoredAny> = serde_json::from_slice(&self.header).ok()?;
        let mut kept = self.columns()?;
        kept.remove(PIXELS);
        let (mut columns, mut block) = (Vec::new(), Vec::new());
        for column in header.columns {
            if let Some((_, bytes)) = kept.remove(&column.name) {
                block.extend_from_slice(bytes);
                columns.push(column);
            }
        }
        let header = serde_json::to_vec(&Header { facts, columns }).ok()?;
        Some(Self { kind: STATE, header, block })
    }

    /// The same with every path of a model changed; what lies in the block stays as it is.
    pub(super) fn with_models(mut self, change: &dyn Fn(&str) -> String) -> Self {
        // What a later version wrote stays as it is.
        match self.kind {
            FACT => {
                if let Ok(fact) = self.facts() {
                    self = Self::new(FACT, &fact_with_models(fact, change), &[]);
                }
            }
            ORIGINS => {
                let header: Result<Header<serde_json::Value>, _> = serde_json::from_slice(&self.header);
                if let Ok(mut header) = header
                    && let Some(generator) = header.facts.pointer_mut("/made_by/generator")
                    && let Some(path) = generator.as_str().map(change)
                {
                    *generator = path.into();
                    self.header = serde_json::to_vec(&header).unwrap_or(self.header);
                }
            }
            _ => {}
        }
        self
    }
}

fn pictures(columns: &Columns<'_>, name: &str) -> Option<ImageBatch> {
    let (shape, bytes) = columns.get(name)?;
    let shape: [usize; 4] = shape.as_slice().try_into().ok()?;
    Some(ImageBatch::new(shape, floats(bytes)))
}

fn fact_with_models(mut fact: Fact, change: &dyn Fn(&str) -> String) -> Fact {
    let models: Vec<&mut String> = match &mut fact {
        Fact::Settings(settings) => vec![&mut settings.generate.generator, &mut settings.refine.classifier],
        Fact::Run { settings, .. } => vec![&mut settings.classifier],
        Fact::Change { change, .. } => vec![&mut change.settings.classifier],
        Fact::Provenance(provenance) => {
            let models = provenance.generator.iter_mut().chain(&mut provenance.classifier);
            models.map(|info| &mut info.reference).collect()
        }
        Fact::Preset(_)
        | Fact::Mask(_)
        | Fact::Targets { .. }
        | Fact::Tag { .. }
        | Fact::Deleted { .. }
        | Fact::Saved { .. } => Vec::new(),
    };
    for model in models {
        *model = change(model);
    }
    fact
}

#[cfg(test)]
mod tests;
