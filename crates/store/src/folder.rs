//! A data folder.
use crate::{Error, OpenError, Store, Table, Usage, Write};
use bytes::Bytes;
use std::{ops::Bound, path::Path};

/// A data folder, open.
pub struct Folder {}

#[allow(unused_variables)]
impl Folder {
    /// Opens a data folder, made if it is not there.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        todo!()
    }
}

#[allow(unused_variables)]
impl Store for Folder {
    fn write(&self, batch: &[Write]) -> Result<(), Error> {
        todo!()
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        todo!()
    }

    fn scan(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Error> {
        todo!()
    }

    fn usage(&self) -> Usage {
        todo!()
    }
}
