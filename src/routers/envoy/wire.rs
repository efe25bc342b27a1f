//! The two forms of the discovery protocol, state of the world and delta, brought to one.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::rpc::Status as RpcStatus;

use super::snapshot::{Snapshot, type_url};
use super::version::name_of;

/// What a proxy says, in either form.
#[derive(Debug)]
pub(super) struct Said {
    /// In the first message of a stream.
    pub(super) node_id: Option<String>,
    /// The type of the resources; may be empty, as the service has only one.
    pub(super) type_url: String,
    /// The resources it asks for.
    pub(super) names: Names,
    /// In the first message of a stream: the version of the layer that it has from an earlier one; empty if it has none.
    pub(super) version: String,
    /// Which response this answers; empty: none.
    pub(super) nonce: String,
    /// Why it refused that response.
    pub(super) refused: Option<String>,
}

/// Which resources a proxy asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// All that it wants from now on. Empty in the first message: everything.
    All(Vec<String>),
    /// Changes to what it wants. Both empty in the first message: everything.
    Change { subscribe: Vec<String>, unsubscribe: Vec<String> },
}

impl Names {
    /// Whether `layer` is wanted after this message; `was`: before it, `None` if it is the first.
    pub(super) fn wants(&self, layer: &str, was: Option<bool>) -> bool {
        let has = |names: &[String]| names.iter().any(|name| name == layer || name == "*");
        match (self, was) {
            (Names::All(names), None) => names.is_empty() || has(names),
            (Names::All(names), Some(_)) => has(names),
            (Names::Change { subscribe, .. }, None) => subscribe.is_empty() || has(subscribe),
            (Names::Change { subscribe, unsubscribe }, Some(was)) => {
                has(subscribe) || (was && !has(unsubscribe))
            }
        }
    }

    /// What is asked for, for the log.
    pub(super) fn list(&self) -> &[String] {
        match self {
            Names::All(names) => names,
            Names::Change { subscribe, .. } => subscribe,
        }
    }
}

/// A form of the protocol.
pub(super) trait Form: Send + 'static {
    /// What a proxy sends.
    type Request: Send + 'static;
    /// What it is sent.
    type Response: Send + 'static;
    /// Reads a request.
    fn read(layer: &str, request: Self::Request) -> Said;
    /// Writes a response.
    fn write(layer: &str, snapshot: &Snapshot, nonce: String) -> Self::Response;
}

/// State of the world.
pub(super) struct Whole;

impl Form for Whole {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn read(_layer: &str, request: DiscoveryRequest) -> Said {
        Said {
            node_id: node_id(request.node),
            type_url: request.type_url,
            names: Names::All(request.resource_names),
            version: request.version_info,
            nonce: request.response_nonce,
            refused: refused(request.error_detail),
        }
    }

    fn write(_layer: &str, snapshot: &Snapshot, nonce: String) -> DiscoveryResponse {
        DiscoveryResponse {
            version_info: snapshot.version.clone(),
            resources: vec![snapshot.resource.clone()],
            type_url: type_url(),
            nonce,
            ..DiscoveryResponse::default()
        }
    }
}

/// Delta.
pub(super) struct Delta;

impl Form for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn read(layer: &str, mut request: DeltaDiscoveryRequest) -> Said {
        Said {
            node_id: node_id(request.node),
            type_url: request.type_url,
            version: request.initial_resource_versions.remove(layer).unwrap_or_default(),
            names: Names::Change {
                subscribe: request.resource_names_subscribe,
                unsubscribe: request.resource_names_unsubscribe,
            },
            nonce: request.response_nonce,
            refused: refused(request.error_detail),
        }
    }

    fn write(layer: &str, snapshot: &Snapshot, nonce: String) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            system_version_info: name_of(&snapshot.version).to_owned(),
            resources: vec![Resource {
                name: layer.to_owned(),
                version: snapshot.version.clone(),
                resource: Some(snapshot.resource.clone()),
                ..Resource::default()
            }],
            type_url: type_url(),
            nonce,
            ..DeltaDiscoveryResponse::default()
        }
    }
}

fn node_id(node: Option<Node>) -> Option<String> {
    node.map(|node| node.id).filter(|id| !id.is_empty())
}

/// The reason as it is stored and shown, so its length is bounded.
fn refused(detail: Option<RpcStatus>) -> Option<String> {
    detail.map(|status| match status.message.trim() {
        "" => format!("gRPC status {}", status.code),
        message => message.chars().take(500).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_wanted_follows_the_messages() {
        let all = |list: &[&str]| Names::All(names(list));
        let change = |add: &[&str], remove: &[&str]| Names::Change {
            subscribe: names(add),
            unsubscribe: names(remove),
        };
        let cases = [
            (all(&["serin"]), None, true),
            (all(&[]), None, true),
            (all(&["other"]), None, false),
            (all(&["other", "serin"]), Some(false), true),
            (all(&[]), Some(true), false),
            (change(&["serin"], &[]), None, true),
            (change(&[], &[]), None, true),
            (change(&["other"], &[]), None, false),
            (change(&[], &[]), Some(true), true),
            (change(&[], &[]), Some(false), false),
            (change(&[], &["serin"]), Some(true), false),
            (change(&["serin"], &[]), Some(false), true),
        ];
        for (said, was, wanted) in cases {
            assert_eq!(said.wants("serin", was), wanted, "{said:?} after {was:?}");
        }
    }

    #[test]
    fn an_empty_reason_is_still_a_refusal() {
        assert_eq!(refused(Some(RpcStatus { code: 13, ..RpcStatus::default() })).unwrap(), "gRPC status 13");
        let long = RpcStatus { message: "x".repeat(10_000), ..RpcStatus::default() };
        assert_eq!(refused(Some(long)).unwrap().len(), 500);
        assert_eq!(refused(None), None);
    }
}
