//! What the disk and the database can do, with nothing around them.

use super::{EmbeddedConfig, OpenError, change::Change, owners::Owners, store, tables::Tables};
use crate::{
    SagaId, Timestamp,
    journal::{Batch, Created, Grant, NewSaga, Phase},
};
use mainstay_core::BoxError;
use redb::Database;
use std::path::Path;

/// Commits one at a time, in the thread that asks for them, to a file such as [`Embedded`](super::Embedded) has: what sagas can be
/// measured against.
///
/// Each commit writes what an append of a saga of three steps writes: every fourth makes a saga, the others add two records of
/// about 150 bytes to it, the last of them its end.
///
/// # Examples
///
/// ```
/// use mainstay_saga::testkit::RawCommits;
///
/// # let directory = std::env::temp_dir().join(format!("mainstay-saga-raw-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let mut raw = RawCommits::open(directory.join("raw.redb"))?;
/// let started = tokio::time::Instant::now();
/// for _ in 0..8 {
///     raw.commit()?;
/// }
/// println!("{:?} for each commit", started.elapsed() / 8);
/// # drop(raw);
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug)]
pub struct RawCommits {
    database: Database,
    owners: Owners,
    grant: Option<Grant>,
    nonce: u64,
}

impl RawCommits {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    ///
    /// As [`Embedded::open`](super::Embedded::open).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let opener = store::file(path, EmbeddedConfig::default().cache)?;
        let (database, nonce) = store::open(path, &opener)?;
        Ok(Self { database, owners: Owners::default(), grant: None, nonce })
    }

    /// Makes one commit, and comes back when it is durable.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn commit(&mut self) -> Result<(), BoxError> {
        let transaction = self.database.begin_write()?;
        let mut change = Change::new(Tables::open(&transaction)?, &self.owners);
        self.grant = step(&mut change, self.grant, self.nonce)?;
        let (_, owned) = change.finish()?;
        transaction.commit()?;
        owned.keep();
        self.nonce += 1;
        Ok(())
    }
}

/// The next append of a saga, or the beginning of one.
fn step(change: &mut Change<'_>, grant: Option<Grant>, nonce: u64) -> Result<Option<Grant>, BoxError> {
    const RECORDS: u64 = 8;
    let at = Timestamp::from_millis(nonce);
    let batch = |phase| Batch { records: vec![vec![b'x'; 150]; 2], nonce, phase, at };
    let Some(grant) = grant else {
        let id = SagaId::new(at);
        let new = NewSaga { id, saga: "raw".into(), version: 1, key: id.to_string().into(), at };
        let Created::New(grant) = change.create(&new, &batch(Phase::Forward))??.receive() else { return Ok(None) };
        return Ok(Some(grant));
    };
    let is_last = grant.seq + 2 == RECORDS;
    let phase = if is_last { Phase::Completed } else { Phase::Forward };
    let grant = change.append(grant, &batch(phase))??;
    Ok(Some(grant).filter(|_| !is_last))
}
