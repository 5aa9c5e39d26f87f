//! What `deny.toml` says, checked without the tool that reads it, for machines that lack it: one version each of the
//! libraries whose types cross borders, and only licences that the project may be distributed under.

use std::process::Command;

fn parsed(text: &str) -> toml::Table {
    text.parse().expect("it is TOML")
}

/// A list of strings below `rules`.
fn strings(rules: &toml::Table, section: &str, list: &str) -> Vec<String> {
    let items = rules[section][list].as_array().expect("a list");
    items.iter().map(|item| item.as_str().expect("a text").to_owned()).collect()
}

fn deny() -> toml::Table {
    parsed(include_str!("../deny.toml"))
}

#[test]
fn libraries_that_cross_borders_exist_once() {
    let lock = parsed(include_str!("../Cargo.lock"));
    let packages = lock["package"].as_array().expect("a list");
    let rules = deny();
    let single = rules["bans"]["deny"].as_array().expect("a list");
    assert!(single.len() >= 5, "the list is there");
    for rule in single {
        assert_eq!(rule["deny-multiple-versions"].as_bool(), Some(true), "{rule}: another kind of rule");
        let name = rule["crate"].as_str().expect("a name");
        let versions: Vec<_> = packages
            .iter()
            .filter(|package| package["name"].as_str() == Some(name))
            .map(|package| package["version"].as_str().expect("a version"))
            .collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

fn cargo(args: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new(env!("CARGO")).args(args).output().expect("cargo starts");
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Everything that could be linked on any platform, as cargo tells it; on this one alone where what others need is neither here
/// nor to be had.
fn metadata() -> serde_json::Value {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let told = ["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest];
    let version = String::from_utf8(cargo(&["--version", "--verbose"]).expect("cargo has a version")).expect("a text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("it runs somewhere");
    let here = [&told[..], &["--offline", "--filter-platform", host]].concat();
    let all = cargo(&told).or_else(|_| cargo(&here)).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_slice(&all).expect("it is JSON")
}

#[test]
fn every_licence_is_allowed() {
    let allowed = strings(&deny(), "licenses", "allow");
    let allowed: Vec<spdx::Licensee> = allowed
        .iter()
        .map(|text| spdx::Licensee::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
        .collect();
    let clarified = |name: &str| -> Option<String> {
        let rules = deny();
        let rule = rules["licenses"]["clarify"].as_array()?.iter().find(|rule| rule["crate"].as_str() == Some(name))?;
        rule["expression"].as_str().map(str::to_owned)
    };
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 300, "the packages were found: {}", packages.len());
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let said = package["license"].as_str().map(str::to_owned);
        let licence = said.or_else(|| clarified(name)).unwrap_or_else(|| panic!("{name} does not say its licence"));
        let expression = spdx::Expression::parse_mode(&licence, spdx::ParseMode::LAX)
            .unwrap_or_else(|error| panic!("{name}, {licence:?}: {error}"));
        let fits = expression.evaluate(|wanted| allowed.iter().any(|licensee| licensee.satisfies(wanted)));
        assert!(fits, "{name} is under {licence:?}, which deny.toml does not allow");
    }
}

#[test]
fn burn_is_pinned_and_has_the_features_that_vanish_silently() {
    let manifest = parsed(include_str!("../Cargo.toml"));
    let burn = &manifest["dependencies"]["burn"];
    assert_eq!(burn["version"].as_str(), Some("=0.22.1"));
    assert_eq!(manifest["dependencies"]["burn-wgpu"]["version"], burn["version"], "they come together");
    let written = lapidary::session::Provenance::new().burn;
    assert_eq!(burn["version"].as_str(), Some(format!("={written}").as_str()), "what is written beside results");
    assert_eq!(burn["default-features"].as_bool(), Some(false));
    let features: Vec<_> =
        burn["features"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
    for needed in ["wgpu", "flex", "simd", "rayon", "autotune"] {
        assert!(features.contains(&needed), "{needed} vanishes when it is not listed");
    }
    for unwanted in strings_of(&deny()["bans"]["features"]) {
        assert!(!features.contains(&unwanted.as_str()), "{unwanted} is banned in deny.toml");
    }
}

#[test]
fn the_window_has_the_systems_clipboard_its_fonts_and_a_voice() {
    let manifest = parsed(include_str!("../Cargo.toml"));
    let window = &manifest["dependencies"]["eframe"];
    assert_eq!(window["default-features"].as_bool(), Some(false));
    let features: Vec<_> =
        window["features"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
    // Without them nothing can be pasted, names outside Latin are boxes, and nothing is read aloud.
    for needed in ["clipboard", "default_fonts", "system_fonts", "accesskit"] {
        assert!(features.contains(&needed), "{needed} is missing, and nothing else says so");
    }
}

/// The features that deny.toml bans.
fn strings_of(rules: &toml::Value) -> Vec<String> {
    let rules = rules.as_array().expect("a list");
    let lists = rules.iter().filter_map(|rule| rule["deny"].as_array());
    let banned: Vec<String> = lists.flatten().filter_map(toml::Value::as_str).map(str::to_owned).collect();
    assert!(banned.iter().any(|feature| feature == "vulkan"), "SPIR-V crashes software rasterisers");
    banned
}
