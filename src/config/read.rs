//! Which keys there are and which rules tie them together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use scatter_actors::domain::admission::Policy;
use scatter_actors::domain::backoff::Backoff;
use scatter_actors::domain::limits::Limits;
use scatter_actors::{supervisor, validator, wallet_signer};

use super::layers::Layers;
use super::values::{
    count, flag, fraction, list, listen, optional, parsed, provider, range, size, span, text, web,
};
use super::{
    consortium, ipfs, milliseconds, Chain, Config, Firewall, Hoster, LogFormat, Node, Password, Roles,
    Status, Supervision, Validator, Wallet, TEST_CHAINS,
};

/// Stands in for an address that does not read.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Reads every key. Where mistakes were found the result is not to be used.
pub(super) fn config(from: &mut Layers) -> Config {
    let node = node(from);
    let roles = roles(from);
    let chain = chain(from, roles);
    let wallet = wallet(from, roles, chain.as_ref());
    let config = Config {
        node,
        roles,
        ipfs: ipfs::read(from),
        consortium: consortium::read(from, roles),
        hoster: hoster(from),
        validator: auditor(from, chain.as_ref()),
        firewall: firewall(from),
        status: status(from),
        supervision: supervision(from),
        chain,
        wallet,
    };
    let same_port = config.firewall.listen == config.status.listen && config.status.listen.port() != 0;
    if roles.firewall && same_port {
        from.mistake("firewall.listen", "the same address and port as status.listen");
    }
    config
}

fn node(from: &mut Layers) -> Node {
    let node = Node {
        data_dir: from.read("node.data_dir", text).into(),
        log: from.read("node.log", text),
        log_format: from.read("node.log_format", |value| match text(value)?.as_str() {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("{other:?} is not \"text\", \"json\" or \"auto\"")),
        }),
    };
    if node.data_dir.as_os_str().is_empty() {
        from.mistake("node.data_dir", "a directory is needed");
    }
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&node.log) {
        from.mistake("node.log", error.to_string());
    }
    node
}

fn roles(from: &mut Layers) -> Roles {
    let roles = Roles {
        hoster: from.read("roles.hoster", flag),
        validator: from.read("roles.validator", flag),
        consortium: from.read("roles.consortium", flag),
        firewall: from.read("roles.firewall", flag),
    };
    if roles.firewall && !roles.hoster {
        let why = "the firewall serves what this process hosts, by the hoster's own records: \
                   set roles.hoster = true too (and hoster.accept = false to take no bids)";
        from.mistake("roles.firewall", why);
    }
    roles
}

fn chain(from: &mut Layers, roles: Roles) -> Option<Chain> {
    let urls = from.read("chain.urls", list(provider));
    let ca_file = from.read("chain.ca_file", optional(text));
    let chain_id = from.read("chain.chain_id", count);
    let router = from.read("chain.router", optional(parsed));
    let market = from.read("chain.market", optional(parsed));
    let register = from.read("chain.register", optional(parsed));
    let env = from.read("chain.env", optional(parsed));
    let start_block = from.read("chain.start_block", count);
    let confirmations = from.read("chain.confirmations", count);
    let block_time = from.read("chain.block_time", span);
    let poll = from.read("chain.poll", span);
    let max_range = from.read("chain.max_range", count);
    let finality_depth = from.read("chain.finality_depth", count);
    let tip_percentile = from.read("chain.tip_percentile", count);
    let min_tip = from.read("chain.min_tip", parsed);
    let timeout = from.read("chain.timeout", span);

    at_least_one(from, "chain.max_range", max_range);
    if poll.is_zero() {
        from.mistake("chain.poll", "a pause above 0 is needed");
    }
    if timeout.is_zero() {
        from.mistake("chain.timeout", "a time above 0 is needed");
    }
    if tip_percentile > 100 {
        from.mistake("chain.tip_percentile", "a percentile is at most 100");
    }
    if urls.iter().enumerate().any(|(place, url)| urls[..place].contains(url)) {
        from.mistake("chain.urls", "the same URL twice: it would stand in for itself");
    }
    // Any part of a chain means that one is wanted: a forgotten rest is told instead of ignored.
    let wanted = roles.need_chain() || !urls.is_empty() || chain_id != 0 || router.or(market).is_some();
    if !wanted {
        return None;
    }
    if urls.is_empty() && !from.faulty("chain.urls") {
        from.mistake("chain.urls", "required: the URL of a JSON-RPC provider");
    }
    if chain_id == 0 && !from.faulty("chain.chain_id") {
        from.mistake("chain.chain_id", "required: the chain's id");
    }
    if router.or(market).is_none() && !from.faulty("chain.market") && !from.faulty("chain.router") {
        from.mistake("chain.market", "required: the market's address, or the Router's as chain.router");
    }
    if urls.is_empty() {
        return None;
    }
    Some(Chain {
        urls,
        ca_file: ca_file.map(Into::into),
        chain_id,
        router,
        market,
        register,
        env,
        start_block,
        confirmations,
        block_time,
        poll,
        max_range,
        finality_depth,
        tip_percentile,
        min_tip,
        timeout,
    })
}

fn wallet(from: &mut Layers, roles: Roles, chain: Option<&Chain>) -> Option<Wallet> {
    let keystore = from.read("wallet.keystore", optional(text));
    let password_file = from.read("wallet.password_file", optional(text));
    let signer = wallet_signer::Config {
        // The chain's: both wait for the same reorgs, at the same pace.
        confirmations: chain.map_or(0, |chain| chain.confirmations),
        poll_ms: chain.map_or(0, |chain| milliseconds(chain.poll)),
        max_fee_per_gas: from.read("wallet.max_fee_per_gas", parsed),
        max_spend_per_tx: from.read("wallet.max_spend_per_tx", parsed),
        max_spend_per_day: from.read("wallet.max_spend_per_day", parsed),
        bump_after_seconds: from.read("wallet.bump_after", span).as_secs(),
        in_flight: from.read("wallet.in_flight", count),
        min_withdraw: from.read("wallet.min_withdraw", parsed),
        auto_withdraw: from.read("wallet.auto_withdraw", flag),
        balance_floor: from.read("wallet.balance_floor", parsed),
    };
    let given = from.password();

    at_least_one(from, "wallet.in_flight", signer.in_flight as u64);
    at_least_one(from, "wallet.bump_after", signer.bump_after_seconds);
    if signer.max_spend_per_tx > signer.max_spend_per_day {
        from.mistake("wallet.max_spend_per_tx", "more than wallet.max_spend_per_day");
    }
    if keystore.is_none() && roles.need_wallet() {
        from.mistake("wallet.keystore", "required: the file of the account's key (see scatter account new)");
    }
    let keystore = keystore?;
    if chain.is_none() && !from.faulty("chain.") {
        from.mistake("wallet.keystore", "an account is of no use without a chain: set chain.urls");
    }
    let password = match (given, password_file) {
        (Some(password), _) => Password::Given(password),
        (None, Some(file)) => Password::File(file.into()),
        (None, None) => {
            let how = "required: a file with the key's password, or SCATTER_WALLET__PASSWORD";
            from.mistake("wallet.password_file", how);
            return None;
        }
    };
    Some(Wallet { keystore: keystore.into(), password, signer })
}

fn hoster(from: &mut Layers) -> Hoster {
    let (shortest, longest) = from.read("hoster.durations", range(span));
    let policy = Policy {
        accept: from.read("hoster.accept", flag),
        min_price: from.read("hoster.min_price_per_gib_month", parsed),
        sizes: from.read("hoster.sizes", range(size)),
        durations: (shortest.as_secs(), longest.as_secs()),
        max_storage: from.read("hoster.max_storage", size),
        min_free_disk: from.read("hoster.min_free_disk", size),
        allow: from.read("hoster.allow", list(parsed)),
        deny: from.read("hoster.deny", list(parsed)),
        assumed_speed: from.read("hoster.assumed_speed", size).0,
    };
    let hoster = Hoster {
        policy,
        queue: from.read("hoster.queue", count),
        idle_timeout: from.read("hoster.idle_timeout", span),
        grace: from.read("hoster.grace", span),
        announce_url: from.read("hoster.announce_url", optional(web)),
    };
    at_least_one(from, "hoster.queue", hoster.queue as u64);
    at_least_one(from, "hoster.assumed_speed", hoster.policy.assumed_speed);
    hoster
}

fn auditor(from: &mut Layers, chain: Option<&Chain>) -> Validator {
    let (shortest, longest) = from.read("validator.durations", range(span));
    let (smallest, largest) = from.read("validator.sizes", range(size));
    let auditor = validator::Config {
        min_size: smallest,
        max_size: largest,
        min_duration: shortest.as_secs(),
        max_duration: longest.as_secs(),
        min_reward: from.read("validator.min_reward", parsed),
        loss_bp: basis_points(from.read("validator.loss", fraction)),
        confidence_bp: basis_points(from.read("validator.confidence", fraction)),
        confirm_gap_ms: milliseconds(from.read("validator.confirm_gap", span)),
        recheck_after: from.read("validator.recheck_after", span).as_secs(),
        grace: from.read("validator.slot_grace", span).as_secs(),
        jitter: from.read("validator.vote_jitter", span).as_secs(),
        at_once: from.read("validator.at_once", count),
        allow_private_endpoints: from.read("validator.allow_private_endpoints", flag),
        ..validator::Config::default()
    };
    let on_test_chain = chain.is_none_or(|chain| TEST_CHAINS.contains(&chain.chain_id));
    if auditor.allow_private_endpoints && !on_test_chain {
        from.mistake("validator.allow_private_endpoints", "only on the test chains 1337 and 31337");
    }
    Validator { auditor }
}

/// A fraction in ten-thousandths, rounded and at least one.
fn basis_points(fraction: f64) -> u32 {
    ((fraction * 10_000.0).round() as u32).clamp(1, 9_999)
}

fn firewall(from: &mut Layers) -> Firewall {
    let firewall = Firewall {
        listen: from.read_or("firewall.listen", NOWHERE, listen),
        public_name: from.read("firewall.public_name", optional(text)),
        trusted_proxies: from.read("firewall.trusted_proxies", list(parsed)),
        max_connections: from.read("firewall.max_connections", count),
        connections_per_source: from.read("firewall.connections_per_source", count),
        limits: Limits {
            per_second: from.read("firewall.requests_per_second", count),
            at_once: from.read("firewall.requests_at_once", count),
            bytes_per_day: from.read("firewall.bytes_per_day", size).0,
            all_per_second: from.read("firewall.all_requests_per_second", count),
            all_at_once: from.read("firewall.all_requests_at_once", count),
            ..Limits::default()
        },
        backend_timeout: from.read("firewall.backend_timeout", span),
    };
    for (key, value) in [
        ("firewall.max_connections", firewall.max_connections as u64),
        ("firewall.connections_per_source", firewall.connections_per_source.into()),
        ("firewall.requests_per_second", firewall.limits.per_second.into()),
        ("firewall.requests_at_once", firewall.limits.at_once.into()),
        ("firewall.all_requests_per_second", firewall.limits.all_per_second.into()),
        ("firewall.all_requests_at_once", firewall.limits.all_at_once.into()),
    ] {
        at_least_one(from, key, value);
    }
    firewall
}

fn status(from: &mut Layers) -> Status {
    let token_file = from.read("status.token_file", optional(text));
    let status = Status {
        listen: from.read_or("status.listen", NOWHERE, listen),
        token_file: token_file.map(Into::into),
    };
    if !status.listen.ip().is_loopback() && status.token_file.is_none() {
        from.mistake("status.listen", "off loopback a token is needed: set status.token_file");
    }
    status
}

fn supervision(from: &mut Layers) -> Supervision {
    let policy = supervisor::Policy {
        backoff: Backoff {
            first: from.read("supervision.backoff", span),
            most: from.read("supervision.max_backoff", span),
        },
        most: from.read("supervision.max_restarts", count),
        within: from.read("supervision.window", span),
        heartbeat: from.read("supervision.heartbeat", span),
        silence: from.read("supervision.silence", count),
    };
    if policy.heartbeat.is_zero() {
        from.mistake("supervision.heartbeat", "a time above 0 is needed");
    }
    at_least_one(from, "supervision.silence", policy.silence.into());
    Supervision { policy, drain: from.read("supervision.drain", span) }
}

pub(super) fn at_least_one(from: &mut Layers, key: &'static str, value: u64) {
    if value == 0 {
        from.mistake(key, "at least 1 is needed");
    }
}
