//! Why a file is not opened.

use mainstay_core::{BoxError, InvalidConfig};
use std::{
    error,
    fmt::{self, Display, Formatter},
    path::PathBuf,
};

/// Why an [`Embedded`](super::Embedded) journal was not opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// It is open already, in this process or another one: a journal has one owner at a time.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// The file was written in a form that this version does not read.
    Format {
        /// The file.
        path: PathBuf,
        /// The number of its form.
        found: u64,
    },
    /// It cannot be read or written, or is damaged.
    Failed {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: BoxError,
    },
    /// A setting cannot work.
    InvalidConfig(InvalidConfig),
}

impl Display for OpenError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => {
                write!(f, "the journal {} is already open, here or in another process", path.display())
            }
            Self::NotAJournal { path } => write!(f, "{} is not a journal of sagas", path.display()),
            Self::Format { path, found } => {
                write!(f, "the journal {} has form {found}, and this version reads {}", path.display(), super::FORMAT)
            }
            Self::Failed { path, error } => write!(f, "the journal {} cannot be opened: {error}", path.display()),
            Self::InvalidConfig(error) => Display::fmt(error, f),
        }
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Failed { error, .. } => Some(&**error),
            Self::InvalidConfig(error) => error::Error::source(error),
            Self::InUse { .. } | Self::NotAJournal { .. } | Self::Format { .. } => None,
        }
    }
}

impl From<InvalidConfig> for OpenError {
    fn from(error: InvalidConfig) -> Self {
        Self::InvalidConfig(error)
    }
}
