//! Pictures to learn from are read by a thread of its own, so that the compute thread does what is asked for meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, TrySendError, bounded};

use crate::data::{DataSet, PictureError, Wanted};

/// How long one look may wait for news.
const LOOK: Duration = Duration::from_millis(20);

/// What the thread tells.
enum News {
    Read(usize, usize),
    Done(Box<Result<DataSet, PictureError>>),
}

/// A data set that is being read; when it is dropped, that ends.
pub(super) struct Reading(Receiver<News>);

/// How far it is.
pub(super) enum Look {
    /// Nothing new.
    Waits,
    /// So many pictures of so many.
    Read(usize, usize),
    /// All.
    Done(Box<DataSet>),
}

impl Reading {
    pub(super) fn begin(paths: Vec<PathBuf>, wanted: Wanted) -> std::io::Result<Self> {
        let (sender, receiver) = bounded(1);
        let news = sender.clone();
        std::thread::Builder::new().name("lapidary-data".to_owned()).spawn(move || {
            let read = DataSet::read(&paths, &wanted, &mut |done, of| {
                // Who looks seldom misses some of it.
                !matches!(news.try_send(News::Read(done, of)), Err(TrySendError::Disconnected(_)))
            });
            // Nobody may want it any more.
            drop(sender.send(News::Done(Box::new(read))));
        })?;
        Ok(Self(receiver))
    }

    /// Waits a moment for news.
    pub(super) fn look(&self) -> anyhow::Result<Look> {
        match self.0.recv_timeout(LOOK) {
            Ok(News::Read(done, of)) => Ok(Look::Read(done, of)),
            Ok(News::Done(data)) => Ok(Look::Done(Box::new((*data)?))),
            Err(RecvTimeoutError::Timeout) => Ok(Look::Waits),
            Err(RecvTimeoutError::Disconnected) => {
                anyhow::bail!("reading the pictures broke down, which is a fault of this program: report it")
            }
        }
    }
}
