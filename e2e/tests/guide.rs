//! Runs docs/guide.md and docs/kubernetes.md as their readers would: saves manifests, runs commands, looks
//! for what is said to be printed.
//!
//! The word after a fence's language says what a block is: a file's name for manifests; for commands
//! `background`, `ready` (wait for the line that begins so), `until` (again until it works), `fails`, and
//! `elsewhere` for what is there already where the page is tried. A `text` block after a command must be
//! part of what it printed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use isthmus_e2e::{cluster, furnished, programs};

const PATIENCE: Duration = Duration::from_secs(30);

struct Block {
    language: String,
    words: Vec<String>,
    text: String,
}

impl Block {
    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|w| w == word)
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let mut words = info.split(' ').map(str::to_owned);
        let language = words.next().unwrap_or_default();
        let text: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        blocks.push(Block { language, words: words.collect(), text: text.join("\n") });
    }
    blocks
}

/// A process group that ends with the test, and everything in it.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", "TERM", "--", &group]).status();
        let _ = self.0.wait();
    }
}

struct Reader {
    /// Ended before their directory goes.
    background: Vec<Background>,
    directory: tempfile::TempDir,
    /// What a reader's shell was told before.
    told: String,
}

impl Reader {
    fn new() -> Self {
        Self { background: Vec::new(), directory: tempfile::tempdir().unwrap(), told: String::new() }
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.arg("-euc").arg(format!("{}\n{script}", self.told));
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    /// Reads a page of docs/ to its end, and does what it says.
    fn follow(&mut self, page: &str) {
        let blocks = blocks(&std::fs::read_to_string(root().join("docs").join(page)).unwrap());
        let mut commands = 0;
        for (number, block) in blocks.iter().enumerate() {
            match block.language.as_str() {
                "yaml" => self.save(block),
                "sh" if block.has("elsewhere") => {}
                "sh" if block.has("background") => self.start(block),
                "sh" => {
                    let next = blocks.get(number + 1).filter(|next| next.language == "text");
                    self.run(block, next.map(|next| next.text.as_str()));
                    commands += 1;
                }
                "text" | "console" => {}
                other => panic!("{page} has a block that nobody checks: {other}"),
            }
        }
        assert!(commands >= 4, "the commands of {page} were not found");
    }

    fn save(&self, block: &Block) {
        let file = self.directory.path().join(&block.words[0]);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, &block.text).unwrap();
    }

    fn start(&mut self, block: &Block) {
        use std::os::unix::process::CommandExt as _;
        // It is of a group of its own, which no interrupt reaches, and ends with this test all the same.
        let script = format!("exec setpriv --pdeathsig TERM -- {}", block.text);
        let mut command = self.command(&script);
        let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        self.background.push(Background(child));
        if block.has("ready") {
            let line =
                BufReader::new(output).lines().map_while(Result::ok).find(|l| l.starts_with("ready"));
            assert!(line.is_some(), "`{}` ended without a ready line", block.text);
        }
    }

    /// Runs a block, again until `expected` is printed if it says so; nobody waits longer than a reader.
    fn run(&self, block: &Block, expected: Option<&str>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.command(&block.text).output().unwrap();
            let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let as_said = output.status.success() != block.has("fails")
                && expected.is_none_or(|text| printed.contains(text.trim()));
            if as_said {
                return;
            }
            let again = block.has("until") && Instant::now() < deadline;
            assert!(again, "`{}` ended with {} and printed:\n{printed}", block.text, output.status);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

#[test]
fn the_guide_works_as_it_is_written() {
    let mut reader = Reader::new();
    reader.told = format!("export PATH={}:$PATH", programs().display());
    reader.follow("guide.md");
}

#[test]
fn the_page_of_kubernetes_works_as_it_is_written() {
    let clusters = cluster::up(1, 1).unwrap();
    furnished::furnish(clusters.all()).unwrap();
    let mut reader = Reader::new();
    let programs = reader.directory.path().join("bin");
    reader.told = furnished::exports(clusters.all()[0].kubeconfig(), &programs).unwrap();
    std::os::unix::fs::symlink(root().join("charts"), reader.directory.path().join("charts")).unwrap();
    reader.follow("kubernetes.md");
}
