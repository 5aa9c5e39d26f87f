//! The folder of a training: its configuration, tables and event files of its steps, sheets of its pictures, and its
//! checkpoints, each whole or not there.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::TrainingError;
use super::events::{EVENTS, Events};
use super::record::{ABOUT, Record, Sources};
use super::tables::{self, METRICS, METRICS_HEAD, VALIDATION, rows_until};
use super::told::{Snapshot, TrainSettings};
use crate::checkpoint::{Checkpoint, CheckpointError, Named, Weights, write};
use crate::file::{free_path, sha256_of};
use crate::image::ImageBatch;
use crate::image::sheet::contact_sheet;
use crate::train::{Kept, Learned, Validation};
use crate::worker::DeviceChoice;
use crate::zoo::Manifest;

/// The configuration with every value.
pub(super) const CONFIG: &str = "config.toml";
/// Folder of pictures that were made once.
pub(super) const BANK: &str = "bank";
/// Folder of a sheet of pictures per checkpoint, always of the same seeds.
const SAMPLES: &str = "samples";
/// Folder of the checkpoints.
const CHECKPOINTS: &str = "checkpoints";
/// How the folder of a checkpoint begins; the step follows.
const STEP: &str = "step_";
/// Folder of a checkpoint that is being written.
const NEW: &str = ".new";
/// What a training remembers beside its networks.
const MEMORY: &str = "training.safetensors";
/// What it is told by, for those who find it.
const CARD: &str = "README.md";
/// Between two times that rows are handed to the system.
const FLUSH: Duration = Duration::from_secs(2);
/// Held while somebody trains here.
const LOCK: &str = ".lock";

/// The folder of a training.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
    /// What its configuration holds.
    config: String,
    metrics: BufWriter<File>,
    /// When rows were last handed to the system: those outlive the program, however it ends.
    flushed: Instant,
    events: Events,
    warnings: Vec<String>,
    _lock: File,
}

/// A whole checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) step: u64,
    pub(super) path: PathBuf,
}

/// What a checkpoint says of itself.
pub(super) struct Described<'a> {
    pub(super) step: u64,
    /// Of the networks; name, file and hash are each one's own.
    pub(super) manifest: &'a Manifest,
    /// What it learns from.
    pub(super) sources: &'a Sources,
    /// What must stay of the configuration.
    pub(super) config: &'a str,
    /// For people.
    pub(super) card: String,
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> TrainingError + '_ {
    |source| TrainingError::Write { path: path.to_owned(), source }
}

/// Whether a training was begun here.
pub(super) fn is_begun(path: &Path) -> bool {
    path.join(CONFIG).is_file()
}

/// The last checkpoint of a training.
pub(super) fn last(path: &Path) -> Option<Found> {
    checkpoints(path).pop()
}

/// The last one whose files are what was written, and what it says; `notes` takes up which behind it are damaged.
///
/// # Errors
/// [`TrainingError::Damaged`] when there are some and none is whole.
pub(super) fn last_whole(path: &Path, notes: &mut Vec<String>) -> Result<Option<(Found, Record)>, TrainingError> {
    let mut newest = None;
    for found in checkpoints(path).into_iter().rev() {
        match Record::read(&found.path) {
            Ok(record) => return Ok(Some((found, record))),
            Err(what) => {
                notes.push(format!(
                    "warning: the checkpoint of step {} is damaged ({what}), so one before it is looked for",
                    found.step
                ));
                newest.get_or_insert(what);
            }
        }
    }
    newest.map_or(Ok(None), |what| Err(TrainingError::Damaged { path: path.to_owned(), what }))
}

/// All whole checkpoints, in order of their steps.
fn checkpoints(path: &Path) -> Vec<Found> {
    let entries = fs::read_dir(path.join(CHECKPOINTS)).into_iter().flatten().flatten();
    let found = |entry: fs::DirEntry| {
        let step = entry.file_name().to_str()?.strip_prefix(STEP)?.parse().ok()?;
        let path = entry.path();
        path.join(ABOUT).is_file().then_some(Found { step, path })
    };
    let mut found: Vec<Found> = entries.filter_map(found).collect();
    found.sort_by_key(|found| found.step);
    found
}

/// All of them, with what is known of each.
pub(super) fn snapshots(path: &Path) -> Vec<Snapshot> {
    let judged = tables::validations(path);
    let told = |found: Found| Snapshot { judged: judged.get(&found.step).cloned(), ..found.told() };
    checkpoints(path).into_iter().map(told).collect()
}

impl Found {
    /// As it is told.
    pub(super) fn told(&self) -> Snapshot {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let network = |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned());
        let mut networks: Vec<String> = entries.filter_map(network).collect();
        networks.sort();
        Snapshot { step: self.step, folder: self.path.clone(), networks, judged: None }
    }
}

impl TrainSettings {
    /// Of a file that describes a training, or of the folder of one that was begun. The folder of a new one lies beside its file
    /// and is called like it; where it was begun there before, it goes on.
    #[must_use]
    pub fn of(path: &Path, device: DeviceChoice, samples: u32) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let is_own = path.file_name().is_some_and(|name| name == CONFIG);
        let beside = path.parent().filter(|folder| is_own && folder.join(METRICS).is_file());
        if let Some(folder) = Some(path.as_path()).filter(|path| path.is_dir()).or(beside) {
            return Self { role: None, config: None, out: folder.to_owned(), resume: true, device, samples };
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let out = path.with_file_name(format!("{stem}-training"));
        Self { role: None, resume: last(&out).is_some(), out, config: Some(path), device, samples }
    }
}

/// Refuses to begin a training in a folder that holds anything but the traces of one that ended before its first checkpoint.
pub(super) fn check_free(path: &Path) -> Result<(), TrainingError> {
    if path.is_file() {
        return Err(TrainingError::NoFolder { path: path.to_owned() });
    }
    // Every training has its lock; names like `config.toml` and `metrics.csv` other programs give, too.
    let is_locked = is_begun(path) && path.join(LOCK).is_file();
    if last(path).is_some() || is_locked && !path.join(METRICS).is_file() {
        return Err(TrainingError::Begun { path: path.to_owned() });
    }
    let head = fs::read_to_string(path.join(METRICS)).unwrap_or_default();
    let is_ours = is_locked && head.lines().next() == Some(METRICS_HEAD);
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let own: &[&str] = if is_ours { &[CONFIG, METRICS, VALIDATION, CHECKPOINTS, BANK, SAMPLES, LOCK] } else { &[LOCK] };
    let is_own = |name: &String| own.contains(&name.as_str()) || own.len() > 1 && name.starts_with(EVENTS);
    let foreign = names(path).into_iter().find(|name| !is_own(name));
    let foreign = foreign.or_else(|| names(&path.join(CHECKPOINTS)).into_iter().find(|name| name != NEW));
    foreign.map_or(Ok(()), |found| Err(TrainingError::Occupied { path: path.to_owned(), found }))
}

/// Removes a checkpoint's folder, but for what others have put there.
fn remove(folder: &Path) -> Result<(), TrainingError> {
    for entry in fs::read_dir(folder).map_err(failed(folder))?.flatten() {
        let name = entry.file_name();
        let is_network = |kind: &str| {
            let stem = name.to_str().and_then(|name| name.strip_suffix(kind));
            stem.is_some_and(|stem| stem == "model" || stem.starts_with("ema_"))
        };
        let is_own = [MEMORY, ABOUT, CARD].iter().any(|own| name == *own);
        if is_own || is_network(".safetensors") || is_network(".toml") {
            fs::remove_file(entry.path()).map_err(failed(folder))?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(failed(folder)(error)),
        _ => Ok(()),
    }
}

impl RunFolder {
    /// Makes the folder or goes on in it: what was written behind step `step` is forgotten.
    pub(super) fn open(path: &Path, config: &str, step: u64) -> Result<Self, TrainingError> {
        fs::create_dir_all(path.join(CHECKPOINTS)).map_err(failed(path))?;
        let lock = path.join(LOCK);
        let held = OpenOptions::new().create(true).truncate(false).write(true).open(&lock).map_err(failed(&lock))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(TrainingError::Busy { path: path.to_owned() }),
            // Some file systems know no locks.
            Err(fs::TryLockError::Error(error)) => tracing::debug!(%error, "the folder is not locked"),
        }
        let new = path.join(CHECKPOINTS).join(NEW);
        if new.exists() {
            // What a kill has left half written.
            remove(&new)?;
        }
        let mut warnings = Vec::new();
        for table in [METRICS, VALIDATION].map(|name| path.join(name)) {
            if !tables::is_ours(&table) {
                let aside = free_path(&table);
                fs::copy(&table, &aside).map_err(failed(&aside))?;
                warnings.push(format!(
                    "{} is not as it was written, so it is kept as {}, and begun anew with what can be read of it",
                    table.display(),
                    aside.file_name().unwrap_or_default().display()
                ));
            }
        }
        replace(&path.join(METRICS), rows_until(&path.join(METRICS), METRICS_HEAD, step))?;
        if path.join(VALIDATION).exists() {
            let validation = path.join(VALIDATION);
            let text = fs::read_to_string(&validation).unwrap_or_default();
            replace(&validation, rows_until(&validation, text.lines().next().unwrap_or_default(), step))?;
        }
        if !says(&path.join(CONFIG), config) {
            replace(&path.join(CONFIG), config)?;
        }
        let metrics = path.join(METRICS);
        let file = OpenOptions::new().append(true).open(&metrics).map_err(failed(&metrics))?;
        let events = Events::begin(path, step).map_err(failed(path))?;
        let (path, config, metrics) = (path.to_owned(), config.to_owned(), BufWriter::new(file));
        Ok(Self { path, config, metrics, flushed: Instant::now(), events, warnings, _lock: held })
    }

    /// What is to be said of the folder, once.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Makes the folder again where it was renamed or removed meanwhile, so that what is kept in it next can be gone on with;
    /// whether that was so.
    pub(super) fn find_again(&mut self, step: u64) -> Result<bool, TrainingError> {
        let is_gone = !self.path.join(LOCK).is_file();
        if is_gone {
            *self = Self::open(&self.path, &self.config, step)?;
        }
        Ok(is_gone)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down what a step came to.
    pub(super) fn row(&mut self, step: u64, learned: Learned, secs: f64) -> Result<(), TrainingError> {
        let Learned { loss, gradient, rate } = learned;
        let is_due = self.flushed.elapsed() >= FLUSH;
        writeln!(self.metrics, "{step},{loss},{gradient},{rate},{secs:.4}")
            .and_then(|()| if is_due { self.metrics.flush() } else { Ok(()) })
            .map_err(failed(&self.path.join(METRICS)))?;
        if is_due {
            self.flushed = Instant::now();
        }
        self.scalars(step, "train", &[("loss", loss), ("gradient", gradient), ("rate", rate), ("seconds", secs)])
    }

    fn scalars(&mut self, step: u64, group: &str, numbers: &[(&str, f64)]) -> Result<(), TrainingError> {
        let written = self.events.scalars(step, group, numbers);
        written.map_err(failed(self.events.path()))
    }

    /// Whether it was written down what the network of a step makes.
    pub(super) fn is_pictured(&self, step: u64) -> bool {
        self.path.join(SAMPLES).join(format!("{step:08}.png")).is_file()
    }

    /// Writes down what a network makes, as a sheet and for TensorBoard.
    pub(super) fn pictured(&mut self, step: u64, pictures: &ImageBatch) -> Result<(), TrainingError> {
        let (sheet, mut png) = (contact_sheet(pictures, None), Vec::new());
        let path = self.path.join(SAMPLES).join(format!("{step:08}.png"));
        sheet.encode(&mut png).map_err(failed(&path))?;
        fs::create_dir_all(self.path.join(SAMPLES)).map_err(failed(&path))?;
        replace(&path, &png)?;
        self.events.picture(step, SAMPLES, sheet.levels().0, &png).map_err(failed(self.events.path()))
    }

    /// Writes down what a network is worth.
    pub(super) fn validated(&mut self, step: u64, found: &Validation) -> Result<(), TrainingError> {
        let path = self.path.join(VALIDATION);
        let cell = |number: &Option<f64>| number.map_or_else(String::new, |number| format!("{number:.4}"));
        let (names, cells): (Vec<&str>, Vec<String>) =
            found.numbers.iter().map(|(name, number)| (name.as_str(), cell(number))).unzip();
        let before = rows_until(&path, &format!("step,pictures,{}", names.join(",")), step.saturating_sub(1));
        replace(&path, format!("{before}{step},{},{}\n", found.pictures, cells.join(",")))?;
        let known = found.numbers.iter().filter_map(|(name, number)| Some((name.as_str(), (*number)?)));
        self.scalars(step, "validation", &known.collect::<Vec<_>>())
    }

    /// Keeps a checkpoint, and removes all but the last `keep` and those of which a file is in use. A kill at any moment leaves
    /// the earlier ones whole.
    pub(super) fn keep(
        &mut self,
        kept: &[Kept],
        of: &Described<'_>,
        (keep, in_use): (usize, &[PathBuf]),
    ) -> anyhow::Result<Found> {
        let metrics = self.path.join(METRICS);
        self.metrics.flush().and_then(|()| self.metrics.get_ref().sync_all()).map_err(failed(&metrics))?;
        let folder = self.path.join(CHECKPOINTS);
        let new = folder.join(NEW);
        fs::create_dir_all(&new).map_err(failed(&new))?;
        let (mut memory, mut files) = (Vec::new(), BTreeMap::new());
        for list in kept {
            let tensors = values(list)?;
            if list.is_network {
                files.extend([network(&new, &list.name, &tensors, of)?]);
            } else {
                memory.extend(
                    tensors.into_iter().map(|(name, shape, values)| (format!("{}/{name}", list.name), shape, values)),
                );
            }
        }
        write(&new.join(MEMORY), &memory)?;
        files.insert(MEMORY.to_owned(), sha256_of(&new.join(MEMORY))?);
        let (lapidary, config) = (env!("CARGO_PKG_VERSION").to_owned(), of.config.to_owned());
        let about = Record { step: of.step, lapidary, files, sources: of.sources.clone(), config };
        durable(&new.join(ABOUT), serde_json::to_string_pretty(&about)? + "\n")?;
        durable(&new.join(CARD), &of.card)?;
        let whole = folder.join(format!("{STEP}{:08}", of.step));
        if whole.exists() {
            remove(&whole)?;
        }
        fs::rename(new, &whole).map_err(failed(&whole))?;
        if cfg!(unix) {
            File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed(&folder))?;
        }
        let mut all = checkpoints(&self.path);
        // A later one is damaged, or the training would have gone on from it.
        all.retain(|found| found.step < of.step);
        for old in &all[..all.len().saturating_sub(keep.max(1) - 1)] {
            if !in_use.iter().any(|file| file.starts_with(&old.path)) {
                remove(&old.path)?;
            }
        }
        Ok(Found { step: of.step, path: whole })
    }
}

/// The values of a list on the host.
fn values(list: &Kept) -> anyhow::Result<Vec<Named>> {
    let read = |(name, shape, tensor): &(String, Vec<usize>, burn::tensor::Tensor<1>)| {
        let data = tensor.clone().try_into_data().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let values = data.try_into_vec::<f32>().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        Ok((name.clone(), shape.clone(), values))
    };
    list.tensors.iter().map(read).collect()
}

/// Writes a network with its manifest; the name of its file, and what that holds.
fn network(folder: &Path, list: &str, tensors: &[Named], of: &Described<'_>) -> anyhow::Result<(String, String)> {
    let file = format!("{list}.safetensors");
    write(&folder.join(&file), tensors)?;
    let sha256 = sha256_of(&folder.join(&file))?;
    let name = if list == "model" { of.manifest.name.clone() } else { format!("{}-{list}", of.manifest.name) };
    let title = format!("{name}, step {}", of.step);
    let manifest = Manifest { name, title, file: file.clone(), sha256: Some(sha256.clone()), ..of.manifest.clone() };
    durable(&folder.join(format!("{list}.toml")), toml::to_string(&manifest)?)?;
    Ok((file, sha256))
}

/// Writes what is on the disk when this returns.
fn durable(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), TrainingError> {
    let written = File::create(path).and_then(|mut file| file.write_all(bytes.as_ref()).and_then(|()| file.sync_all()));
    written.map_err(failed(path))
}

/// Whether a configuration says so already: its comments stay.
fn says(path: &Path, config: &str) -> bool {
    let values = |text: &str| toml::from_str::<toml::Table>(text).ok();
    let found = fs::read_to_string(path).ok().and_then(|text| values(&text));
    found.is_some() && found == values(config)
}

/// Replaces a file, at once.
fn replace(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), TrainingError> {
    let new = path.with_extension("new");
    durable(&new, bytes)?;
    fs::rename(new, path).map_err(failed(path))
}

/// What lies in a checkpoint, list by list.
pub(super) struct Reader {
    path: PathBuf,
    files: HashMap<String, Checkpoint>,
}

impl Reader {
    pub(super) fn new(found: &Found) -> Self {
        Self { path: found.path.clone(), files: HashMap::new() }
    }

    /// A tensor of a list.
    pub(super) fn tensor(&mut self, list: &str, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let own = format!("{list}.safetensors");
        let is_network = self.path.join(&own).is_file();
        let (file, name) =
            if is_network { (own, name.to_owned()) } else { (MEMORY.to_owned(), format!("{list}/{name}")) };
        if !self.files.contains_key(&file) {
            self.files.insert(file.clone(), Checkpoint::open(&self.path.join(&file))?);
        }
        Weights::new(&self.files[&file]).take(&name, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_describes_a_training_has_its_folder_beside_it_and_a_folder_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let of = |path: &Path| TrainSettings::of(path, DeviceChoice::Cpu, 3);
        let file = path.join("signs.toml");
        let (new, out) = (of(&file), path.join("signs-training"));
        assert_eq!((new.config, &new.out, new.resume), (Some(file.clone()), &out, false));
        fs::create_dir_all(out.join(CHECKPOINTS).join("step_00000007")).unwrap();
        assert!(!of(&file).resume, "it ended before its first checkpoint");
        for name in [CONFIG, METRICS, "checkpoints/step_00000007/training.json"] {
            fs::write(out.join(name), "step,loss\n1,0.5,0,0,0\n8,0.25,0,0,0\n").unwrap();
        }
        assert!(of(&file).resume);
        for path in [&out, &out.join(CONFIG)] {
            let begun = of(path);
            assert_eq!((begun.config, &begun.out, begun.resume), (None, &out, true));
        }
        assert_eq!(tables::losses(&out, 7), [(1, 0.5)]);
        assert_eq!(snapshots(&out)[0].step, 7);
    }

    #[test]
    fn comments_stay_in_a_configuration_that_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let begin = |config: &str| drop(RunFolder::open(path, config, 0).unwrap());
        let text = || fs::read_to_string(path.join(CONFIG)).unwrap();
        begin("a = 1\nb = 2\n");
        fs::write(path.join(CONFIG), "# mine\nb = 2\na = 1\n").unwrap();
        begin("a = 1\nb = 2\n");
        assert_eq!(text(), "# mine\nb = 2\na = 1\n");
        begin("a = 1\nb = 3\n");
        assert_eq!(text(), "a = 1\nb = 3\n");
    }

    #[test]
    fn a_training_begins_in_a_folder_of_its_own_and_removes_nothing_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(check_free(&path.join("new")).is_ok() && check_free(path).is_ok());
        fs::write(path.join("file"), "").unwrap();
        assert!(matches!(check_free(&path.join("file")), Err(TrainingError::NoFolder { .. })));
        fs::remove_file(path.join("file")).unwrap();
        fs::write(path.join(METRICS), "my own table").unwrap();
        assert!(matches!(check_free(path), Err(TrainingError::Occupied { found, .. }) if found == METRICS));
        // Another program's training may have both of these names, and even a lock.
        fs::write(path.join(CONFIG), "").unwrap();
        assert!(matches!(check_free(path), Err(TrainingError::Occupied { .. })), "no lock");
        fs::write(path.join(LOCK), "").unwrap();
        assert!(matches!(check_free(path), Err(TrainingError::Occupied { .. })), "another table");
        // What ended before its first checkpoint is begun anew.
        fs::write(path.join(METRICS), format!("{METRICS_HEAD}\n1,2,3,4,5\n")).unwrap();
        assert!(check_free(path).is_ok());
        let step = path.join(CHECKPOINTS).join("step_00000007");
        fs::create_dir_all(&step).unwrap();
        assert!(matches!(check_free(path), Err(TrainingError::Occupied { .. })), "a folder of somebody else");
        for name in [ABOUT, MEMORY, CARD, "model.safetensors", "ema_0.9.toml", "notes.txt"] {
            fs::write(step.join(name), "").unwrap();
        }
        assert!(matches!(check_free(path), Err(TrainingError::Begun { .. })));
        remove(&step).unwrap();
        let left: Vec<_> = fs::read_dir(&step).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!((left, checkpoints(path)), (vec!["notes.txt".into()], Vec::new()));
    }
}
