//! All-pairs widest paths between routers.
