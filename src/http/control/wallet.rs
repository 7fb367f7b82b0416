//! What the operator's orders about transactions do: the wallet does it, this only carries the words.

use actix_web::web::{self, Data, ServiceConfig};
use scatter_actors::domain::units::Wei;
use scatter_actors::line::Unheard;
use scatter_actors::records::intent::IntentKey;
use scatter_actors::wallet_signer::{BumpIntent, CancelIntent, Refusal, Wallet};
use serde::Deserialize;
use serde_json::{json, Value};

use super::desk::Desk;
use super::{ask, Order};
use crate::exit::{Code, Fault};
use crate::http::Door;

/// What the operator wants of the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// How it is doing.
    Show,
    /// What an intent wants should not happen any more.
    Cancel(IntentKey),
    /// An intent's newest transaction, or the one of that number, should be replaced by a dearer one now.
    Bump(IntentKey, Option<u32>),
}

/// Which attempt is too cheap.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    attempt: Option<u32>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    let key = |key: web::Path<String>| IntentKey(key.into_inner());
    config
        .route("/wallet", web::get().to(|door| wish(door, Wish::Show)))
        .route(
            "/api/v1/wallet/intents/{key}/cancel",
            web::post().to(move |door, path| wish(door, Wish::Cancel(key(path)))),
        )
        .route(
            "/api/v1/wallet/intents/{key}/bump",
            web::post().to(move |door, path, which: web::Query<Which>| {
                wish(door, Wish::Bump(key(path), which.attempt))
            }),
        );
}

async fn wish(door: Data<Door<Order>>, wish: Wish) -> actix_web::HttpResponse {
    ask(door, Order::Wallet(wish)).await
}

impl Desk {
    pub(super) async fn wallet(&self, wish: Wish) -> Result<Value, Fault> {
        self.account()?;
        match wish {
            Wish::Show => self.show_wallet().await,
            Wish::Cancel(key) => {
                let answer = self.outbox.cancel.ask(CancelIntent { key: key.clone() }).await;
                told(&key, answer.map_err(unheard)?)
            }
            Wish::Bump(key, attempt) => {
                let answer = self.outbox.bump.ask(BumpIntent { key: key.clone(), attempt }).await;
                told(&key, answer.map_err(unheard)?)
            }
        }
    }
}

impl Desk {
    /// How the wallet is doing. What it has is asked for anew; without an answer it is what the wallet last saw.
    async fn show_wallet(&self) -> Result<Value, Fault> {
        let (me, chain) = (self.account()?, self.chain()?);
        let mut status = self.outbox.wallet.ask(Wallet).await.map_err(unheard)?;
        if let Ok(balance) = chain.balance(me).await {
            status.balance = Some(balance);
        }
        let mut credit = Wei::ZERO;
        for market in self.markets(&self.status()?)? {
            match chain.credit(market.address, me).await {
                Ok(owed) => credit = credit.plus(owed),
                Err(_) => return Ok(json!(status)),
            }
        }
        status.credit = Some(credit);
        Ok(json!(status))
    }
}

fn told(key: &IntentKey, answer: Result<impl serde::Serialize, Refusal>) -> Result<Value, Fault> {
    let answer = answer.map_err(|refusal| {
        let code = match &refusal {
            Refusal::Unknown { .. } => Code::NotFound,
            Refusal::Store { .. } => Code::DataDir,
            Refusal::Queued { .. }
            | Refusal::Mined { .. }
            | Refusal::Over { .. }
            | Refusal::AtCeiling { .. } => Code::Refused,
        };
        Fault::new(code, refusal)
    })?;
    let mut document = json!(answer);
    document["intent"] = json!(key);
    Ok(document)
}

fn unheard(error: Unheard) -> Fault {
    Fault::new(Code::Unreachable, error)
}

#[cfg(test)]
mod tests;
