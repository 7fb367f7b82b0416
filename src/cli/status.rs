//! How the running node is doing.

use clap::Args;
use serde_json::Value;

use super::{output, Context};
use crate::exit::{Code, Fault};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Ask only whether it lives: exits 0 or 3. For probes that end it if not.
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Ask only whether it is ready: exits 0, or 3 with the reasons. For probes that send it work.
    #[arg(long)]
    ready: bool,
}

pub(super) fn execute(status: &Status, context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    if status.live {
        let document = node.get("/healthz")?;
        context.output.answer(&document, || "alive".into());
        return Ok(());
    }
    if status.ready {
        let document = node.get("/readyz")?;
        if document["ready"] != true {
            return Err(
                Fault::new(Code::CheckFailed, format!("not ready: {}", reasons(&document))).with(document)
            );
        }
        context.output.answer(&document, || "ready".into());
        return Ok(());
    }
    let mut document = node.get("/api/v1/status")?;
    document["wallet"] = node.get("/api/v1/wallet")?;
    context.output.answer(&document, || words(&document));
    Ok(())
}

fn words(status: &Value) -> String {
    let chain = &status["chain"];
    let ready = match status["ready"].as_bool() {
        Some(true) => "yes".to_owned(),
        _ => format!("no: {}", reasons(status)),
    };
    let bytes = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), output::size);
    let mut rows = vec![("ready", ready), ("account", output::cell(&status["wallet"]["account"]))];
    if chain.is_object() {
        let market = &chain["market"];
        rows.push(("market", format!("{} on chain {}", output::cell(&market["address"]), market["chain"])));
        rows.push(("block", format!("{} ({} is final)", chain["head"], chain["finalized"])));
        if status["listening"].is_object() {
            rows.push(("listening", listening(&status["listening"])));
        }
        if !chain["halted"].is_null() {
            rows.push(("halted", output::cell(&chain["halted"])));
        }
    }
    rows.extend(status["providers"].as_array().into_iter().flatten().map(|one| ("provider", provider(one))));
    if status["ipfs"].is_object() {
        let (peer, agent) = (output::cell(&status["ipfs"]["peer"]), output::cell(&status["ipfs"]["agent"]));
        rows.push(("ipfs node", format!("{peer} ({agent})")));
    }
    rows.extend([
        ("bids", counts(&status["bids"])),
        ("audits", counts(&status["audits"])),
        ("transactions", counts(&status["intents"])),
        ("spent in 24 h", output::money(&status["wallet"]["spent_last_day_wei"])),
        ("pins", pins(&status["pins"])),
        ("ipfs blocks", bytes(&status["ipfs_stored_bytes"])),
        ("disk free", bytes(&status["disk_free_bytes"])),
    ]);
    let actors: Vec<_> = status["actors"].as_array().into_iter().flatten().map(actor).collect();
    format!(
        "{}\n\n{}",
        output::pairs(&rows),
        output::table(&["actor", "state", "restarts", "last cause"], &actors, "")
    )
}

/// `http://127.0.0.1:8545: good, in use, block 120, 3 errors in 500 questions`.
fn provider(provider: &Value) -> String {
    let mut words = vec![output::cell(&provider["state"])];
    words.extend((provider["in_use"] == true).then(|| "in use".to_owned()));
    words.extend(provider["head"].as_u64().map(|head| format!("block {head}")));
    words
        .extend(provider["limit_per_second"].as_f64().map(|limit| format!("{limit:.1} questions/s at most")));
    let errors: u64 =
        provider["errors"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    words.push(format!("{errors} errors in {} questions", provider["requests"]));
    format!("{}: {}", output::cell(&provider["url"]), words.join(", "))
}

/// `read up to 98, 2 behind the head; 2000 blocks at once; reorgs: 1 of depth 3; errors: 4 unreachable`.
fn listening(told: &Value) -> String {
    let mut words = format!(
        "read up to {}, {} behind the head; {} blocks at once",
        told["read"], told["lag"], told["range"]
    );
    let list = |counts: &Value, of: &str| -> Vec<String> {
        let counts = counts.as_object().into_iter().flatten();
        counts.map(|(what, count)| format!("{count} {of}{what}")).collect()
    };
    for (name, told) in
        [("reorgs", list(&told["reorgs"], "of depth ")), ("errors", list(&told["errors"], ""))]
    {
        if !told.is_empty() {
            words.push_str(&format!("; {name}: {}", told.join(", ")));
        }
    }
    let poison = told["poison"]["logs"].as_u64().unwrap_or_default();
    let late = told["second_reading"]["missed"].as_u64().unwrap_or_default();
    for (count, what) in [(poison, "logs that do not decode"), (late, "events found late")] {
        if count > 0 {
            words.push_str(&format!("; {count} {what}"));
        }
    }
    words
}

/// `12, 3.0 GiB; 2 lost and not here again, 1 of them for want of room on the disk`.
fn pins(pins: &Value) -> String {
    let number = |field: &str| pins[field].as_u64().unwrap_or_default();
    let mut words = format!("{}, {}", number("count"), output::size(number("bytes")));
    if number("lost") > 0 {
        words.push_str(&format!("; {} lost and not here again", number("lost")));
    }
    if number("no_room") > 0 {
        words.push_str(&format!(", {} of them for want of room on the disk", number("no_room")));
    }
    words
}

/// Why it is not ready.
fn reasons(document: &Value) -> String {
    let reasons = document["reasons"].as_array().into_iter().flatten();
    let told: Vec<_> = reasons.map(|reason| output::cell(&reason["message"])).collect();
    told.join("; ")
}

/// `3 hosting, 1 fetching`.
fn counts(stages: &Value) -> String {
    let told: Vec<_> =
        stages.as_object().into_iter().flatten().map(|(stage, count)| format!("{count} {stage}")).collect();
    if told.is_empty() {
        "none".into()
    } else {
        told.join(", ")
    }
}

fn actor(actor: &Value) -> Vec<String> {
    ["name", "state", "restarts", "last_cause"].map(|field| output::cell(&actor[field])).to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pins_that_were_lost_are_told_while_there_are_any() {
        let mut told = json!({"count": 12, "bytes": 3_u64 << 30, "lost": 0, "no_room": 0});
        assert_eq!(pins(&told), "12, 3.0 GiB");
        told["lost"] = 2.into();
        assert_eq!(pins(&told), "12, 3.0 GiB; 2 lost and not here again");
        told["no_room"] = 1.into();
        assert_eq!(
            pins(&told),
            "12, 3.0 GiB; 2 lost and not here again, 1 of them for want of room on the disk"
        );
    }

    #[test]
    fn a_provider_is_told_in_one_line_with_what_is_known_of_it() {
        let mut one = json!({
            "url": "https://node.example:443/…", "state": "good", "in_use": true, "head": 120,
            "limit_per_second": 19.5, "requests": 500, "errors": {"timed_out": 2, "refused": 1},
        });
        let all = "https://node.example:443/…: good, in use, block 120, 19.5 questions/s at most, \
                   3 errors in 500 questions";
        assert_eq!(provider(&one), all);
        one["in_use"] = false.into();
        one["head"] = Value::Null;
        one["limit_per_second"] = Value::Null;
        assert_eq!(provider(&one), "https://node.example:443/…: good, 3 errors in 500 questions");
    }
}
