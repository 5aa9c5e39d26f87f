//! How much processor time the window itself takes, measured without a screen: the real panels, laid out and tessellated, while
//! 16 pictures of the demo are refined without end; and what the numbers of an independent judge beside them cost iterations, in
//! turns with and without. Prints JSON; an argument says for how many seconds.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use egui::{Pos2, Rect, vec2};
use lapidary::session::host::Folders;
use lapidary::session::{Action, Activity, Host, LiveChoice, LiveShown, Settings, Verb};
use lapidary::view::{Workbench, theme};
use serde::Serialize;

/// Size of the imagined window.
const SIZE: egui::Vec2 = vec2(1280.0, 800.0);
/// Pace of the frames.
const FRAME: Duration = Duration::from_micros(16_667);
/// Longest wait for the first pictures.
const PATIENCE: Duration = Duration::from_secs(600);

/// Pairs of turns without and with the numbers of an independent judge: what else the machine does comes to both.
const TURNS: usize = 5;
/// Seconds that are measured, unless an argument says otherwise.
const SECONDS: f64 = 10.0;

fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(SECONDS);
    let home = tempfile::tempdir()?;
    let folders = Folders { cache: Folders::of_user().cache, autosave: home.path().to_owned() };
    let mut settings = Settings::default();
    settings.generate.samples = 16;
    let cost = frame_cost(Host::start(settings, folders, Arc::new(|| ()))?, seconds)?;
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string_pretty(&cost)?)?;
    Ok(())
}

/// What the window cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct FrameCost {
    /// Seconds from the start of the threads to the first frame with pictures.
    secs_to_first_picture: f64,
    /// Frames measured while an open-ended run went on.
    frames: usize,
    /// Mean processor time of the window's thread per frame, in milliseconds.
    mean_ms: f64,
    /// 99th percentile.
    p99_ms: f64,
    /// Largest.
    max_ms: f64,
    /// Iterations per second meanwhile.
    iterations_per_sec: f64,
    /// Likewise, with and without the numbers of an independent judge beside the run.
    beside: Beside,
}

/// What the numbers of an independent judge beside a run cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Beside {
    /// Iterations per second without them.
    without: f64,
    /// And with them.
    with: f64,
    /// Iterations per second with them, as a share of those without: of every pair of turns, the median; 0.95 is promised.
    ratio: f64,
    /// Smallest and largest of these.
    range: [f64; 2],
    /// Numbers of how many states were seen.
    updates: usize,
}

/// Generates, runs without end for `seconds`, and draws all the time.
fn frame_cost(host: Host, seconds: f64) -> anyhow::Result<FrameCost> {
    let ctx = egui::Context::default();
    theme::install(&ctx);
    let mut bench = Bench { ctx, workbench: Workbench::new(host), start: Instant::now() };
    bench.workbench.host_mut().handle(Action::Do(Verb::Generate));
    while bench.workbench.host().session.path().is_empty() {
        bench.frame();
        anyhow::ensure!(bench.workbench.host().session.activity() != Activity::Failed, "generating failed");
        anyhow::ensure!(bench.start.elapsed() < PATIENCE, "no pictures after {} s", PATIENCE.as_secs());
    }
    bench.frame();
    let secs_to_first_picture = bench.start.elapsed().as_secs_f64();

    let mut settings = bench.workbench.host().session.settings().clone();
    settings.refine.iterations = None;
    bench.workbench.host_mut().handle(Action::Edit(Box::new(settings)));
    bench.workbench.host_mut().handle(Action::Do(Verb::RunOrPause));
    // Layout caches and textures settle first.
    for _ in 0..30 {
        bench.frame();
    }
    let (begin, before) = (Instant::now(), bench.workbench.host().session.path().len());
    let mut costs = Vec::new();
    while begin.elapsed().as_secs_f64() < seconds {
        costs.push(bench.frame().as_secs_f64() * 1e3);
    }
    let iterations = bench.workbench.host().session.path().len() - before;
    let iterations_per_sec = iterations as f64 / begin.elapsed().as_secs_f64();
    let beside = beside(&mut bench, seconds / 2.0);
    bench.workbench.host_mut().handle(Action::Do(Verb::Stop));
    costs.sort_by(f64::total_cmp);
    let at =
        |share: f64| costs.get(((costs.len() as f64 * share) as usize).min(costs.len() - 1)).copied().unwrap_or(0.0);
    Ok(FrameCost {
        secs_to_first_picture,
        frames: costs.len(),
        mean_ms: costs.iter().sum::<f64>() / costs.len().max(1) as f64,
        p99_ms: at(0.99),
        max_ms: at(1.0),
        iterations_per_sec,
        beside,
    })
}

/// Turns of so many seconds, one without the numbers of a judge and one with them, again and again.
fn beside(bench: &mut Bench, seconds: f64) -> Beside {
    // The judge is read once, before anything is measured.
    look(bench, true);
    let begin = Instant::now();
    while !matches!(bench.workbench.host().session.live_shown(), LiveShown::Found(..)) && begin.elapsed() < PATIENCE {
        bench.frame();
    }
    let (mut rates, mut updates) = ([Vec::new(), Vec::new()], 0);
    for turn in 0..2 * TURNS {
        // The order changes, too: a machine that grows warm slows what comes later.
        let is_on = (turn % 2 == 1) != (turn / 2 % 2 == 1);
        look(bench, is_on);
        let (begin, before) = (Instant::now(), bench.workbench.host().session.path().len());
        let mut seen = None;
        while begin.elapsed().as_secs_f64() < seconds {
            bench.frame();
            let now = match bench.workbench.host().session.live_shown() {
                LiveShown::Found(_, state, _) if is_on => Some(state),
                _ => None,
            };
            updates += usize::from(now.is_some() && now != seen);
            seen = now;
        }
        let iterations = bench.workbench.host().session.path().len() - before;
        rates[usize::from(is_on)].push(iterations as f64 / begin.elapsed().as_secs_f64());
    }
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len().max(1) as f64;
    let mut ratios: Vec<f64> = rates[0].iter().zip(&rates[1]).map(|(without, with)| with / without).collect();
    ratios.sort_by(f64::total_cmp);
    let range = [ratios[0], ratios[ratios.len() - 1]];
    Beside { without: mean(&rates[0]), with: mean(&rates[1]), ratio: ratios[ratios.len() / 2], range, updates }
}

/// Has the window look at the numbers of the judge, or not.
fn look(bench: &mut Bench, is_on: bool) {
    let host = bench.workbench.host_mut();
    let choice = LiveChoice { is_on, ..host.session.live_choice().clone() };
    host.handle(Action::ChooseLive(Box::new(choice)));
}

struct Bench {
    ctx: egui::Context,
    workbench: Workbench,
    start: Instant,
}

impl Bench {
    /// One frame; returns its processor time on this thread.
    fn frame(&mut self) -> Duration {
        let begin = Instant::now();
        let input = egui::RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, SIZE)),
            time: Some(self.start.elapsed().as_secs_f64()),
            ..Default::default()
        };
        let cpu = ThreadTime::now();
        let output = self.ctx.run_ui(input, |ui| {
            let ctx = ui.ctx().clone();
            self.workbench.logic(&ctx);
            self.workbench.ui(ui);
        });
        let pixels_per_point = output.pixels_per_point;
        let shapes = self.ctx.tessellate(output.shapes, pixels_per_point);
        let cost = cpu.elapsed();
        drop(shapes);
        if let Some(rest) = FRAME.checked_sub(begin.elapsed()) {
            std::thread::sleep(rest);
        }
        cost
    }
}
