//! `kill -9` at any moment of running, saving, opening and recovering: what was said to be safe is there.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lapidary::session::{Action, Detail, Verb};

use super::world::{HERE, World};

/// Names the folder to the process that will be killed.
const CHILD: &str = "LAPIDARY_TEST_CHILD";
/// How often it is done; a few times unless this says otherwise.
const KILLS: &str = "LAPIDARY_KILLS";
/// The tag of the pictures that a crash had left behind before.
const LEFT_BEHIND: u32 = 77;

/// Not a test by itself: the process that is killed. It does everything that writes, over and over, and tells what is safe.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(home) = std::env::var_os(CHILD) else { return };
    let home = PathBuf::from(home);
    let start = Instant::now();
    let mut world = World::at(home.clone());
    world.loud = true;
    world.act(Action::Recover(home.join("autosave/left")));
    world.rest();
    let file = home.join("same.lapidary");
    // Were nobody to kill it, it would end by itself.
    while start.elapsed() < Duration::from_secs(60) {
        world.act(Action::Do(Verb::RunOrPause));
        world.rest();
        world.act(Action::SaveSession(file.clone(), Detail::Full));
        world.act(Action::Confirm);
        world.rest();
        world.give_up();
        world.act(Action::Do(Verb::Generate));
        world.rest();
        world.act(Action::Do(Verb::RunOrPause));
        world.rest();
        world.settle();
        world.give_up();
        world.act(Action::OpenSession(file.clone()));
        world.act(Action::Confirm);
        world.rest();
    }
}

/// States of `tag` in a folder of the autosave or in a file; `None` when it does not open or holds others.
fn states(path: &Path, tag: u32) -> Option<usize> {
    let (restored, _disk) = World::read(path)?;
    let found = (restored.origins.as_ref()?.images.pixels()[0] * 1000.0).round() as u32;
    (found == tag).then_some(restored.index.len())
}

/// The numbers behind the last line that begins with `what`.
fn last(lines: &[String], what: &str) -> Option<(u32, usize)> {
    lines.iter().rev().find_map(|line| {
        let mut words = line.split_once(what)?.1.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    })
}

fn kill_after(wait: Duration) {
    let home = tempfile::tempdir().expect(HERE);
    let mut before = World::at(home.path().to_owned());
    before.begin_with(LEFT_BEHIND);
    before.act(Action::Do(Verb::RunOrPause));
    before.rest();
    before.settle();
    let left = before.crash_elsewhere();
    drop(before);
    let autosave = home.path().join("autosave");
    std::fs::remove_dir_all(autosave.join("own")).expect(HERE);
    std::fs::rename(left, autosave.join("left")).expect(HERE);

    let mut child = std::process::Command::new(std::env::current_exe().expect(HERE))
        .args(["--exact", "kill::child_that_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD, home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect(HERE);
    std::thread::sleep(wait);
    child.kill().expect(HERE);
    child.wait().expect(HERE);
    let lines: Vec<String> = BufReader::new(child.stdout.take().expect(HERE)).lines().map_while(Result::ok).collect();

    if let Some((tag, count)) = last(&lines, "file ") {
        let file = home.path().join("same.lapidary");
        // A newer one may have taken its place.
        let (restored, _disk) = World::read(&file).unwrap_or_else(|| panic!("the file does not open: {lines:?}"));
        let found = states(&file, tag).unwrap_or(usize::MAX);
        assert!(found >= count && !restored.index.is_empty(), "{found} of {count} states are in the file: {lines:?}");
    }
    let given_up = lines.iter().rposition(|line| line.contains("void "));
    let (tag, count) = match (last(&lines[given_up.map_or(0, |place| place + 1)..], "journal "), given_up) {
        (Some(safe), _) => safe,
        (None, None) => (LEFT_BEHIND, 6),
        (None, Some(_)) => return,
    };
    let folders: Vec<PathBuf> =
        std::fs::read_dir(&autosave).expect(HERE).map(|entry| entry.expect(HERE).path()).collect();
    let found = folders.iter().filter_map(|folder| states(folder, tag)).max();
    assert!(found >= Some(count), "{found:?} of {count} states of {tag} are left in {folders:?}: {lines:?}");
}

#[test]
fn kill_9_at_any_moment_costs_nothing_that_was_finished() {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(8_u64);
    for kill in 0..kills {
        // From before the first byte to some rounds later.
        kill_after(Duration::from_millis(20 + (kill * 37) % 400));
    }
}
