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
/// Update stream of server-sent events (RFC 8895 section 6.1).
pub const EVENT_STREAM: &str = "text/event-stream";
/// Request to an update stream or to its stream control (RFC 8895 section 6.5).
pub const UPDATE_STREAM_PARAMS: &str = "application/alto-updatestreamparams+json";
/// Control event of an update stream (RFC 8895 section 5.3).
pub const UPDATE_STREAM_CONTROL: &str = "application/alto-updatestreamcontrol+json";
/// An opened TIPS view (draft-ietf-alto-new-transport section 6.2).
pub const TIPS: &str = "application/alto-tips+json";
/// Request to TIPS (draft-ietf-alto-new-transport section 6.1).
pub const TIPS_PARAMS: &str = "application/alto-tipsparams+json";
/// A transport queue (draft-ietf-alto-new-transport-01 section 4); in its examples the request too.
pub const TRANSPORT: &str = "application/alto-transport+json";
/// A change: JSON Merge Patch (RFC 7396).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// A change: JSON Patch (RFC 6902).
pub const JSON_PATCH: &str = "application/json-patch+json";
/// A subscription, new or to be refreshed (draft-alto-caching-subscription-00 section 8.1.1).
pub const SUBSCRIBE_INPUT: &str = "application/alto-subscribeinput+json";
/// A subscription as it stands (draft-alto-caching-subscription-00 section 8.3.1).
pub const SUBSCRIPTION_DATA: &str = "application/alto-subscriptiondata+json";
/// A notification (draft-alto-caching-subscription-00 section 8.4.1).
pub const NOTIFICATION_DATA: &str = "application/alto-notificationdata+json";
