//! TIPS without a network.
