//! Media types of ALTO documents: bare, no parameters (deployed clients compare them literally).
/// Information resource directory (RFC 7285 section 9.2).
pub const DIRECTORY: &str = "application/alto-directory+json";
/// Network map (RFC 7285 section 11.2.1).
pub const NETWORK_MAP: &str = "application/alto-networkmap+json";
/// Filter for a network map.
pub const NETWORK_MAP_FILTER: &str = "application/alto-networkmapfilter+json";
/// Cost map.
pub const COST_MAP: &str = "application/alto-costmap+json";
/// Filter for a cost map.
pub const COST_MAP_FILTER: &str = "application/alto-costmapfilter+json";
/// Endpoint properties.
pub const ENDPOINT_PROPERTIES: &str = "application/alto-endpointprop+json";
/// Request for endpoint properties.
pub const ENDPOINT_PROPERTIES_PARAMS: &str = "application/alto-endpointpropparams+json";
/// Endpoint costs.
pub const ENDPOINT_COST: &str = "application/alto-endpointcost+json";
/// Request for endpoint costs.
pub const ENDPOINT_COST_PARAMS: &str = "application/alto-endpointcostparams+json";
/// Errors (RFC 7285 section 8.5.1).
pub const ERROR: &str = "application/alto-error+json";
