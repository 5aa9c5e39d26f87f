//! Keeps the layers apart: what each folder of `src` may use, as data with a reason, checked on every path in the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders and files of `src`, each of which uses only what stands on a line above it.
const ORDER: [&[&str]; 10] = [
    &["image", "parameter"],
    &["checkpoint"],
    &["net"],
    &["generator"],
    &["classifier"],
    &["refiner"],
    &["trace"],
    &["worker"],
    &["session"],
    &["view", "export", "cli"],
];

/// Uses within the last line that are meant: who, what, why.
const EXCEPTIONS: [(&str, &str, &str); 4] = [
    ("view", "crate::export", "the window saves pictures and figures"),
    ("view", "crate::cli::WindowOptions", "the command line's options say how the window starts"),
    ("cli", "crate::export", "commands write files"),
    ("cli", "crate::view", "the command without a name opens the window"),
];

/// What some folders must not use.
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

const BANS: [Ban; 6] = [
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
        places: &["net", "generator", "classifier", "refiner"],
        but: &[],
        banned: &["std::fs", "std::io", "std::net", "std::process"],
        reason: "mathematics gets values, not files",
    },
    Ban {
        places: &["net", "generator", "classifier", "refiner", "trace"],
        but: &[],
        banned: &["std::time", "std::thread", "std::sync::mpsc", "crossbeam_channel", "crossbeam"],
        reason: "mathematics has no clock, no threads and no channels: the worker owns the loop",
    },
    Ban {
        places: &["parameter", "checkpoint", "trace", "session"],
        but: &[],
        banned: &["burn"],
        reason: "tensors stay with the compute thread; these hold plain values",
    },
    Ban {
        places: &["image", "parameter", "checkpoint"],
        but: &[],
        banned: &["std::time", "std::thread", "crossbeam_channel", "crossbeam"],
        reason: "the foundations have no clock, no threads and no channels",
    },
];

/// The code without comments and without the text of strings and characters.
fn strip(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut code, mut i) = (String::new(), 0);
    while i < chars.len() {
        let word_before = code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= chars.len() {
                        break;
                    }
                }
            }
            ('r', '"' | '#') if !word_before || code.ends_with('b') => {
                let hashes = (i + 1..).take_while(|j| at(*j) == '#').count();
                if at(i + 1 + hashes) == '"' {
                    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    i += 2 + hashes;
                    while i < chars.len() && !chars[i..].starts_with(&end) {
                        i += 1;
                    }
                    i += end.len();
                } else {
                    // A raw identifier.
                    i += 2;
                }
            }
            ('"', _) => {
                i += 1;
                while i < chars.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
                code.push(' ');
            }
            ('\'', '\\') => {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            (c, _) => {
                code.push(c);
                i += 1;
            }
        }
    }
    code
}

/// Tokens that paths consist of: words, `::`, `{`, `}`, `,`; anything else separates and is one character.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            let mut word = String::from(c);
            while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                word.push(next);
            }
            tokens.push(word);
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            tokens.push("::".to_owned());
        } else if !c.is_whitespace() {
            tokens.push(c.to_string());
        }
    }
    tokens
}

fn is_word(token: Option<&String>) -> bool {
    token.is_some_and(|token| token.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Reads the path at `start`, groups expanded; returns where it ends.
fn read_path(tokens: &[String], start: usize, prefix: &str, paths: &mut BTreeSet<String>) -> usize {
    let (mut path, mut i) = (prefix.to_owned(), start);
    loop {
        match tokens.get(i).map(String::as_str) {
            Some("{") if path.ends_with("::") || path.is_empty() => {
                i += 1;
                while i < tokens.len() && tokens[i] != "}" {
                    // `as name` gives no path, and neither does a comma or a star.
                    i = if tokens[i] == "as" { i + 2 } else { read_path(tokens, i, &path, paths).max(i + 1) };
                }
                return i + 1;
            }
            Some(word) if is_word(tokens.get(i)) && (path.is_empty() || path.ends_with("::")) => {
                path.push_str(word);
                i += 1;
            }
            Some("::") if !path.ends_with("::") => {
                // A leading `::` names another crate.
                if !path.is_empty() {
                    path.push_str("::");
                }
                i += 1;
            }
            _ => break,
        }
    }
    if path != prefix {
        paths.insert(path.trim_end_matches("::").to_owned());
    }
    i
}

/// Every path in the code, `use` groups expanded; single words are left out.
fn paths(source: &str) -> BTreeSet<String> {
    let tokens = tokens(&strip(source));
    let mut paths = BTreeSet::new();
    let mut i = 0;
    while i < tokens.len() {
        let begins = is_word(tokens.get(i)) || tokens[i] == "::";
        let next = if begins && tokens[i] != "use" { read_path(&tokens, i, "", &mut paths) } else { i + 1 };
        i = next.max(i + 1);
    }
    paths.retain(|path| path.contains("::"));
    paths
}

fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every Rust file of `src`, as path relative to it.
fn files() -> Vec<(String, String)> {
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
                files.push((name, std::fs::read_to_string(&path).expect("source is text")));
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
        return vec![format!("src/{file}: {here} has no place in the order of folders yet, give it one in this test")];
    };
    let mut broken = Vec::new();
    for path in paths.iter().filter(|path| path.starts_with("crate::")) {
        let used = path.split("::").nth(1).unwrap_or_default();
        let meant = EXCEPTIONS.iter().any(|(who, what, _)| *who == here && begins_with(path, what));
        let fits = used == here || rank(used).is_some_and(|used| used < own);
        if !fits && !meant {
            broken.push(format!("src/{file} uses {path}: {here} may only use what stands before it"));
        }
    }
    broken
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "{} uses cross the layers:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn the_checker_sees_through_comments_strings_and_groups() {
    let source = r##"
        //! wgpu::Doc
        use std::{fs, collections::{BTreeMap, HashMap as Map}, time::Duration};
        use crate::{net::unet::Unet, image::*};
        /* eframe::Comment /* nested */ egui::Comment */
        fn f<'a>(x: &'a str) -> char {
            let _ = ("egui::Text \" still", r#"burn::"raw" text"#, '"', '\'', b'"');
            ::wgpu::go::<crate::worker::Job>(x);
            'c'
        }
    "##;
    let found = paths(source);
    let expected = [
        "crate::image",
        "crate::net::unet::Unet",
        "crate::worker::Job",
        "std::collections::BTreeMap",
        "std::collections::HashMap",
        "std::fs",
        "std::time::Duration",
        "wgpu::go",
    ];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(order_broken("net/unet.rs", &found).len(), 1, "the worker stands behind the networks");
    assert_eq!(bans_broken("net/unet.rs", &found).len(), 3, "wgpu, files, a clock");
    assert_eq!(bans_broken("view/canvas.rs", &found), Vec::<String>::new());
    assert_eq!(order_broken("export/svg.rs", &["crate::view::Theme".to_owned()].into()).len(), 1);
    assert_eq!(order_broken("view/app.rs", &["crate::cli::WindowOptions".to_owned()].into()).len(), 0);
    assert_eq!(order_broken("view/app.rs", &["crate::cli::refine::go".to_owned()].into()).len(), 1);
}

#[test]
fn every_folder_uses_only_what_stands_before_it() {
    let files = files();
    let broken: Vec<String> = files.iter().flat_map(|(file, source)| order_broken(file, &paths(source))).collect();
    assert_none(&broken);
    let seen: usize =
        files.iter().map(|(_, source)| paths(source).iter().filter(|path| path.starts_with("crate::")).count()).sum();
    assert!(seen > 50, "the paths of the crate were found: {seen}");
}

#[test]
fn no_folder_uses_what_is_kept_from_it() {
    let files = files();
    for folder in BANS.iter().flat_map(|ban| ban.places).filter(|folder| **folder != "*") {
        assert!(files.iter().any(|(file, _)| place(file) == *folder), "a rule speaks of {folder}, which is not there");
    }
    let broken: Vec<String> = files.iter().flat_map(|(file, source)| bans_broken(file, &paths(source))).collect();
    assert_none(&broken);
}
