//! The file: opening it, and knowing how it stands.

use super::{
    FORMAT, OpenError,
    tables::{self, Tables},
};
use redb::{Database, DatabaseError, Error, ReadableDatabase, TableError, TableHandle};
use std::{
    fs::{self, File},
    io,
    path::Path,
};

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

/// What opens this file, which is made if there is none.
pub(super) fn file(path: &Path, cache: usize) -> Result<Opener, OpenError> {
    create(path)?;
    let path = path.to_owned();
    Ok(Box::new(move || Database::builder().set_cache_size(cache).create(&path)))
}

/// Makes a file that is an empty journal, if there is none.
///
/// A database that is killed while it makes its file leaves one that is none. So it is made under another name, and has its own
/// when it is complete. One that was killed leaves a file behind that ends in `.new`, and that nobody looks at.
fn create(path: &Path) -> Result<(), OpenError> {
    if path.exists() {
        return Ok(());
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{:016x}.new", rand::random::<u64>()));
    let made = create_as(Path::new(&new), path);
    // If it is not there, it was not made.
    drop(fs::remove_file(&new));
    made
}

fn create_as(new: &Path, path: &Path) -> Result<(), OpenError> {
    let database = Database::create(new).map_err(|error| explain(path, error))?;
    prepare(&database).map_err(|unfit| unfit.explain(path))?;
    drop(database);
    publish(new, path).and_then(|()| sync_directory(path)).map_err(|error| failed(path, error))
}

/// Gives a file another name, if that is free. Whoever comes second uses the file of the first.
fn publish(new: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(new, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Where a file has one name only, two processes that make it in the same moment are not told apart.
        Err(_) => fs::rename(new, path),
        Ok(()) => Ok(()),
    }
}

/// Opens a file for the first time, and makes it a journal if it is empty.
///
/// Gives back how many commits there were.
pub(super) fn open(path: &Path, opener: &Opener) -> Result<(Database, u64), OpenError> {
    let database = opener().map_err(|error| explain(path, error))?;
    let commits = prepare(&database).map_err(|unfit| unfit.explain(path))?;
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

impl Unfit {
    fn explain(self, path: &Path) -> OpenError {
        match self {
            Self::Other => OpenError::NotAJournal { path: path.into() },
            Self::Format(found) => OpenError::Format { path: path.into(), found },
            Self::Failed(error) => failed(path, error),
        }
    }
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
