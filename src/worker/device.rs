//! Choosing where to compute: a value at run time, never a build option.

use burn::cubecl::config::autotune::AutotuneLevel;
use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig as _};
use burn::tensor::{Device, DeviceKind};
// The one that burn computes with: adapters are numbered in its order.
use burn_wgpu::wgpu;
use serde::{Deserialize, Serialize};

/// Where the user wants to compute.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceChoice {
    /// A real GPU when there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU (burn-flex).
    Cpu,
    /// A GPU; a software rasteriser if there is nothing else.
    Gpu,
    /// The adapter whose name contains this text, without regard to case.
    Named(String),
    /// The first NVIDIA GPU through CUDA, in a build with the feature `cuda`.
    Cuda,
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => out.write_str("auto"),
            Self::Cpu => out.write_str("cpu"),
            Self::Gpu => out.write_str("gpu"),
            Self::Named(name) => write!(out, "gpu:{name}"),
            Self::Cuda => out.write_str("cuda"),
        }
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

impl std::str::FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        match (kind.trim().to_ascii_lowercase().as_str(), name.trim()) {
            ("auto", "") => Ok(Self::Auto),
            ("cpu", "") => Ok(Self::Cpu),
            ("gpu", "") if !text.contains(':') => Ok(Self::Gpu),
            ("cuda", "") => Ok(Self::Cuda),
            ("gpu", name) if !name.is_empty() => Ok(Self::Named(name.to_owned())),
            _ => Err(DeviceError::Unknown { found: text.to_owned() }),
        }
    }
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The text names no device.
    #[error("{found:?} is no device: use auto, cpu, gpu, gpu:NAME with a part of the adapter's name, or cuda")]
    Unknown {
        /// What was given.
        found: String,
    },
    /// There is no adapter at all.
    #[error("no GPU was found (adapters: {found}): install its Vulkan, Metal or DirectX driver, or use --device cpu")]
    NoGpu {
        /// The adapters that exist.
        found: String,
    },
    /// CUDA was asked for, and this program cannot use it.
    #[error(
        "this program was built without CUDA: use --device gpu, which reaches NVIDIA's GPUs through Vulkan, or build it with `cargo build --features cuda`"
    )]
    NoCuda,
    /// CUDA was asked for, and there is no device of its.
    #[error(
        "no CUDA device was found: install NVIDIA's driver and check that `nvidia-smi` lists the GPU, or use --device gpu or cpu"
    )]
    NoCudaDevice,
    /// The adapter does not start.
    #[error("the GPU {name:?} does not start: update its driver, or use --device cpu")]
    Start {
        /// The adapter.
        name: String,
        /// What the driver said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is being computed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Name of the adapter, or of the CPU backend.
    pub name: String,
    /// Graphics interface, or `flex` for the CPU.
    pub backend: String,
    /// True for the CPU backend.
    pub cpu: bool,
    /// True for an adapter that draws with the CPU.
    pub software: bool,
    /// Driver of the adapter and its version, as far as it tells.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Whether convolutions and linear layers take plain kernels, because the fastest ones compute wrongly.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untuned: bool,
    /// The networks whose layers were compared with the CPU's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// What comparing a network's layers on a device with the CPU's came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// SHA-256 of the network's file.
    pub sha256: String,
    /// In words.
    pub found: String,
}

impl DeviceInfo {
    /// What of it is worth knowing beside its name, in words.
    #[must_use]
    pub fn details(&self) -> String {
        let untuned =
            if self.untuned { "; its kernels are not tuned, because tuned ones computed wrongly" } else { "" };
        let checks: Vec<_> = self.checks.iter().map(|check| format!("\nChecked: {}", check.found)).collect();
        format!("{} through {}{untuned}{}", self.name, self.backend, checks.concat())
    }
}

/// A device, ready for tensors.
#[derive(Debug, Clone)]
pub(super) struct OpenDevice {
    pub(super) device: Device,
    pub(super) info: DeviceInfo,
}

/// Opens the chosen device.
pub(super) fn open(choice: &DeviceChoice) -> Result<OpenDevice, DeviceError> {
    if *choice == DeviceChoice::Cpu {
        return Ok(cpu());
    }
    if *choice == DeviceChoice::Cuda {
        return cuda();
    }
    let adapters = adapters();
    let picked = pick(choice, &adapters);
    let Some((kind, info)) = picked else {
        if *choice == DeviceChoice::Auto {
            return Ok(cpu());
        }
        let names: Vec<_> = adapters.iter().map(|adapter| adapter.name.as_str()).collect();
        let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(DeviceError::NoGpu { found });
    };
    configure(info.software);
    let device = Device::wgpu_options()
        .device_kind(kind)
        .init()
        .map_err(|cause| DeviceError::Start { name: info.name.clone(), cause: format!("{cause:?}").into() })?;
    Ok(OpenDevice { device, info })
}

/// The CPU backend.
pub(super) fn cpu() -> OpenDevice {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let plural = if threads == 1 { "" } else { "s" };
    let info = DeviceInfo {
        name: format!("CPU, {threads} thread{plural}"),
        backend: "flex".to_owned(),
        cpu: true,
        software: false,
        driver: String::new(),
        untuned: false,
        checks: Vec::new(),
    };
    OpenDevice { device: Device::flex(), info }
}

/// The first device of CUDA; its kernels are compiled by the driver's NVRTC when they are first needed.
#[cfg(feature = "cuda")]
fn cuda() -> Result<OpenDevice, DeviceError> {
    let devices = Device::enumerate(burn::tensor::DeviceType::Cuda);
    let device = devices.into_iter().next().ok_or(DeviceError::NoCudaDevice)?;
    configure(false);
    let name = device.identity().map_or_else(|| "CUDA device".to_owned(), |identity| identity.name);
    let (backend, driver, checks) = ("cuda".to_owned(), String::new(), Vec::new());
    let info = DeviceInfo { name, backend, cpu: false, software: false, driver, untuned: false, checks };
    Ok(OpenDevice { device, info })
}

#[cfg(not(feature = "cuda"))]
const fn cuda() -> Result<OpenDevice, DeviceError> {
    Err(DeviceError::NoCuda)
}

fn adapters() -> Vec<wgpu::AdapterInfo> {
    let primary = wgpu::Backends::PRIMARY;
    // OpenGL would look for a display and complain on stderr where there is none.
    let descriptor =
        wgpu::InstanceDescriptor { backends: primary, ..wgpu::InstanceDescriptor::new_without_display_handle() };
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(primary)).iter().map(wgpu::Adapter::get_info).collect()
}

/// The adapter to use and its place among those of its type, which is how burn names it.
fn pick(choice: &DeviceChoice, adapters: &[wgpu::AdapterInfo]) -> Option<(DeviceKind, DeviceInfo)> {
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    let place = |index: usize| {
        let kind = adapters[index].device_type;
        adapters[..index].iter().filter(|adapter| adapter.device_type == kind).count()
    };
    let rank = |adapter: &wgpu::AdapterInfo| match adapter.device_type {
        DiscreteGpu => 0,
        IntegratedGpu => 1,
        VirtualGpu => 2,
        Other => 3,
        Cpu => 4,
    };
    let fits = |adapter: &wgpu::AdapterInfo| match choice {
        DeviceChoice::Cpu | DeviceChoice::Cuda => false,
        DeviceChoice::Auto => matches!(adapter.device_type, DiscreteGpu | IntegratedGpu | VirtualGpu),
        DeviceChoice::Gpu => true,
        DeviceChoice::Named(name) => adapter.name.to_lowercase().contains(&name.to_lowercase()),
    };
    let (index, adapter) = adapters.iter().enumerate().filter(|(_, a)| fits(a)).min_by_key(|(_, a)| rank(a))?;
    let kind = match adapter.device_type {
        DiscreteGpu => DeviceKind::DiscreteGpu(place(index)),
        IntegratedGpu => DeviceKind::IntegratedGpu(place(index)),
        VirtualGpu => DeviceKind::VirtualGpu(place(index)),
        Cpu => DeviceKind::Cpu,
        Other => DeviceKind::DefaultDevice,
    };
    let info = DeviceInfo {
        name: adapter.name.clone(),
        backend: adapter.backend.to_string(),
        cpu: false,
        software: adapter.device_type == Cpu,
        driver: format!("{} {}", adapter.driver, adapter.driver_info).trim().to_owned(),
        untuned: false,
        checks: Vec::new(),
    };
    Some((kind, info))
}

/// Says how thoroughly kernels are tuned. Said here, files that lie where the program is started from have no say. Only the
/// first call of a process counts.
fn configure(software: bool) {
    let mut config = CubeClRuntimeConfig::default();
    // A software rasteriser needs a minute for what a GPU tunes in seconds, and gains little from it.
    config.autotune.level = if software { AutotuneLevel::Minimal } else { AutotuneLevel::Balanced };
    if !CubeClRuntimeConfig::try_set(config) {
        tracing::debug!("tuning was configured before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_written_and_read() {
        for text in ["auto", "cpu", "gpu", "gpu:RTX 4090", "cuda"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        let message = "tpu".parse::<DeviceChoice>().unwrap_err().to_string();
        assert!(message.contains("use auto, cpu, gpu"), "{message}");
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_program_without_cuda_says_what_to_do() {
        let message = open(&DeviceChoice::Cuda).unwrap_err().to_string();
        assert!(message.contains("--device gpu") && message.contains("--features cuda"), "{message}");
    }
}
