//! The file: opening it, and knowing how it stands.

use super::{
    FORMAT, OpenError,
    tables::{self, Tables},
};
use redb::{Database, DatabaseError, Error, ReadableDatabase, TableError, TableHandle};
use std::{fs::File, io, path::Path};

/// The file, as far as it can be used.
#[derive(Debug)]
pub(super) enum Store {
    Open(Database),
    /// There was no room, and it has not been opened again.
    Full,
    /// It is not opened again.
    Closed,
}

/// Opens the file, again if it was closed for want of room.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// Opens a file for the first time, and makes it a journal if it is new.
///
/// Gives back how many commits there were.
pub(super) fn open(path: &Path, opener: &Opener) -> Result<(Database, u64), OpenError> {
    let is_new = !path.exists();
    let database = opener().map_err(|error| explain(path, error))?;
    let commits = prepare(&database).map_err(|unfit| match unfit {
        Unfit::Other => OpenError::NotAJournal { path: path.into() },
        Unfit::Format(found) => OpenError::Format { path: path.into(), found },
        Unfit::Failed(error) => failed(path, error),
    })?;
    if is_new {
        sync_directory(path).map_err(|error| failed(path, error))?;
    }
    Ok((database, commits))
}

fn explain(path: &Path, error: DatabaseError) -> OpenError {
    match Error::from(error) {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => OpenError::InUse { path: path.into() },
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => OpenError::NotAJournal { path: path.into() },
        error => failed(path, error),
    }
}

fn failed(path: &Path, error: impl Into<mainstay_core::BoxError>) -> OpenError {
    OpenError::Failed { path: path.into(), error: error.into() }
}

/// Why a database is no journal for this version.
enum Unfit {
    Other,
    Format(u64),
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Unfit {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn prepare(database: &Database) -> Result<u64, Unfit> {
    let transaction = database.begin_read()?;
    if transaction.list_tables()?.next().is_none() {
        return make(database).map(|()| 0);
    }
    if !transaction.list_tables()?.any(|table| table.name() == tables::NAME) {
        return Err(Unfit::Other);
    }
    match tables::form(&transaction)? {
        Some(FORMAT) => Ok(tables::commits(&transaction)?),
        Some(other) => Err(Unfit::Format(other)),
        None => Err(Unfit::Other),
    }
}

fn make(database: &Database) -> Result<(), Unfit> {
    let transaction = database.begin_write()?;
    Tables::open(&transaction).map_err(TableError::into).and_then(|mut tables| tables.set_form(FORMAT))?;
    transaction.commit()?;
    Ok(())
}

/// The name of a new file is durable when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Whether it is only room that was missing.
pub(super) fn is_full(error: &Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error, Error::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge))
}
