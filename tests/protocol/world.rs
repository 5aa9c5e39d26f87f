//! A session, the real disk without its thread, and a toy that computes.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crossbeam::channel::Sender;
use lapidary::image::ImageBatch;
use lapidary::session::disk::{Disk, DiskEvent, DiskJob, Restored, Ticket};
use lapidary::session::{Action, Activity, Detail, Lookup, Session, Settings, Verb};
use lapidary::trace::StateId;
use lapidary::worker::Event;

pub use super::toy::STATE_BYTES;
use super::toy::{Toy, picture};

/// Nothing else writes to the folder of a test, and the test knows what it asked for.
pub const HERE: &str = "it was made a moment ago";
/// Events that may wait, as in the compute thread.
const EVENTS: usize = 4;

pub struct World {
    pub session: Session,
    pub jobs: VecDeque<DiskJob>,
    pub reads: usize,
    disk: Disk,
    stops: Sender<Ticket>,
    answers: VecDeque<DiskEvent>,
    toy: Toy,
    events: VecDeque<Event>,
    home: PathBuf,
    /// Removed at the end.
    _temporary: Option<tempfile::TempDir>,
    /// States of this session that are in the journal.
    stored: usize,
    /// Whether what is safe is told as it becomes so.
    pub loud: bool,
    files: usize,
    orphans: usize,
    /// Most bytes that may be in memory, by the largest budget since the last check that had to hold.
    budget: usize,
}

/// Session files that are there before anything happens.
fn templates() -> &'static [Vec<u8>] {
    static TEMPLATES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let make = |(tag, detail)| {
            let mut world = World::bare();
            world.begin_with(tag);
            for _ in 0..4 {
                world.act(Action::Do(Verb::Step));
                world.rest();
            }
            world.act(Action::Show(2));
            world.act(Action::Do(Verb::Branch));
            world.rest();
            let path = world.next_file();
            world.act(Action::SaveSession(path.clone(), detail));
            world.rest();
            std::fs::read(path).expect("it was saved")
        };
        [(900, Detail::Full), (901, Detail::Small)].map(make).to_vec()
    })
}

impl World {
    pub fn new() -> Self {
        let world = Self::bare();
        world.add_templates();
        world
    }

    fn add_templates(&self) {
        for (i, bytes) in templates().iter().enumerate() {
            std::fs::write(self.home.join(format!("template{i}.lapidary")), bytes).expect(HERE);
        }
    }

    fn bare() -> Self {
        let home = tempfile::tempdir().expect(HERE);
        let world = Self::at(home.path().to_owned());
        Self { _temporary: Some(home), ..world }
    }

    /// In a folder that stays.
    pub fn at(home: PathBuf) -> Self {
        let root = home.join("autosave");
        let (stops, stop_receiver) = crossbeam::channel::bounded(64);
        let disk = Disk::new(&root, &root.join("own"), stop_receiver, &mut |event| panic!("{event:?}"));
        let mut settings = Settings::default();
        settings.refine.iterations = std::num::NonZeroU32::new(5);
        let mut world = Self {
            session: Session::new(settings),
            jobs: VecDeque::new(),
            reads: 0,
            disk,
            stops,
            answers: VecDeque::new(),
            toy: Toy::default(),
            events: VecDeque::new(),
            home,
            _temporary: None,
            stored: 0,
            loud: false,
            files: 0,
            orphans: 0,
            budget: 1 << 30,
        };
        world.hand_over();
        world
    }

    /// Generates the pictures with this tag.
    pub fn begin_with(&mut self, tag: u32) {
        self.toy.made = tag - 1;
        self.act(Action::Do(Verb::Generate));
        self.rest();
    }

    fn hand_over(&mut self) {
        self.toy.commands.extend(self.session.take_commands());
        for job in self.session.take_jobs() {
            match job {
                DiskJob::Stop(ticket) => self.stops.send(ticket).expect(HERE),
                job => self.jobs.push_back(job),
            }
        }
    }

    pub fn act(&mut self, action: Action) {
        self.session.handle(action);
        self.hand_over();
    }

    pub fn frame(&mut self) {
        if self.session.is_playing() {
            self.session.play_on();
        }
        let lookup = self.session.shown_state();
        self.hand_over();
        if let (Some(Lookup::Ready(state)), false, Some(id)) =
            (lookup, self.session.shows_best(), self.session.shown_id())
        {
            assert_eq!(state.images, self.expected(id), "{id:?} shows other pictures");
        }
    }

    /// The pictures of a state, as the toy makes them.
    fn expected(&self, id: StateId) -> ImageBatch {
        let origins = &self.session.origins().expect(HERE).images;
        let run = self.session.trace().run(id.run).expect(HERE);
        match run.parent {
            Some(parent) if parent.iteration == id.iteration => self.expected(parent),
            None if id.iteration == 0 => origins.clone(),
            _ => picture((origins.pixels()[0] * 1000.0).round(), id.run.0, id.iteration),
        }
    }

    pub fn disk(&mut self, jobs: u8) {
        for _ in 0..jobs {
            let Some(job) = self.jobs.pop_front() else { return };
            self.reads += usize::from(matches!(job, DiskJob::Load { .. }));
            let answers = &mut self.answers;
            self.disk.handle(job, &mut |event| answers.push_back(event));
        }
    }

    pub fn settle(&mut self) {
        let answers = &mut self.answers;
        self.disk.settle(&mut |event| answers.push_back(event));
    }

    pub fn hear(&mut self, events: u8) {
        for _ in 0..events {
            let Some(event) = self.answers.pop_front() else { return };
            let epoch = self.session.epoch();
            match &event {
                DiskEvent::Stored { epoch: of, .. } if *of == epoch => self.stored += 1,
                DiskEvent::Opened { restored, .. } => self.stored = restored.index.len(),
                _ => {}
            }
            let is_new = matches!(event, DiskEvent::Stored { .. } | DiskEvent::Opened { .. });
            let saved = matches!(event, DiskEvent::Saved { .. });
            self.session.apply_disk(event);
            self.hand_over();
            if is_new {
                self.tell("journal");
            }
            if saved {
                self.tell("file");
            }
        }
    }

    pub fn compute(&mut self, steps: u8) {
        for _ in 0..steps {
            if self.events.len() >= EVENTS {
                return;
            }
            match self.toy.commands.pop_front() {
                Some(command) => self.toy.obey(command, &mut self.events),
                None => self.toy.work(&mut self.events),
            }
        }
    }

    pub fn take(&mut self, events: u8) {
        for _ in 0..events {
            if self.session.must_wait() {
                return;
            }
            let Some(event) = self.events.pop_front() else { return };
            self.session.apply(event);
            self.hand_over();
        }
    }

    /// The tag of the pictures.
    pub fn tag(&self) -> u32 {
        self.session.origins().map_or(0, |origins| (origins.images.pixels()[0] * 1000.0).round() as u32)
    }

    /// Says what is safe, when somebody listens.
    fn tell(&self, what: &str) {
        if self.loud {
            let line = format!("{what} {} {}\n", self.tag(), self.stored);
            std::io::stdout().write_all(line.as_bytes()).expect(HERE);
        }
    }

    /// The user agrees to replace the session.
    pub fn give_up(&mut self) {
        self.stored = 0;
        self.tell("void");
    }

    /// Reads that are under way.
    pub fn loads(&self) -> usize {
        let epoch = self.session.epoch();
        let asked = |job: &&DiskJob| matches!(job, DiskJob::Load { epoch: of, .. } if *of == epoch);
        let answered = |event: &&DiskEvent| matches!(event, DiskEvent::Loaded { epoch: of, .. } if *of == epoch);
        self.jobs.iter().filter(asked).count() + self.answers.iter().filter(answered).count()
    }

    /// What holds at every moment.
    pub fn check(&mut self) {
        let session = &self.session;
        let path = session.shown_run().map_or_else(Vec::new, |run| session.trace().path(run));
        assert_eq!(session.path(), path, "the path that is shown is that of the run");
        assert!(session.shown() < path.len().max(1), "{} of {}", session.shown(), path.len());
        assert!(self.loads() <= 1, "{} reads are under way for one look", self.loads());
        let iterates = session.iterates();
        // A smaller budget holds when what was taken for the larger one is on the disk.
        self.budget = self.budget.min(iterates.bytes()).max(iterates.budget());
        let bound = self.budget + (3 + EVENTS) * STATE_BYTES;
        assert!(iterates.bytes() <= bound, "{} bytes of {bound} are in memory", iterates.bytes());
    }

    fn is_at_rest(&self) -> bool {
        self.jobs.is_empty() && self.answers.is_empty() && self.events.is_empty() && self.toy.is_at_rest()
    }

    /// Lets everything come to its end; what has none is stopped.
    pub fn rest(&mut self) {
        for _ in 0..2000 {
            let is_endless = self.session.plan().of.is_none() && self.toy.is_endless();
            if self.session.is_busy() && is_endless && self.toy.commands.is_empty() {
                self.act(Action::Do(Verb::Stop));
            }
            self.compute(8);
            self.take(20);
            self.disk(20);
            self.hear(20);
            if self.is_at_rest() {
                assert!(!self.session.is_busy(), "nobody works, and {:?}", self.session.activity());
                assert!(!matches!(self.session.activity(), Activity::Opening { .. } | Activity::Saving { .. }));
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.session.activity());
    }

    pub fn rest_but_for_the_disk(&mut self) {
        for _ in 0..50 {
            self.compute(8);
            self.take(20);
        }
    }

    /// Draws until the state that is wished for is there.
    pub fn until_shown(&mut self) {
        for _ in 0..20 {
            self.frame();
            if matches!(self.session.shown_state(), Some(Lookup::Ready(_))) {
                self.hand_over();
                return;
            }
            self.hand_over();
            self.disk(20);
            self.hear(20);
        }
        panic!("{:?} is never there", self.session.shown_id());
    }

    fn journal(&self) -> PathBuf {
        self.home.join("autosave/own/journal.bin")
    }

    pub fn journal_bytes(&self) -> u64 {
        self.journal().metadata().expect(HERE).len()
    }

    pub fn next_file(&mut self) -> PathBuf {
        self.files += 1;
        self.home.join(format!("{}.lapidary", self.files))
    }

    pub fn bad_file(&self) -> PathBuf {
        let path = self.home.join("bad.lapidary");
        std::fs::write(&path, "dear diary").expect(HERE);
        path
    }

    /// Saves, and waits for it.
    pub fn saved(&mut self) -> PathBuf {
        let path = self.next_file();
        self.act(Action::SaveSession(path.clone(), Detail::Full));
        self.rest();
        assert!(path.is_file());
        path
    }

    /// One of the files that may be there.
    pub fn file(&self, which: u8) -> PathBuf {
        match which % 8 {
            0..3 => self.home.join("template0.lapidary"),
            3 | 4 => self.home.join("template1.lapidary"),
            5 => self.bad_file(),
            _ => self.home.join(format!("{}.lapidary", self.files)),
        }
    }

    /// A copy of the journal, as if a crash had left it behind.
    pub fn crash_elsewhere(&mut self) -> PathBuf {
        self.orphans += 1;
        let folder = self.home.join(format!("autosave/orphan{}", self.orphans));
        std::fs::create_dir(&folder).expect(HERE);
        std::fs::copy(self.journal(), folder.join("journal.bin")).expect(HERE);
        folder
    }

    /// What is left in a folder of the autosave or in a file, opened with another disk; `None` when it does not open.
    pub fn read(path: &Path) -> Option<(Box<Restored>, Disk)> {
        let home = tempfile::tempdir().expect(HERE);
        let mut told = Vec::new();
        let (_stops, stops) = crossbeam::channel::bounded(64);
        let mut disk = Disk::new(home.path(), &home.path().join("own"), stops, &mut |event| panic!("{event:?}"));
        disk.handle(
            DiskJob::Open { ticket: 1, path: path.to_owned(), recovers: path.is_dir(), epoch: 1 },
            &mut |event| told.push(event),
        );
        match told.pop() {
            Some(DiskEvent::Opened { restored, .. }) => Some((restored, disk)),
            _ => None,
        }
    }

    /// What was read is what the session holds, to the last picture.
    fn check_read(&self, (restored, mut disk): (Box<Restored>, Disk)) {
        let session = &self.session;
        assert_eq!(restored.origins.as_ref(), session.origins());
        assert_eq!(restored.references.as_ref(), session.references());
        assert_eq!(restored.mask.as_ref(), session.mask());
        assert_eq!(&restored.trace, session.trace());
        let mut iterates = session.iterates().clone();
        let index: std::collections::BTreeMap<_, _> = restored.index.into_iter().collect();
        for run in session.trace().runs() {
            for iteration in run.first_iteration()..run.last_iteration().map_or(0, |last| last + 1) {
                let id = StateId { run: run.id, iteration };
                let is_kept = !matches!(iterates.get(id), Lookup::Missing);
                assert_eq!(index.contains_key(&id), is_kept, "{id:?}");
                let Some(offset) = index.get(&id) else { continue };
                let mut read = None;
                disk.handle(DiskJob::Load { epoch: 1, id, offset: *offset }, &mut |event| match event {
                    DiskEvent::Loaded { state, .. } => read = state,
                    other => panic!("{other:?}"),
                });
                let read = read.unwrap_or_else(|| panic!("{id:?} cannot be read"));
                assert_eq!(read.images, self.expected(id), "{id:?}");
                assert_eq!(Some(&read.numbers), session.trace().numbers(id));
            }
        }
    }

    /// What a crash would leave behind is the session. At rest only.
    pub fn check_journal(&mut self) {
        self.settle();
        let folder = self.crash_elsewhere();
        let (restored, disk) = Self::read(&folder).expect("the journal opens");
        assert_eq!(&restored.settings, self.session.settings());
        assert_eq!(&restored.provenance, self.session.provenance());
        self.check_read((restored, disk));
    }

    /// A file is the session too. At rest only.
    pub fn check_file(&mut self) {
        if self.session.can(Verb::Save) {
            let path = self.saved();
            let (restored, disk) = Self::read(&path).expect("the file opens");
            assert_eq!(&restored.settings, self.session.settings());
            assert_eq!(&restored.provenance, self.session.provenance());
            self.check_read((restored, disk));
        }
    }
}
