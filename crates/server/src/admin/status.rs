//! How the server is: status for people and scripts, readiness, Prometheus, and why a cost is what it is.
use super::{Admin, Query, answer::Answer, metrics};
use alto::{
    ErrorBody,
    cost::{self, Metric},
    endpoint::Address,
};
use http::StatusCode;
use serde_json::{Value, json};
use std::time::SystemTime;

impl Admin {
    /// `GET /v1/status`.
    pub(super) fn status(&self) -> Answer {
        let snapshot = self.publisher.current();
        let now = SystemTime::now();
        let sources: Vec<Value> = self
            .sources
            .sources()
            .iter()
            .map(|source| {
                let age = source.observed_at.and_then(|at| now.duration_since(at).ok()).map(|age| age.as_secs_f64());
                let mut value = serde_json::to_value(source).expect("a source's status is JSON");
                value["age-seconds"] = json!(age);
                value
            })
            .collect();
        let listeners: Vec<Value> = self.listeners.iter().map(|(name, address)| json!({ "name": name, "address": address })).collect();
        let mut troubles = self.sources.troubles();
        troubles.extend(
            self.sources.sources().iter().filter_map(|source| Some(format!("source {}: {}", source.name, source.trouble.as_ref()?))),
        );
        troubles.extend(self.certificates.as_ref().and_then(|certificates| certificates.trouble()).map(|why| why.to_string()));
        let store = self.sources.store();
        troubles.extend(store.trouble.as_ref().map(|why| format!("data folder: nothing can be published: {why}")));
        let mut clients = self.metrics.clients();
        clients["updates"] =
            self.transports.clients.counts().map(|count| (count.transport.as_str().to_owned(), json!(count.now))).collect();
        clients["tips-views"] = json!(self.transports.tips.held());
        let webhooks = self.transports.webhooks.tally();
        clients["notifications"] =
            json!({"contacts": webhooks.contacts, "contacts-failing": webhooks.failing, "under-way": webhooks.under_way});
        let held = self.publisher.held();
        troubles.extend(
            held.as_ref().map(|held| format!("change guard: the newest maps move {} and wait for POST /v1/guard/confirm", held.moved)),
        );
        Answer::json(
            StatusCode::OK,
            &json!({
                "version": env!("CARGO_PKG_VERSION"),
                "uptime-seconds": self.started.elapsed().as_secs_f64(),
                "ready": self.sources.ready(),
                "commit": snapshot.commit,
                "committed-at": (snapshot.commit > 0).then(|| time_text(snapshot.at)),
                "resources": snapshot.versions.len(),
                "sources": sources,
                "store": store,
                "listeners": listeners,
                "clients": clients,
                "guard-holds": held.is_some(),
                "troubles": troubles,
            }),
        )
    }

    /// `GET /readyz`: 503 until everything was published once.
    pub(super) fn readiness(&self) -> Answer {
        let plain = "text/plain; charset=utf-8";
        if self.sources.ready() {
            Answer::text(StatusCode::OK, plain, "ready\n".into())
        } else {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, plain, "not ready: the sources were not all read yet\n".into())
        }
    }

    /// `GET /metrics`.
    pub(super) fn exposition(&self) -> Answer {
        let (snapshot, sources, held) = (self.publisher.current(), self.sources.sources(), self.publisher.held().is_some());
        let mut text = self.metrics.exposition(&snapshot, &sources, held, self.budget.bytes(), SystemTime::now());
        metrics::updates(&mut text, &self.transports);
        metrics::store(&mut text, &self.sources.store());
        Answer::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }

    /// `GET /v1/explain?src=ADDR&dst=ADDR&metric=M`; addresses with or without their type.
    pub(super) fn explain(&self, query: &Query<'_>) -> Result<Answer, Answer> {
        let refused = |body: ErrorBody| Answer::refused(StatusCode::BAD_REQUEST, body.to_string(), &body);
        let address = |name: &str| -> Result<Address, Answer> {
            let text = query.get(name).ok_or_else(|| refused(ErrorBody::missing(name)))?;
            let typed = text.parse().or_else(|e| text.parse::<std::net::IpAddr>().map(Address::from).map_err(|_| e));
            typed.map_err(|_| refused(ErrorBody::invalid(name, text)))
        };
        let (source, destination) = (address("src")?, address("dst")?);
        let metric = query.get("metric").unwrap_or_else(|| cost::ROUTINGCOST.to_owned());
        let metric: Metric = metric.parse().map_err(|_| refused(ErrorBody::invalid("metric", metric)))?;
        let explanation = self.publisher.current().guidance.explain(&source, &destination, &metric).map_err(refused)?;
        Ok(Answer::json(StatusCode::OK, &serde_json::to_value(&explanation).expect("an explanation is JSON")))
    }
}

/// RFC 9110 section 5.6.7 has the form that people and programs read everywhere; the admin listener's is RFC 3339, in UTC, to the second.
pub(crate) fn time_text(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a number of days since 1970-01-01, counted in years that begin in March, so that leap days come last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time_text(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), want);
        }
    }
}
