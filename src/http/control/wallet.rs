//! What the operator wants of the wallet.

use scatter_actors::wallet_signer::Wallet;
use serde_json::{json, Value};

use super::desk::Desk;
use crate::exit::{Code, Fault};

impl Desk {
    /// How the wallet is doing. What it has is asked for anew; without an answer it is what the wallet last saw.
    pub(super) async fn wallet(&self) -> Result<Value, Fault> {
        let (me, chain) = (self.account()?, self.chain()?);
        let status = self.outbox.wallet.ask(Wallet).await;
        let mut status =
            status.map_err(|_| Fault::new(Code::Unreachable, "the wallet is being started anew"))?;
        if let Ok(balance) = chain.balance(me).await {
            status.balance = Some(balance);
        }
        if let Ok(credit) = chain.credit(me).await {
            status.credit = Some(credit);
        }
        Ok(json!(status))
    }
}
