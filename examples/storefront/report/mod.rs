//! The numbers, for people and for programs.

mod chart;
mod html;
mod json;
mod table;

pub(crate) use self::table::table;

use crate::experiment::Comparison;
use mainstay::BoxError;
use std::{
    fs::{self, File},
    io,
    path::Path,
};

pub(crate) const NUMBERS: &str = "report.json";
pub(crate) const PAGE: &str = "report.html";

/// Makes sure, before anything runs, that the directory is there and both files can be written. Leaves no file behind.
pub(crate) fn check(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let probe = directory.join(format!(".storefront-{}", std::process::id()));
    File::create_new(&probe)?;
    fs::remove_file(probe)?;
    for old in [NUMBERS, PAGE].map(|name| directory.join(name)) {
        if old.symlink_metadata().is_ok() {
            File::options().append(true).open(old)?;
        }
    }
    Ok(())
}

pub(crate) fn write(directory: &Path, comparison: &Comparison) -> Result<(), BoxError> {
    fs::write(directory.join(NUMBERS), json::report(comparison)?)?;
    fs::write(directory.join(PAGE), html::page(comparison))?;
    Ok(())
}
