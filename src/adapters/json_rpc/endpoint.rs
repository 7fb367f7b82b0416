//! A provider's URL, whose credentials stay inside.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use url::{form_urlencoded, Url};

/// Shortest part of a URL that is taken for a secret when it turns up in a text, in bytes.
const SHORTEST_SECRET: usize = 6;

/// Why a URL is none that can be asked. It does not repeat the URL, which may hold a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https URL: {0}")]
pub struct BadUrl(&'static str);

/// Where a provider listens. Shown as `scheme://host:port`, with `/…` for what must stay private: a path or a query,
/// where providers put their keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    /// Without user and password.
    url: String,
    login: Option<(String, String)>,
    shown: String,
    secrets: Vec<String>,
}

impl Endpoint {
    /// What the HTTP request is sent to, keys in path and query included.
    pub(in crate::adapters) fn request_url(&self) -> &str {
        &self.0.url
    }

    /// User and password for HTTP's basic authentication.
    pub(in crate::adapters) fn login(&self) -> Option<(&str, &str)> {
        self.0.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }

    /// A text in which the provider may repeat what it was sent, without this URL's credentials.
    pub fn redact(&self, text: &str) -> String {
        self.0.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }
}

impl FromStr for Endpoint {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let mut url = Url::parse(text.trim()).map_err(|_| BadUrl("it does not parse"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadUrl("another scheme"));
        }
        let host = url.host_str().ok_or(BadUrl("no host"))?;
        let port = url.port_or_known_default().ok_or(BadUrl("no port"))?;
        let private = url.path() != "/" || url.query().is_some();
        let shown = format!("{}://{host}:{port}{}", url.scheme(), if private { "/…" } else { "" });
        let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        let pieces = url.path_segments().into_iter().flatten().map(str::to_owned);
        let values = url.query_pairs().map(|(_, value)| value.into_owned());
        let raw_query = url.query().map(str::to_owned);
        // As the header has it, which a provider may repeat as well.
        let basic = BASE64.encode(format!("{user}:{password}"));
        let secrets: Vec<_> = pieces
            .chain(values)
            .chain(raw_query)
            .chain([user.clone(), password.clone(), basic.trim_end_matches('=').to_owned()])
            .chain([url.password().unwrap_or_default().to_owned()])
            .filter(|secret| secret.len() >= SHORTEST_SECRET)
            .collect();
        let login = (!user.is_empty() || !password.is_empty()).then_some((user, password));
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| BadUrl("no host"))?;
        url.set_fragment(None);
        Ok(Self(Arc::new(Parts { url: url.to_string(), login, shown, secrets })))
    }
}

/// Undoes percent encoding.
fn decoded(text: &str) -> String {
    let literal = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(literal.as_bytes()).map(|(text, _)| text.into_owned()).next().unwrap_or_default()
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_anything_that_could_be_a_credential() {
        for (url, shown) in [
            ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
            ("https://node.example/", "https://node.example:443"),
            ("https://node.example/v3/0123456789abcdef", "https://node.example:443/…"),
            ("https://node.example/?apikey=s3cr3t", "https://node.example:443/…"),
            ("https://alice:hunter2@node.example:8443", "https://node.example:8443"),
            ("http://[::1]:8545/#fragment", "http://[::1]:8545"),
        ] {
            let endpoint: Endpoint = url.parse().unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(format!("{endpoint:?}"), shown);
        }
    }

    #[test]
    fn the_request_keeps_the_key_and_moves_the_password_to_its_header() {
        let endpoint: Endpoint = "https://al%40ice:p+%2Fw%3D&d@node.example/v3/key?k=v".parse().unwrap();
        assert_eq!(endpoint.request_url(), "https://node.example/v3/key?k=v");
        assert_eq!(endpoint.login(), Some(("al@ice", "p+/w=&d")));
    }

    #[test]
    fn a_provider_that_repeats_the_key_does_not_leak_it() {
        let endpoint: Endpoint =
            "https://bob:hunter22@n.example/v3/0123456789?apikey=abcdefgh".parse().unwrap();
        let words = "invalid key 0123456789 or abcdefgh for /v3/0123456789?apikey=abcdefgh, bob:hunter22, \
                     Basic Ym9iOmh1bnRlcjIy";
        let shown = endpoint.redact(words);
        for secret in ["0123456789", "abcdefgh", "hunter22", "Ym9iOmh1bnRlcjIy"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.starts_with("invalid key"));
    }

    #[test]
    fn what_is_no_http_url_is_refused_without_being_repeated() {
        for url in
            ["", "node.example:8545", "ws://node.example", "http://", "file:///etc/key", "https://user:pw@"]
        {
            let error = url.parse::<Endpoint>().unwrap_err();
            assert!(!error.to_string().contains("pw"), "{error}");
        }
    }
}
