//! Experiments, from the command line.

use super::{check_refused, lapidary, run, stderr, stdout};

const FILE: &str = r#"
name = "small"
seeds = "0..12"
reference = ["real/samples.npz"]
metrics = ["frechet_distance", "agreement"]
[flags]
iterations = 1
[[generator]]
name = "CM"
each = { steps = [1, 2] }
[[refinement]]
name = "joint"
[[published]]
generator = "CM, steps 1"
refinement = "none"
metric = "frechet_distance"
value = 0.125
source = "Somebody 2024"
"#;

#[test]
fn a_table_is_computed_from_nothing_and_only_what_is_new_in_its_file_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["generate", "--seeds", "100..112", "--out", "real"]);
    std::fs::write(path.join("small.toml"), FILE).unwrap();
    let experiment = ["experiment", "small.toml", "--device", "cpu"];
    let planned = lapidary(path, &[&experiment[..], &["--dry-run"]].concat());
    assert!(
        stdout(&planned).contains("small: 2 cells in small\nCM, steps 1 / joint\n    lapidary refine --seeds=0..12")
    );
    assert!(!path.join("small").exists(), "a dry run writes nothing");
    // One of two runs computes one of the two cells, and no table.
    let shard = lapidary(path, &[&experiment[..], &["--shard", "2/2"]].concat());
    assert!(shard.status.success() && stdout(&shard).is_empty(), "{}", stderr(&shard));
    assert!(stderr(&shard).contains("shard 2/2: 1 cell done; once all shards are"), "{}", stderr(&shard));
    assert_eq!(std::fs::read_dir(path.join("small/cells")).unwrap().count(), 1);
    let output = lapidary(path, &experiment);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines =
        |text: &str| text.lines().filter(|line| line.starts_with("CM, ")).map(str::to_owned).collect::<Vec<_>>();
    let first = lines(&stdout(&output));
    let begins = ["CM, steps 1   none", "CM, steps 1   joint", "CM, steps 2   none", "CM, steps 2   joint"];
    assert!(first.iter().zip(begins).all(|(line, begins)| line.starts_with(begins)), "{}", stdout(&output));
    assert!(first.len() == 4 && first[0].contains("[0.125]"), "{first:?}");
    for name in ["table.txt", "table.csv", "table.tex", "table.md", "experiment.toml"] {
        assert!(path.join("small").join(name).is_file(), "{name}");
    }
    let csv = std::fs::read_to_string(path.join("small/table.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 4 * 2, "{csv}");
    // The folder of a cell is what its command says, and refine would make it again.
    let cell = |steps: usize| {
        let mut cells = std::fs::read_dir(path.join("small/cells")).unwrap().map(|entry| entry.unwrap().path());
        let begins = format!("cm-steps-{steps}--joint-");
        cells.find(|cell| cell.file_name().unwrap().to_string_lossy().starts_with(&begins)).unwrap()
    };
    let results = std::fs::read(cell(2).join("result.npz")).unwrap();
    let own = ["refine", "--seeds", "0..12", "--iterations", "1", "--steps", "2", "--out", "own"];
    run(path, &own);
    assert!(std::fs::read(path.join("own/result.npz")).unwrap() == results, "the same bytes");
    // One more refinement is computed; what was there is left as it is, and measured once.
    let more = FILE.replacen("[[published]]", "[[refinement]]\nname = \"CE\"\nobjective = \"ce\"\n[[published]]", 1);
    std::fs::write(path.join("small.toml"), more).unwrap();
    let written = |cell: &std::path::Path| std::fs::metadata(cell.join("result.npz")).unwrap().modified().unwrap();
    let before = written(&cell(1));
    let again = lapidary(path, &experiment);
    assert!(again.status.success(), "{}", stderr(&again));
    let second = lines(&stdout(&again));
    assert_eq!((second.len(), &second[..2]), (6, &first[..2]), "{second:?}");
    assert_eq!(before, written(&cell(1)), "it is not computed again");
    let tables = || {
        let entries = std::fs::read_dir(path.join("small/evaluations")).unwrap().map(|entry| entry.unwrap().path());
        let mut tables: Vec<_> = entries.filter(|entry| entry.extension().is_some_and(|kind| kind == "json")).collect();
        tables.sort();
        tables
    };
    assert_eq!(tables().len(), 4);
    // The real pictures are looked at once, whoever measures, and what was seen of them gives the same numbers.
    let taken = "what was seen of 12 real pictures before is taken from small/evaluations/real-";
    let count = |output| stderr(output).matches(taken).count();
    assert_eq!([&shard, &output, &again].map(count), [0, 1, 2], "one cell, then one, then two");
    let part = only(&only(&path.join("small/evaluations"), "real-").join("parts"), "00000000.npz");
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let before: Vec<Vec<u8>> = tables().iter().map(|table| std::fs::read(table).unwrap()).collect();
    for table in tables() {
        std::fs::remove_file(table).unwrap();
    }
    let anew = lapidary(path, &experiment);
    assert!(stderr(&anew).contains("is not what was written there, so it is kept as"), "{}", stderr(&anew));
    assert_eq!(count(&anew), 3, "of four cells the first looks at them: {}", stderr(&anew));
    let after: Vec<Vec<u8>> = tables().iter().map(|table| std::fs::read(table).unwrap()).collect();
    assert!(before == after && lines(&stdout(&anew)) == second, "{}", stdout(&anew));
}

/// What lies in a folder under a name that begins so.
fn only(folder: &std::path::Path, begins: &str) -> std::path::PathBuf {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let is_meant =
        |entry: &std::path::PathBuf| entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins));
    let mut found = entries.filter(is_meant);
    let first = found.next().unwrap_or_else(|| panic!("{begins} in {}", folder.display()));
    assert!(found.next().is_none(), "one {begins} in {}", folder.display());
    first
}

#[test]
fn long_results_are_measured_beside_the_pictures_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["generate", "--seeds", "100..112", "--out", "real"]);
    run(path, &["generate", "--seeds", "0..14", "--out", "made"]);
    let text = FILE
        .replace("each = { steps = [1, 2] }", "input = \"made/samples.npz\"\nlimit = 12")
        .replace("CM, steps 1", "CM");
    std::fs::write(path.join("small.toml"), text).unwrap();
    let output = lapidary(path, &["experiment", "small.toml", "--device", "cpu"]);
    assert!(output.status.success(), "{}", stderr(&output));
    run(path, &["evaluate", "made", "--limit", "12", "--reference", "real/samples.npz", "--out", "own.csv"]);
    let own = std::fs::read_to_string(path.join("own.csv")).unwrap();
    let distance = own.lines().find_map(|line| line.split("frechet_distance,smaller,").nth(1)).unwrap();
    let distance = distance.split(',').next().unwrap();
    let table = std::fs::read_to_string(path.join("small/table.csv")).unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("frechet_distance")).collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(rows[0].starts_with(&format!("CM,none,12,frechet_distance,smaller,{distance},")), "{table}");
    assert!(rows[1].starts_with("CM,joint,12,") && !rows[1].contains(&format!(",{distance},")), "{table}");
    assert!(!table.contains("small/cells"), "which sets are pairs is another cell's business: {table}");
}

#[test]
fn sets_of_other_numbers_of_pictures_are_told_apart_in_every_form_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["generate", "--seeds", "100..112", "--out", "real"]);
    run(path, &["generate", "--seeds", "0..14", "--out", "made"]);
    let more = "[[generator]]\nname = \"others\"\ninput = \"made/samples.npz\"\n[[refinement]]";
    let text = FILE.replace("each = { steps = [1, 2] }\n", "").replace("CM, steps 1", "CM");
    std::fs::write(path.join("small.toml"), text.replacen("[[refinement]]", more, 1)).unwrap();
    let output = lapidary(path, &["experiment", "small.toml", "--device", "cpu", "--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = "others has 14 pictures and CM has 12: Fréchet distances shrink with the number of pictures, so theirs do not compare";
    assert!(stdout(&output).contains(&format!("warning: {said}")), "{}", stdout(&output));
    for (name, count) in [("table.txt", "14 "), ("table.csv", ",14,"), ("table.tex", "& 14 &"), ("table.md", "| 14 |")]
    {
        let table = std::fs::read_to_string(path.join("small").join(name)).unwrap();
        assert!(table.contains(said) && table.contains(count), "{name}: {table}");
    }
    let again = lapidary(path, &["experiment", "small.toml", "--device", "cpu", "--quiet"]);
    assert_eq!(stdout(&again), stdout(&output), "every cell is done, and the table is the same");
    assert!(!stderr(&again).contains("nothing is left"), "{}", stderr(&again));
}

#[test]
fn what_an_experiment_cannot_do_is_said_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let refused = |text: &str, says: &str| {
        std::fs::write(path.join("e.toml"), text).unwrap();
        check_refused(path, &["experiment", "e.toml"], 2, says);
    };
    check_refused(path, &["experiment", "none.toml"], 2, "the experiment's file cannot be read");
    refused("name = 3", "the experiment cannot be begun");
    refused(
        &FILE.replace("iterations", "iteratoins"),
        "the cell \"CM, steps 1 / joint\" of the experiment cannot be begun",
    );
    refused(&FILE.replace("iterations = 1", "radius = -1"), "CM, steps 1 / joint");
    // What is not there is missed before the first cell is computed, in a dry run, too.
    std::fs::write(path.join("e.toml"), FILE).unwrap();
    check_refused(path, &["experiment", "e.toml", "--dry-run"], 1, "no file is there: check the path");
    std::fs::write(path.join("e.toml"), FILE.replace("name = \"CM\"", "name = \"CM\"\ngenerator = \"nope.pt\""))
        .unwrap();
    check_refused(path, &["experiment", "e.toml"], 1, "nope.pt");
    assert!(!path.join("e").exists());
}

#[cfg(unix)]
#[test]
fn a_stop_between_two_cells_is_a_stop_and_the_same_command_goes_on() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::Stdio;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["generate", "--seeds", "100..112", "--out", "real"]);
    std::fs::write(path.join("small.toml"), FILE).unwrap();
    let experiment = ["experiment", "small.toml", "--device", "cpu"];
    let mut command = super::command(path);
    let mut child = command.args(experiment).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("cell 2 of 2") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it says which cell begins");
    }
    // The first cell's work has ended, that of the second has hardly begun.
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143), "{rest}");
    assert!(rest.contains("stopped in cell 2; the same command goes on there"), "{rest}");
    let again = lapidary(path, &experiment);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(stdout(&again).contains("CM, steps 2   joint"), "{}", stdout(&again));
}
