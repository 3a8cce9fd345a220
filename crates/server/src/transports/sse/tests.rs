//! Update streams without a network.
