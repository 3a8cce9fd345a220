//! All-pairs IGP routes between routers.
