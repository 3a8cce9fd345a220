//! From the configuration to the plain options of each crate.
use super::{
    Config,
    sections::{ExpirySection, RuleSection, SourceSection},
    setting::DemoNetwork,
};
use crate::demo;
use maps::{
    compute::{MapsPolicy, Shape},
    damping::Damping,
    expiry,
    partition::PartitionPolicy,
    policy::{Action, Rule},
};
use std::time::Duration;
use topology::sources::{Columns, Options, SourceKind, file::FileSource};

impl Config {
    /// Which demo network is served: `auto` decided.
    pub fn demo_network(&self) -> DemoNetwork {
        let nothing_else = self.maps.folder.is_none() && self.sources.is_empty();
        match self.demo.network {
            DemoNetwork::Auto if nothing_else => DemoNetwork::Geant,
            DemoNetwork::Auto => DemoNetwork::Off,
            chosen => chosen,
        }
    }

    /// For the server.
    pub fn server_options(&self) -> server::Options {
        let (it, updates, default) = (&self.server, &self.updates, server::Options::default());
        let subscriptions = &self.subscriptions;
        server::Options {
            public: it.listen.clone(),
            admin: self.admin.listen.0,
            admin_token: self.admin.token.clone(),
            tls: it.certificate.as_ref().zip(it.key.as_ref()).map(|(certificate, key)| server::TlsFiles::new(certificate, key)),
            http3: it.http3,
            public_url: it.public_url.clone(),
            credits: demo::credits(self.demo_network()).iter().map(|(text, url)| ((*text).to_owned(), (*url).to_owned())).collect(),
            expiry: self.expiry_rules(),
            workers: it.workers,
            websocket_origins: updates.websocket_origins.clone(),
            contact_prefixes: subscriptions.contact_prefixes.clone(),
            contact_ca: subscriptions.ca_file.clone(),
            limits: server::Limits {
                connections_max: it.connections_max,
                query_bytes_max: it.query_bytes_max,
                document_bytes_max: self.admin.document_bytes_max,
                header_time_max: it.header_time_max_seconds.0,
                body_time_max: it.body_time_max_seconds.0,
                drain_time_max: it.drain_time_max_seconds.0,
                update_streams_max: updates.update_streams_max,
                substream_ids_max: updates.substream_ids_max,
                connection_queues_max: updates.connection_queues_max,
                poll_window: updates.poll_window,
                substreams_max: updates.substreams_max,
                control_requests_max: updates.control_requests_max,
                keep_alive: updates.keep_alive_seconds.0,
                polls_max: updates.polls_max,
                poll_time_max: updates.poll_time_max_seconds.0,
                tips_views_max: updates.tips_views_max,
                tips_view_grace: updates.tips_view_grace_seconds.0,
                ping_interval: updates.ping_interval_seconds.0,
                subscriptions_max: subscriptions.subscriptions_max,
                contact_subscriptions_max: subscriptions.contact_subscriptions_max,
                subscription_time_max: subscriptions.time_max_seconds.0,
                contact_connections_max: subscriptions.contact_connections_max,
                notifications_at_once: subscriptions.notifications_at_once,
                notification_time_max: subscriptions.answer_time_max_seconds.0,
                notification_retry_max: subscriptions.retry_max_seconds.0,
                notification_give_up: subscriptions.give_up_seconds.0,
                ..default.limits
            },
            ..default
        }
    }

    /// For the maps.
    pub fn maps_policy(&self) -> MapsPolicy {
        let it = &self.maps;
        MapsPolicy {
            partition: PartitionPolicy { by: it.partition_by, default_pid: it.default_pid.clone() },
            metrics: it.metrics.clone(),
            rules: self.rules.iter().filter_map(rule).collect(),
            shape: Shape { sources: it.sources.clone(), destinations: it.destinations.clone() },
            network_map_id: it.network_map_id.clone(),
            ..MapsPolicy::default()
        }
    }

    /// What is promised of the validity of resources; the parser made sure that each says for how long.
    fn expiry_rules(&self) -> Vec<expiry::Rule> {
        let rule =
            |it: &ExpirySection| Some(expiry::Rule { resource: it.resource.clone(), pid: it.pid.clone(), lifetime_seconds: it.seconds? });
        self.expiry.iter().filter_map(rule).collect()
    }

    /// For the computed costs.
    pub fn damping(&self) -> Damping {
        let it = &self.damping;
        let interval = it.interval_seconds.map_or(Duration::ZERO, |interval| interval.0);
        Damping { steps: it.steps.clone(), hysteresis: it.hysteresis.0, interval }
    }

    /// For the change guard.
    pub fn change_guard(&self) -> history::Guard {
        history::Guard {
            computed_moved_share_max: self.guard.computed_moved_share_max.0,
            published_moved_share_max: self.guard.published_moved_share_max.0,
        }
    }

    /// For the versions.
    pub fn history_limits(&self) -> history::Limits {
        let it = &self.history;
        history::Limits {
            versions_max: it.versions_max.max(1),
            age_max: it.age_max_seconds.0,
            bytes_max: it.bytes_max,
            post_views_max: it.filtered_views_max,
            post_bytes_max: it.filtered_bytes_max,
            ..history::Limits::default()
        }
    }
}

/// A rule has exactly one action: the parser saw to it.
fn rule(it: &RuleSection) -> Option<Rule> {
    let forbid = it.forbid.then_some(Action::Forbid);
    let action = it.add.map(Action::Add).or(it.multiply.map(Action::Multiply)).or(forbid).or(it.default.map(Action::Default))?;
    Some(Rule { sources: it.from.clone(), destinations: it.to.clone(), metric: it.metric.clone(), action })
}

impl SourceSection {
    /// What its name in messages is.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or("source")
    }

    /// What it reads; the parser made sure that there is a kind.
    pub fn source_kind(&self) -> SourceKind {
        self.kind.unwrap_or(SourceKind::Graphml)
    }

    /// For the reader.
    pub fn file_source(&self) -> FileSource {
        let options = Options {
            names: self.names.clone(),
            routers_only: self.routers_only,
            delay: self.delay,
            fibre_km_per_us: self.fibre_km_per_us,
            bandwidth: self.bandwidth,
            internal_only: self.internal_only,
            strip_index: self.strip_index,
            network: self.network.clone(),
            stub_prefixes: self.stub_prefixes,
            columns: Columns {
                prefix: self.column_prefix.clone(),
                group: self.column_group.clone(),
                router: self.column_router.clone(),
                asn: self.column_asn.clone(),
                source: self.column_source.clone(),
                destination: self.column_destination.clone(),
                value: self.column_value.clone(),
            },
            metric: self.metric.clone(),
            unit: self.unit,
            symmetric: self.symmetric,
            revision: self.revision,
            ..Options::default()
        };
        FileSource { kind: self.source_kind(), paths: self.files.clone(), options }
    }
}
