//! One version each of the libraries whose types cross borders: two of them would not fit together, or double the build.

/// Crates that must not exist twice.
const SINGLE: [&str; 9] = ["burn", "burn-tensor", "burn-flex", "cubecl", "wgpu", "wgpu-core", "naga", "egui", "eframe"];

#[test]
fn libraries_that_cross_borders_exist_once() {
    let lock: toml::Table = include_str!("../Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    for name in SINGLE {
        let versions: Vec<_> = packages
            .iter()
            .filter(|package| package["name"].as_str() == Some(name))
            .map(|package| package["version"].as_str().unwrap())
            .collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn burn_is_the_pinned_version_without_spirv() {
    let manifest: toml::Table = include_str!("../Cargo.toml").parse().unwrap();
    let burn = &manifest["dependencies"]["burn"];
    assert_eq!(burn["version"].as_str(), Some("=0.22.1"));
    assert_eq!(burn["default-features"].as_bool(), Some(false));
    let features: Vec<_> = burn["features"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    for needed in ["wgpu", "flex", "simd", "rayon", "fusion", "autotune", "persistence"] {
        assert!(features.contains(&needed), "{needed} vanishes when it is not listed");
    }
    assert!(!features.contains(&"vulkan"), "SPIR-V crashes software rasterisers");
}
