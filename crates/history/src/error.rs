//! Why a change was not committed. Whatever the reason, nothing of it is visible.
use crate::guard::Moved;
use alto::{ErrorBody, id::ResourceId};
use maps::guidance::Refusal;

/// One variant for each thing a caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such resource to patch or withdraw: 404.
    #[error("there is no resource {0}")]
    NotFound(ResourceId),
    /// One commit names a resource twice; which of the two is meant cannot be known: 400.
    #[error("the commit changes {0} twice")]
    ChangedTwice(ResourceId),
    /// The document, the patch, or what it depends on is at fault: 400, with the ALTO error.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The change guard wants this confirmed: 409.
    #[error("the change moves {}", .0)]
    Guarded(Moved),
    /// Nothing is held by the guard: 404.
    #[error("the change guard holds nothing")]
    NothingHeld,
    /// No room: 507.
    #[error("there are already {max} resources (history limit resources_max)")]
    TooManyResources {
        /// The bound.
        max: usize,
    },
}

impl Error {
    /// The ALTO error for a program, where there is one.
    pub fn body(&self) -> Option<&ErrorBody> {
        match self {
            Self::Refused(refusal) => Some(&refusal.body),
            _ => None,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}
