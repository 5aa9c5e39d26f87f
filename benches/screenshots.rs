//! Pictures of the real window in its main states, for the README and for whoever judges the looks. An argument names the
//! folder that they are written to.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use egui::ColorImage;

use lapidary::generator::Mask;
use lapidary::image::Levels;
use lapidary::session::host::Folders;
use lapidary::session::training::{TrainAction, TrainPhase, Training};
use lapidary::session::{Action, Activity, Compare, LiveChoice, LiveShown, Settings, Verb};
use lapidary::view::{Workbench, run_in};
use lapidary::worker::{Command, Steer};

/// Longest time that a scene may take to get ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// Frames between the last change and the picture: layout and textures settle.
const SETTLE: u32 = 4;

/// Sizes of the window, in points; the last is drawn first.
const SIZES: [[f32; 2]; 3] = [[1920.0, 1080.0], [960.0, 600.0], [1280.0, 800.0]];
/// The themes, and how files of each end.
const THEMES: [(egui::Theme, &str); 2] = [(egui::Theme::Light, "_light"), (egui::Theme::Dark, "")];

/// One picture: how to get there, and how to know that it is there.
struct Scene {
    name: &'static str,
    prepare: fn(&mut Workbench),
    ready: fn(&Workbench) -> bool,
}

fn at_rest(workbench: &Workbench) -> bool {
    let session = &workbench.host().session;
    !session.is_busy() && !session.path().is_empty()
}

fn refined(workbench: &Workbench) -> bool {
    at_rest(workbench) && workbench.host().session.path().len() > 15
}

fn act(workbench: &mut Workbench, action: Action) {
    workbench.host_mut().handle(action);
}

fn look(workbench: &mut Workbench, compare: Compare) {
    act(workbench, Action::Select(3));
    act(workbench, Action::Compare(compare));
    workbench.canvas_mut().fit();
}

/// What the training of the pictures is: it begins with a bundled generator and learns from what that has made. It is of this
/// folder in every size, so that it goes on where it ended.
static TRAINING: OnceLock<tempfile::TempDir> = OnceLock::new();

/// Describes a training of the pictures that are there, and looks at it.
fn choose_training(workbench: &mut Workbench) -> anyhow::Result<()> {
    let folder = match TRAINING.get() {
        Some(folder) => folder,
        None => {
            let folder = tempfile::tempdir()?;
            TRAINING.get_or_init(|| folder)
        }
    };
    let origins = workbench.host().session.origins().context("there are no pictures")?;
    let names = origins.classes.clone().unwrap_or_default();
    let [_, _, height, width] = origins.images.shape();
    for (sample, label) in origins.labels.iter().enumerate() {
        let class = folder.path().join("pictures").join(names.get(*label).map_or("picture", String::as_str));
        std::fs::create_dir_all(&class)?;
        let levels = Levels::Rounded.rgb8(&origins.images, sample);
        let path = class.join(format!("{sample}.png"));
        image::save_buffer(path, &levels, width as u32, height as u32, image::ExtendedColorType::Rgb8)?;
    }
    let text = format!(
        "name = \"signs\"\ndata = {{ pictures = [{:?}], resolution = {height}, classes = {names:?} }}\n\
         network = {{ from = \"gtsrb12-cm\" }}\nobjective = {{ kind = \"easy-consistency\" }}\n\
         course = {{ steps = 400, batch = 2 }}\noutput = {{ every = 2 }}\n",
        folder.path().join("pictures").to_string_lossy()
    );
    let path = folder.path().join("signs.toml");
    std::fs::write(&path, text)?;
    act(workbench, Action::Do(Verb::Grid));
    act(workbench, Action::Train(TrainAction::Choose(path)));
    workbench.show_training(true);
    Ok(())
}

fn trained(workbench: &Workbench, is_there: fn(&Training) -> bool) -> bool {
    workbench.host().session.training().is_some_and(is_there)
}

const SCENES: [Scene; 17] = [
    Scene { name: "empty", prepare: |w| act(w, Action::Do(Verb::NewSession)), ready: |_| true },
    Scene { name: "pairs", prepare: |w| act(w, Action::Do(Verb::Generate)), ready: at_rest },
    Scene {
        name: "running",
        prepare: |w| act(w, Action::Do(Verb::RunOrPause)),
        ready: |w| w.host().session.path().len() > 7,
    },
    Scene { name: "refined", prepare: |_| {}, ready: refined },
    Scene {
        name: "judged",
        prepare: |w| {
            let choice = LiveChoice { is_on: true, ..w.host().session.live_choice().clone() };
            act(w, Action::ChooseLive(Box::new(choice)));
        },
        ready: |w| refined(w) && matches!(w.host().session.live_shown(), LiveShown::Found(..)),
    },
    Scene { name: "canvas_wipe", prepare: |w| look(w, Compare::Wipe), ready: refined },
    Scene { name: "canvas_side", prepare: |w| look(w, Compare::Side), ready: refined },
    Scene { name: "canvas_difference", prepare: |w| look(w, Compare::Difference), ready: refined },
    Scene {
        name: "canvas_mask",
        prepare: |w| {
            look(w, Compare::Side);
            w.brush_mut().is_on = true;
            let mut settings = w.host().session.settings().clone();
            settings.edit.task = lapidary::generator::EditTask::Inpaint;
            act(w, Action::Edit(Box::new(settings)));
            let mut mask = Mask::filled(32, 32, false);
            mask.paint_disc(16.0, 16.0, 7.0, true);
            act(w, Action::SetMask(Some(mask)));
        },
        ready: refined,
    },
    Scene {
        name: "edited",
        prepare: |w| {
            w.brush_mut().is_on = false;
            act(w, Action::Do(Verb::Grid));
            let mut settings = w.host().session.settings().clone();
            settings.edit.task = lapidary::generator::EditTask::Denoise;
            act(w, Action::Edit(Box::new(settings)));
            act(w, Action::Do(Verb::Edit));
            act(w, Action::Confirm);
        },
        ready: |w| at_rest(w) && w.host().session.origins().is_some_and(|origins| origins.edited.is_some()),
    },
    Scene {
        name: "edited_canvas",
        prepare: |w| {
            look(w, Compare::Side);
            act(w, Action::Do(Verb::Step));
        },
        ready: |w| at_rest(w) && w.host().session.path().len() == 2,
    },
    Scene {
        name: "linf_branch",
        prepare: |w| {
            act(w, Action::Do(Verb::Grid));
            let mut settings = w.host().session.settings().clone();
            settings.refine.norm = lapidary::refiner::Norm::Linf;
            settings.refine.eps = 8.0 / 255.0;
            settings.refine.step_size = 1.0 / 255.0;
            settings.generate.samples = 12;
            act(w, Action::Edit(Box::new(settings)));
            act(w, Action::Do(Verb::Branch));
        },
        ready: |w| at_rest(w) && w.host().session.trace().runs().count() == 2,
    },
    Scene { name: "training_none", prepare: |w| w.show_training(true), ready: at_rest },
    Scene {
        name: "training_chosen",
        prepare: |w| {
            if let Err(error) = choose_training(w) {
                tracing::error!(%error, "the training cannot be described");
            }
        },
        ready: |w| trained(w, |training| training.phase == TrainPhase::Waits),
    },
    Scene {
        name: "training",
        prepare: |w| act(w, Action::Train(TrainAction::Steer(Steer::GoOn))),
        ready: |w| trained(w, |training| training.samples.len() > 1),
    },
    Scene {
        name: "help",
        prepare: |w| {
            act(w, Action::Train(TrainAction::Steer(Steer::Stop)));
            w.show_training(false);
            w.show_help(true);
        },
        ready: |w| at_rest(w) && !w.host().session.is_training(),
    },
    Scene {
        name: "failed",
        prepare: |w| {
            w.show_help(false);
            act(w, Action::Do(Verb::Grid));
            if w.host().send(Command::Panic).is_err() {
                tracing::warn!("the compute thread had ended before");
            }
        },
        ready: |w| matches!(w.host().session.activity(), Activity::Crashed(_)),
    },
];

/// Opens the window once per size and writes every scene as PNG.
fn main() -> anyhow::Result<()> {
    // Cargo adds flags of its own.
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = PathBuf::from(folder.unwrap_or_else(|| "assets/screenshots".to_owned()));
    std::fs::create_dir_all(&folder).with_context(|| format!("the folder cannot be made\n{}", folder.display()))?;
    // A home of its own: the pictures do not depend on what the user did before.
    let home = tempfile::tempdir()?;
    let folders = Folders { cache: Folders::of_user().cache, autosave: home.path().to_owned() };
    // eframe allows one event loop per process, so all sizes are taken from one window.
    let (sender, receiver) = crossbeam::channel::bounded(1);
    run_in([1280.0, 800.0], Settings::default(), Vec::new(), folders, move |workbench| {
        Box::new(Tour {
            workbench,
            folder,
            tours: (SIZES.iter().flat_map(|size| THEMES.map(|(theme, name)| (*size, theme, name)))).collect(),
            scene: 0,
            frames: 0,
            since: Instant::now(),
            prepared: false,
            shot: None,
            result: sender,
        })
    })?;
    receiver.try_recv().unwrap_or_else(|_| anyhow::bail!("the window was closed before all pictures were taken"))
}

type Shot = crossbeam::channel::Receiver<Arc<ColorImage>>;

struct Tour {
    workbench: Workbench,
    folder: PathBuf,
    /// Sizes and themes still to do; the last is current.
    tours: Vec<([f32; 2], egui::Theme, &'static str)>,
    scene: usize,
    frames: u32,
    since: Instant,
    prepared: bool,
    shot: Option<Shot>,
    result: crossbeam::channel::Sender<anyhow::Result<()>>,
}

impl Tour {
    fn advance(&mut self, ctx: &egui::Context) -> anyhow::Result<bool> {
        let Some(([width, height], theme, suffix)) = self.tours.last().copied() else { return Ok(true) };
        let scene = &SCENES[self.scene];
        if !self.prepared {
            ctx.send_viewport_cmd(egui::ViewportCommand::InnerSize(egui::vec2(width, height)));
            ctx.set_theme(theme);
            (scene.prepare)(&mut self.workbench);
            (self.prepared, self.frames, self.since) = (true, 0, Instant::now());
            return Ok(false);
        }
        if let Some(shot) = &self.shot {
            if let Ok(image) = shot.try_recv() {
                self.write(&format!("{}{suffix}", scene.name), &image)?;
                self.shot = None;
                self.next();
            }
            return Ok(false);
        }
        self.frames = if (scene.ready)(&self.workbench) { self.frames + 1 } else { 0 };
        if self.frames >= SETTLE {
            let (sender, receiver) = crossbeam::channel::bounded(1);
            let wake = ctx.clone();
            ctx.request_screenshot(move |image| {
                if sender.try_send(image).is_err() {
                    tracing::warn!("a picture came twice");
                }
                wake.request_repaint();
            });
            self.shot = Some(receiver);
        }
        anyhow::ensure!(self.since.elapsed() < PATIENCE, "the scene {:?} did not get ready", scene.name);
        Ok(false)
    }

    fn next(&mut self) {
        self.prepared = false;
        self.scene += 1;
        if self.scene == SCENES.len() {
            self.scene = 0;
            self.tours.pop();
            self.workbench.host_mut().handle(Action::Do(Verb::RestartCompute));
            self.workbench.host_mut().handle(Action::Do(Verb::NewSession));
            self.workbench.host_mut().handle(Action::Confirm);
        }
    }

    fn write(&self, name: &str, image: &ColorImage) -> anyhow::Result<()> {
        let [width, height] = image.size;
        let bytes: Vec<u8> = image.pixels.iter().flat_map(|pixel| [pixel.r(), pixel.g(), pixel.b()]).collect();
        let path = self.folder.join(format!("{name}_{width}x{height}.png"));
        image::save_buffer(&path, &bytes, width as u32, height as u32, image::ExtendedColorType::Rgb8)
            .with_context(|| format!("the picture cannot be written\n{}", path.display()))
    }
}

impl eframe::App for Tour {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.workbench.logic(ctx);
        match self.advance(ctx) {
            Ok(false) => ctx.request_repaint_after(Duration::from_millis(30)),
            finished => {
                if self.result.try_send(finished.map(|_| ())).is_err() {
                    tracing::debug!("already closing");
                }
                // Nobody would answer the question about unsaved work.
                self.workbench.close(ctx);
            }
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.workbench.ui(ui);
    }
}
