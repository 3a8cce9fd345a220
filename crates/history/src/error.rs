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
    /// It could not be written to the log: 500 or 507. What is served is as it was.
    #[error("not committed, because the log could not be written: {0}")]
    NotKept(Box<str>),
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

/// Why a view was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such resource: in the update protocols E_INVALID_FIELD_VALUE of `resource-id`.
    #[error("there is no resource {0}")]
    NoResource(ResourceId),
    /// A POST-mode resource needs an input: what the resource itself answers to an empty body.
    #[error("{0} needs an input")]
    InputMissing(ResourceId),
    /// A GET-mode resource takes none.
    #[error("{0} takes no input")]
    InputForbidden(ResourceId),
    /// The same error that the resource would give.
    #[error("the input is refused")]
    Refused(Box<ErrorBody>),
    /// 429, Retry-After.
    #[error("{max} views of POST-mode resources are open, which is the most (history.filtered-views-max)")]
    TooManyViews {
        /// `post_views_max`.
        max: usize,
    },
    /// 429, Retry-After.
    #[error("the views of POST-mode resources would hold more than {max} bytes (history.filtered-bytes-max)")]
    ViewsTooLarge {
        /// `post_bytes_max`.
        max: usize,
    },
}
