//! Keeps the layers apart: what each room of `src` may use, as data with a reason, checked on every path in the code,
//! however it is written (`crate::`, `super::super::`, inside groups and macros).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// Folders and files of `src`, each of which uses only what stands on a line above it; those of one line know nothing of
/// each other.
const ORDER: &[&[&str]] = &[
    &["error", "units", "file", "signals", "parameter", "image", "noise"],
    &["checkpoint"],
    &["net"],
    &["zoo"],
    &["generator"],
    &["classifier"],
    &["refiner"],
    &["metrics"],
    &["experiment"],
    &["data"],
    &["train"],
    &["origins", "trace"],
    &["worker"],
    &["session"],
    &["export"],
    &["view", "cli"],
];

/// What some rooms must not use.
struct Ban {
    /// Folders or files of `src`; `*` for all.
    places: &'static [&'static str],
    /// Except below these paths.
    but: &'static [&'static str],
    /// Beginnings of paths.
    banned: &'static [&'static str],
    reason: &'static str,
}

const WINDOW: &[&str] = &["egui", "eframe", "egui_plot", "egui_wgpu", "egui_winit", "winit"];

const BANS: &[Ban] = &[
    Ban {
        places: &["*"],
        but: &["view", "main.rs"],
        banned: WINDOW,
        reason: "only the window knows the window's library, so that everything else runs without one",
    },
    Ban {
        places: &["*"],
        but: &["view", "worker/device.rs"],
        banned: &["wgpu"],
        reason: "only the canvas and the choice of a device speak to the graphics card",
    },
    Ban {
        places: &["net", "generator", "classifier", "refiner", "metrics", "train"],
        but: &[],
        banned: &["std::fs", "std::io", "std::net", "std::process"],
        reason: "mathematics gets values, not files",
    },
    Ban {
        places: &["net", "generator", "classifier", "refiner", "metrics", "train", "trace"],
        but: &[],
        banned: &["std::time", "std::thread", "std::sync::mpsc", "crossbeam::channel", "crossbeam"],
        reason: "mathematics has no clock, no threads and no channels: the worker owns the loop",
    },
    Ban {
        places: &["parameter", "checkpoint", "zoo", "metrics", "origins", "trace", "session", "data", "export"],
        but: &[],
        banned: &["burn"],
        reason: "tensors stay with the compute thread; these hold plain values",
    },
    Ban {
        places: &["image", "parameter", "noise", "checkpoint"],
        but: &[],
        banned: &["std::time", "std::thread", "crossbeam::channel", "crossbeam"],
        reason: "the foundations have no clock, no threads and no channels",
    },
];

/// Collects the paths of a file; those into the crate are written from its root, as `crate::...`.
struct Paths {
    /// The module that is read, from the root of the crate.
    module: Vec<String>,
    found: BTreeSet<String>,
}

impl Paths {
    /// Every path of more than one word in the file `name` of `src`, `use` groups expanded.
    fn of(name: &str, source: &str) -> BTreeSet<String> {
        let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let mut paths = Self { module, found: BTreeSet::new() };
        paths.visit_file(&syn::parse_file(source).unwrap_or_else(|error| panic!("src/{name}: {error}")));
        paths.found
    }

    fn take(&mut self, words: &[String]) {
        let mut at = self.module.clone();
        let mut rest = words;
        match words.first().map(String::as_str) {
            Some("crate") => (at, rest) = (Vec::new(), &words[1..]),
            // The binary's name for the library.
            Some("lapidary") => (at, rest) = (Vec::new(), &words[1..]),
            Some("self") => rest = &words[1..],
            Some("super") => {
                while rest.first().is_some_and(|word| word == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            _ => {
                if words.len() > 1 {
                    self.found.insert(words.join("::"));
                }
                return;
            }
        }
        let whole: Vec<&str> = std::iter::once("crate").chain(at.iter().chain(rest).map(String::as_str)).collect();
        self.found.insert(whole.join("::"));
    }

    fn take_tree(&mut self, tree: &syn::UseTree, before: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.take_tree(&path.tree, before);
                before.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.take_tree(item, before)),
            syn::UseTree::Glob(_) => self.take(before),
            syn::UseTree::Name(syn::UseName { ident, .. }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                let itself = ident == "self";
                if !itself {
                    before.push(ident.to_string());
                }
                self.take(before);
                if !itself {
                    before.pop();
                }
            }
        }
    }

    /// A macro's input is not parsed, but its words and colons are there.
    fn take_tokens(&mut self, tokens: TokenStream) {
        let (mut words, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.take_words(&mut words);
                    }
                    words.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                other => {
                    self.take_words(&mut words);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.take_tokens(group.stream());
                    }
                }
            }
        }
        self.take_words(&mut words);
    }

    fn take_words(&mut self, words: &mut Vec<String>) {
        if words.len() > 1 {
            self.take(words);
        }
        words.clear();
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.take_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if words.len() > 1 {
            self.take(&words);
        }
        visit::visit_path(self, path);
    }

    /// `pub(in crate::view)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.take_tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.take_tokens(list.tokens.clone());
    }
}

fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every Rust file of `src`, as path relative to it, and the paths in it.
fn files() -> Vec<(String, BTreeSet<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
                let paths = Paths::of(&name, &std::fs::read_to_string(&path).expect("source is text"));
                files.push((name, paths));
            }
        }
    }
    files.sort();
    files
}

/// The folder of a file, or its stem when it lies in `src` itself.
fn place(file: &str) -> &str {
    file.split_once('/').map_or_else(|| file.trim_end_matches(".rs"), |(folder, _)| folder)
}

fn rank(place: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&place))
}

fn bans_broken(file: &str, paths: &BTreeSet<String>) -> Vec<String> {
    let below = |wanted: &&str| file == *wanted || file.starts_with(&format!("{wanted}/"));
    let applies = |ban: &&Ban| {
        let here = ban.places.contains(&"*") || ban.places.contains(&place(file));
        here && !ban.but.iter().any(below)
    };
    let mut broken = Vec::new();
    for ban in BANS.iter().filter(applies) {
        for path in paths.iter().filter(|path| ban.banned.iter().any(|banned| begins_with(path, banned))) {
            broken.push(format!("src/{file} uses {path}: {}", ban.reason));
        }
    }
    broken
}

fn order_broken(file: &str, paths: &BTreeSet<String>) -> Vec<String> {
    let here = place(file);
    if matches!(here, "lib" | "main") {
        return Vec::new();
    }
    let Some(own) = rank(here) else {
        return vec![format!("src/{file}: {here} has no place in the order of rooms yet, give it one in this test")];
    };
    let mut broken = Vec::new();
    for path in paths.iter().filter(|path| path.starts_with("crate::")) {
        let used = path.split("::").nth(1).unwrap_or_default();
        // What lies at the root itself, such as a macro, belongs to no room.
        let known = rank(used);
        if used != here && known.is_none_or(|used| used >= own) {
            broken.push(format!("src/{file} uses {path}: {here} may only use what stands before it"));
        }
    }
    broken
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "{} uses cross the layers:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn the_checker_sees_every_form_of_a_path() {
    let source = r##"
        //! wgpu::Doc
        use std::{fs, collections::{BTreeMap, HashMap as Map}, time::{self, Duration}};
        use crate::{net::unet::Unet, image::*};
        use super::super::trace as other;
        /* eframe::Comment /* nested */ egui::Comment */
        fn f<'a>(x: &'a str) -> char {
            let _ = ("egui::Text \" still", r#"burn::"raw" text"#, '"', '\'', b'"');
            ::wgpu::go::<crate::worker::Job>(x);
            println!("{} {}", super::super::session::NAME, vec![super::near()]);
            'c'
        }
        mod tests {
            use super::super::super::view;
        }
    "##;
    let found = Paths::of("net/unet.rs", source);
    for expected in [
        "crate::image",
        "crate::net::near",
        "crate::net::unet::Unet",
        "crate::session::NAME",
        "crate::trace",
        "crate::view",
        "crate::worker::Job",
        "std::collections::BTreeMap",
        "std::collections::HashMap",
        "std::fs",
        "std::time",
        "std::time::Duration",
        "wgpu::go",
    ] {
        assert!(found.contains(expected), "{expected} is not in {found:?}");
    }
    assert_eq!(found.iter().filter(|path| path.contains("egui") || path.contains("burn")).count(), 0, "{found:?}");
    assert_eq!(order_broken("net/unet.rs", &found).len(), 4, "session, trace, view and worker stand behind");
    assert_eq!(bans_broken("net/unet.rs", &found).len(), 4, "wgpu, files, a clock twice");
    assert_eq!(bans_broken("view/canvas.rs", &found), Vec::<String>::new());
    assert_eq!(order_broken("export/svg.rs", &["crate::view::Theme".to_owned()].into()).len(), 1);
    assert_eq!(order_broken("view/app.rs", &["crate::cli::go".to_owned()].into()).len(), 1, "neither knows the other");
    assert_eq!(order_broken("cli/app.rs", &["crate::view::go".to_owned()].into()).len(), 1, "neither knows the other");
}

#[test]
fn every_room_uses_only_what_stands_before_it() {
    let files = files();
    let broken: Vec<String> = files.iter().flat_map(|(file, paths)| order_broken(file, paths)).collect();
    assert_none(&broken);
    let seen: usize =
        files.iter().map(|(_, paths)| paths.iter().filter(|path| path.starts_with("crate::")).count()).sum();
    assert!(seen > 50, "the paths of the crate were found: {seen}");
}

#[test]
fn no_room_uses_what_is_kept_from_it() {
    let files = files();
    for room in BANS.iter().flat_map(|ban| ban.places).filter(|room| **room != "*") {
        assert!(files.iter().any(|(file, _)| place(file) == *room), "a rule speaks of {room}, which is not there");
    }
    let broken: Vec<String> = files.iter().flat_map(|(file, paths)| bans_broken(file, paths)).collect();
    assert_none(&broken);
}
