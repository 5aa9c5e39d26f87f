//! A training step of the demo's two networks, forwards, backwards and the gradients of all parameters: our operations
//! against burn's.
//!
//! `cargo bench --profile dev --bench training`. Two processes take turns, one with `LAPIDARY_KERNELS=burn`, so that a busy
//! machine slows both alike.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use burn::module::Module as _;
use burn::tensor::{Device, Tensor, TensorData};
use lapidary::checkpoint::CheckpointError;
use lapidary::net::Source;
use lapidary::net::resnet::{Resnet, ResnetConfig, ResnetManifest};
use lapidary::net::unet::{Unet, UnetConfig, UnetManifest};

const UNET: &str = "
model_channels = 64
num_res_blocks = 2
channel_mult = [1, 2]
attention_downsample = [2]
num_head_channels = 64
patch_size = 2
";
const RESNET: &str = "
blocks = [1, 1, 1]
widths = [48, 96, 192]
shortcut = 'pool'
stem_kernel = 3
stem_stride = 1
";
const BATCHES: [usize; 2] = [16, 64];
const ROUNDS: usize = 7;

/// Weights of the usual size, without a pattern.
struct Numbers;

impl Source for Numbers {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, CheckpointError> {
        let fan: usize = shape.iter().skip(1).product();
        let offset = if shape.len() == 1 && !name.ends_with("bias") { 1.0 } else { 0.0 };
        let noise = values(shape.iter().product());
        Ok(Some(noise.into_iter().map(|x| offset + x / (fan as f32).sqrt() * 0.3).collect()))
    }
}

/// Values without a pattern, in `-1..1`.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 12.9898).sin() * 43758.547 % 1.0).collect()
}

/// Seconds of a step, and the largest gradient of the pictures.
type Step = Box<dyn Fn(usize) -> (f64, f32)>;

fn steps() -> [Step; 2] {
    let device = Device::flex();
    let arch: UnetManifest = toml::from_str(UNET).expect("a U-Net");
    let config = UnetConfig { arch, channels: 3, num_classes: Some(12) };
    let unet = Unet::load(config, &mut Numbers, &device).expect("values for everything").train();
    let arch: ResnetManifest = toml::from_str(RESNET).expect("a residual network");
    let config = ResnetConfig { arch, channels: 3, num_classes: 12 };
    let resnet = Resnet::load(&config, &mut Numbers, &device).expect("values for everything").train();
    let unet: Step = Box::new(move |n| {
        let labels: Vec<usize> = (0..n).map(|i| i % 12).collect();
        time(n, |x| unet.forward(x, &vec![0.5; n], Some(&labels)).powi_scalar(2).mean())
    });
    let resnet: Step = Box::new(move |n| time(n, |x| resnet.forward(x).powi_scalar(2).mean()));
    [unet, resnet]
}

fn time(n: usize, loss: impl Fn(Tensor<4>) -> Tensor<1>) -> (f64, f32) {
    let x = Tensor::<4>::from_data(TensorData::new(values(n * 3 * 32 * 32), [n, 3, 32, 32]), &Device::flex());
    let x = x.autodiff().require_grad();
    let start = Instant::now();
    let mut gradients = loss(x.clone()).backward();
    let seconds = start.elapsed().as_secs_f64();
    let gradient = x.grad_remove(&mut gradients).expect("a leaf");
    (seconds, gradient.abs().max().into_scalar::<f32>())
}

/// Makes a step for every line, which names network and batch.
fn child() {
    let steps = steps();
    for line in std::io::stdin().lines() {
        let line = line.expect("numbers");
        let [net, n]: [usize; 2] =
            [0, 1].map(|i| line.split(' ').nth(i).and_then(|word| word.parse().ok()).expect("a number"));
        let (seconds, gradient) = steps[net](n);
        writeln!(std::io::stdout(), "{seconds} {gradient}").expect("a reader");
    }
}

/// Another process of this program, and how to speak with it.
type Other = (Child, ChildStdin, BufReader<ChildStdout>);

fn spawn(kernels: &str) -> Other {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg("child").env("LAPIDARY_KERNELS", kernels).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("a process");
    let (to, from) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    (child, to, BufReader::new(from))
}

fn ask((_, to, from): &mut Other, net: usize, n: usize) -> [f64; 2] {
    writeln!(to, "{net} {n}").expect("it listens");
    let mut line = String::new();
    from.read_line(&mut line).expect("it answers");
    [0, 1].map(|i| line.trim().split(' ').nth(i).and_then(|word| word.parse().ok()).expect("a number"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    if std::env::args().any(|word| word == "child") {
        return child();
    }
    let mut out = std::io::stdout();
    let mut both = ["own", "burn"].map(spawn);
    for (net, name) in ["U-Net", "ResNet"].into_iter().enumerate() {
        for n in BATCHES {
            let warm = both.each_mut().map(|child| ask(child, net, n)[1]);
            let rounds: Vec<[f64; 2]> =
                (0..ROUNDS).map(|_| both.each_mut().map(|child| ask(child, net, n)[0])).collect();
            let [own, burn] = [0, 1].map(|i| median(rounds.iter().map(|round| 1e3 * round[i]).collect()));
            let ratio = median(rounds.iter().map(|[own, burn]| burn / own).collect());
            writeln!(
                out,
                "{name}, {n} pictures: {own:.0} ms, burn {burn:.0} ms, ratio {ratio:.2}; largest gradients {warm:?}"
            )
            .expect("a reader");
        }
    }
    for (mut child, to, _) in both {
        drop(to);
        child.wait().expect("it ends with its input");
    }
}
