//! Everything a user can do, as data: the buttons, the shortcuts and the help list are made from it.

use std::path::PathBuf;

use super::disk::Detail;
use super::settings::Settings;
use super::training::TrainAction;
use crate::generator::Mask;
use crate::trace::RunId;

/// How a pair is compared on the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Compare {
    /// Before and after next to each other.
    Side = 0,
    /// One picture, cut by a handle.
    Wipe = 1,
    /// Before and after in turn.
    Blink = 2,
    /// After minus before.
    Difference = 3,
}

impl Compare {
    /// All, in the order of the buttons.
    pub const ALL: [Self; 4] = [Self::Side, Self::Wipe, Self::Blink, Self::Difference];

    /// Name in the window.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Side => "Side by side",
            Self::Wipe => "Wipe",
            Self::Blink => "Blink",
            Self::Difference => "Difference",
        }
    }

    /// One sentence about it.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Side => "Before on the left, after on the right, with linked zoom and pan",
            Self::Wipe => "Before left of the handle, after right of it; drag the handle",
            Self::Blink => "Before and after in turn, twice a second",
            Self::Difference => "After minus before per channel: grey is no change, the legend gives the scale",
        }
    }
}

/// A thing without arguments: it has a name, a help text and maybe a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "`about` says it")]
pub enum Verb {
    Generate,
    Edit,
    RunOrPause,
    Step,
    Stop,
    Reset,
    Branch,
    Undo,
    Redo,
    Save,
    SaveAs,
    Open,
    OpenImages,
    OpenReferences,
    NewSession,
    PreviousIteration,
    NextIteration,
    FirstIteration,
    LastIteration,
    BestIteration,
    Play,
    PreviousSample,
    NextSample,
    Grid,
    Side,
    Wipe,
    Blink,
    Difference,
    FitView,
    ActualSize,
    Smooth,
    Theme,
    Help,
    RestartCompute,
    Quit,
}

impl Verb {
    /// All, in the order of the help list.
    pub const ALL: &'static [Self] = &[
        Self::Generate,
        Self::Edit,
        Self::RunOrPause,
        Self::Step,
        Self::Stop,
        Self::Reset,
        Self::Branch,
        Self::Undo,
        Self::Redo,
        Self::Save,
        Self::SaveAs,
        Self::Open,
        Self::OpenImages,
        Self::OpenReferences,
        Self::NewSession,
        Self::PreviousIteration,
        Self::NextIteration,
        Self::FirstIteration,
        Self::LastIteration,
        Self::BestIteration,
        Self::Play,
        Self::PreviousSample,
        Self::NextSample,
        Self::Grid,
        Self::Side,
        Self::Wipe,
        Self::Blink,
        Self::Difference,
        Self::FitView,
        Self::ActualSize,
        Self::Smooth,
        Self::Theme,
        Self::Help,
        Self::RestartCompute,
        Self::Quit,
    ];

    /// Name on buttons.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Generate => "Generate",
            Self::Edit => "Edit pictures",
            Self::RunOrPause => "Run / pause",
            Self::Step => "Step",
            Self::Stop => "Stop",
            Self::Reset => "Reset",
            Self::Branch => "Branch here",
            Self::Undo => "Undo",
            Self::Redo => "Redo",
            Self::Save => "Save",
            Self::SaveAs => "Save as…",
            Self::Open => "Open session…",
            Self::OpenImages => "Open images…",
            Self::OpenReferences => "Open references…",
            Self::NewSession => "New session",
            Self::PreviousIteration => "Previous iteration",
            Self::NextIteration => "Next iteration",
            Self::FirstIteration => "First iteration",
            Self::LastIteration => "Last iteration",
            Self::BestIteration => "Best iteration",
            Self::Play => "Play",
            Self::PreviousSample => "Previous sample",
            Self::NextSample => "Next sample",
            Self::Grid => "All pairs",
            Self::Side => "Side by side",
            Self::Wipe => "Wipe",
            Self::Blink => "Blink",
            Self::Difference => "Difference",
            Self::FitView => "Fit view",
            Self::ActualSize => "Actual size",
            Self::Smooth => "Smooth",
            Self::Theme => "Light / dark",
            Self::Help => "Help",
            Self::RestartCompute => "Restart compute",
            Self::Quit => "Quit",
        }
    }

    /// One sentence about it.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Generate => {
                "Make new pictures with the settings on the left, in place of these; asks when unsaved iterates would be lost"
            }
            Self::Edit => {
                "Make new pictures from these with the generator, as the edit settings say; the one on the canvas, or all of the grid"
            }
            Self::RunOrPause => "Iterate as planned, or hold after the current iteration",
            Self::Step => "Do one iteration",
            Self::Stop => "End the current work after this iteration and keep everything done",
            Self::Reset => "Go back to the generated pictures with a new run; the old run stays in the list",
            Self::Branch => {
                "Start a new run from the iterate that is shown; the ball's centre stays the generated picture"
            }
            Self::Undo => "Take back the last change of settings",
            Self::Redo => "Make the change of settings again",
            Self::Save => "Save the session: settings, seeds, hashes and every iterate",
            Self::SaveAs => "Save the session under a new name",
            Self::Open => "Open a .lapidary file or a session.json",
            Self::OpenImages => {
                "Open your own pictures as \"before\"; each is cropped to its centre, in the classifier's form, and resized to its size"
            }
            Self::OpenReferences => {
                "Open real pictures; with early stop, a picture rests once the classifier believes in it more than in its reference"
            }
            Self::NewSession => "Start over with default settings",
            Self::PreviousIteration => "Show one iteration earlier",
            Self::NextIteration => "Show one iteration later",
            Self::FirstIteration => "Show the start",
            Self::LastIteration => "Show the newest iterate and follow the run",
            Self::BestIteration => "Show the iterate with the highest objective of this sample",
            Self::Play => "Play the iterations as a film",
            Self::PreviousSample => "Go to the sample before this one, as the grid shows them",
            Self::NextSample => "Go to the sample after this one, as the grid shows them",
            Self::Grid => "Go back to all pairs",
            Self::Side => Compare::Side.about(),
            Self::Wipe => Compare::Wipe.about(),
            Self::Blink => Compare::Blink.about(),
            Self::Difference => Compare::Difference.about(),
            Self::FitView => "Show the whole picture",
            Self::ActualSize => "One screen pixel per picture pixel",
            Self::Smooth => {
                "Draw enlarged pictures smoothly between their pixels, or every pixel as a square; display only"
            }
            Self::Theme => "Change between light and dark",
            Self::Help => "Show this list",
            Self::RestartCompute => "Start the compute thread again; nothing of the session is lost",
            Self::Quit => "Close the window; asks when there are iterates that no file holds",
        }
    }
}

/// What can be taken out of the window: to the clipboard, or to a file that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// The picture after, of a sample, to the clipboard.
    CopyPicture(usize),
    /// Both pictures of a sample side by side, to the clipboard.
    CopyPair(usize),
    /// The settings that led to what is shown, as text for a caption.
    CopySettings,
    /// Both pictures of a sample side by side.
    Pair(usize),
    /// All pairs on one sheet.
    Sheet,
    /// The numbers of the run that is shown, iteration by iteration.
    Trace,
    /// The pictures and numbers that are shown, as arrays.
    Results,
}

/// A thing with arguments, or a [`Verb`].
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A verb.
    Do(Verb),
    /// New settings; one step of undo until [`Action::EndEdit`].
    Edit(Box<Settings>),
    /// The control was let go.
    EndEdit,
    /// Open a sample on the canvas.
    Select(usize),
    /// Show an entry of the path, counted from the start.
    Show(usize),
    /// Show another run.
    ShowRun(RunId),
    /// Call a run by a name; empty for none.
    NameRun(RunId, String),
    /// Forget a run for good; asks first.
    DeleteRun(RunId),
    /// Another target class for a sample.
    SetTarget {
        /// The sample.
        sample: usize,
        /// The class.
        class: usize,
    },
    /// Compare differently.
    Compare(Compare),
    /// Open a session file.
    OpenSession(PathBuf),
    /// Open pictures.
    OpenPictures(Vec<PathBuf>),
    /// Open real pictures for early stopping.
    OpenReferences(Vec<PathBuf>),
    /// Paint the pixels that inpainting generates.
    SetMask(Option<Mask>),
    /// Save a session file.
    SaveSession(PathBuf, Detail),
    /// Open what a crash left behind.
    Recover(PathBuf),
    /// Throw away what a crash left behind; asks first.
    Discard(PathBuf),
    /// Yes to [`super::Question`].
    Confirm,
    /// No to [`super::Question`].
    Cancel,
    /// Saving ended that was to come first: go on if everything is saved now, or ask again.
    AfterSaving(Box<super::Question>),
    /// Do something with the training.
    Train(TrainAction),
    /// Another judge or other real pictures for the numbers beside the run, or whether these are looked at.
    ChooseLive(Box<super::LiveChoice>),
    /// Take something out of the window.
    Export(Export),
    /// Remove a message.
    Dismiss(u64),
    /// Bytes of iterates that may stay in memory.
    SetBudget(usize),
}
