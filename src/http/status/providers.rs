//! The chain's providers: whom the node asks, and how they do.

use std::rc::Rc;

use crate::adapters::json_rpc::Standing;
use crate::http::metrics::{
    Kind::{Counter, Gauge},
    Page,
};

/// Tells how the providers stand at the moment, in the order of the configuration.
pub type Providers = Rc<dyn Fn() -> Vec<Standing>>;

/// A provider's states, as metrics name them.
const STATES: [&str; 6] = ["unknown", "good", "lagging", "behind", "failing", "other_chain"];

/// Adds what counts of each provider. The place tells apart what two keys at one address are.
pub(super) fn metrics(all: &[Standing], page: &mut Page) {
    let places: Vec<_> = all.iter().map(|one| one.place.to_string()).collect();
    let each = || all.iter().zip(&places);

    let states = each().flat_map(|one| {
        let is = move |state| f64::from(u8::from(one.0.state == state));
        STATES.map(|state| (labels(one, Some(("state", state))), is(state)))
    });
    page.family("scatter_provider_state", Gauge, "1 for the state that a provider is in.", states);
    let in_use = each().map(|one| (labels(one, None), f64::from(u8::from(one.0.in_use))));
    page.family("scatter_provider_in_use", Gauge, "1 for the provider that is asked.", in_use);
    let heads = each().filter_map(|one| Some((labels(one, None), one.0.head? as f64)));
    page.family("scatter_provider_head_block", Gauge, "The newest block that a provider told.", heads);
    let finals = each().filter_map(|one| Some((labels(one, None), one.0.finalized? as f64)));
    let help = "The newest final block that a provider told.";
    page.family("scatter_provider_finalized_block", Gauge, help, finals);
    let limits = each().filter_map(|one| Some((labels(one, None), one.0.limit_per_second?)));
    let help = "Questions a second that a provider gets at most; absent without a limit.";
    page.family("scatter_provider_limit_per_second", Gauge, help, limits);
    let requests = each().map(|one| (labels(one, None), one.0.requests as f64));
    page.family("scatter_provider_requests_total", Counter, "Questions put to a provider.", requests);
    let errors = each().flat_map(|one| {
        one.0.errors.iter().map(move |(kind, count)| (labels(one, Some(("kind", kind))), *count as f64))
    });
    page.family("scatter_provider_errors_total", Counter, "Errors of a provider by kind.", errors);
}

fn labels<'a>(
    (standing, place): (&'a Standing, &'a String),
    more: Option<(&'a str, &'a str)>,
) -> Vec<(&'a str, &'a str)> {
    [("place", place.as_str()), ("url", standing.url.as_str())].into_iter().chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_has_its_samples_and_two_keys_at_one_address_stay_apart() {
        let first = Standing {
            place: 1,
            url: "https://p.example:443/…".into(),
            state: "failing",
            in_use: false,
            head: Some(7),
            finalized: None,
            requests: 9,
            errors: [("timed_out", 2)].into(),
            limit_per_second: Some(19.5),
            paused_ms: 0,
        };
        let second = Standing {
            place: 2,
            state: "good",
            in_use: true,
            errors: Default::default(),
            limit_per_second: None,
            ..first.clone()
        };
        let mut page = Page::new();
        metrics(&[first, second], &mut page);
        let text = page.into_text();
        let of = |place: usize| format!("place=\"{place}\",url=\"https://p.example:443/…\"");
        for line in [
            format!("scatter_provider_state{{{},state=\"failing\"}} 1", of(1)),
            format!("scatter_provider_state{{{},state=\"good\"}} 0", of(1)),
            format!("scatter_provider_state{{{},state=\"good\"}} 1", of(2)),
            format!("scatter_provider_in_use{{{}}} 1", of(2)),
            format!("scatter_provider_head_block{{{}}} 7", of(1)),
            format!("scatter_provider_limit_per_second{{{}}} 19.5", of(1)),
            format!("scatter_provider_requests_total{{{}}} 9", of(2)),
            format!("scatter_provider_errors_total{{{},kind=\"timed_out\"}} 2", of(1)),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        for absent in ["finalized_block", "limit_per_second{place=\"2\"", "errors_total{place=\"2\""] {
            assert!(!text.contains(absent), "{absent}\n{text}");
        }
        assert_eq!(text.matches("# TYPE scatter_provider_state gauge").count(), 1);
    }
}
