//! What transactions pay at the moment.

use ethers::types::U256;
use scatter_actors::domain::units::Wei;
use scatter_actors::ports::chain::{Error, FeeMarket};
use serde_json::json;

use super::wire::{quantity_of, RawFeeHistory};
use super::Ethereum;
use crate::adapters::json_rpc::Request;

/// How many recent blocks are looked at.
const BLOCKS: u64 = 20;
const FEE_HISTORY: &str = "eth_feeHistory";

impl Ethereum {
    pub(super) async fn read_fees(&self) -> Result<FeeMarket, Error> {
        let params = json!([quantity_of(BLOCKS), "latest", [self.config.tip_percentile]]);
        let requests = [
            Request::new("eth_getBlockByNumber", json!(["latest", false])),
            Request::new(FEE_HISTORY, params),
        ];
        let [head, history] = self.rpc.ask(requests).await?;
        let head = self.read_header(&head?, None)?.ok_or_else(|| self.distrust("there is no head"))?;
        if head.base_fee.is_none() {
            let price = self.wei("eth_gasPrice", json!([])).await?;
            return Ok(FeeMarket { base_fee: None, tip: price.max(self.config.min_tip) });
        }
        let history: RawFeeHistory = self.read(FEE_HISTORY, &history?)?;
        // The last one is that of the block to come.
        let next =
            history.base_fee_per_gas.last().ok_or_else(|| self.distrust("a fee history without base fee"))?;
        let tips = history.reward.into_iter().flatten().filter_map(|block| block.first().map(|tip| tip.0));
        let tip = median_of_paid(tips).map_or(Wei::ZERO, Wei);
        Ok(FeeMarket { base_fee: Some(next.wei()), tip: tip.max(self.config.min_tip) })
    }
}

/// The median of what was paid. Empty blocks show zero, which says nothing about what gets in.
fn median_of_paid(tips: impl Iterator<Item = U256>) -> Option<U256> {
    let mut paid: Vec<_> = tips.filter(|tip| !tip.is_zero()).collect();
    paid.sort_unstable();
    paid.get(paid.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_blocks_do_not_pull_the_tip_down_and_one_rich_block_does_not_pull_it_up() {
        let median =
            |tips: &[u64]| median_of_paid(tips.iter().copied().map(U256::from)).map(|tip| tip.as_u64());
        assert_eq!(median(&[0, 0, 0, 5, 7, 9_000, 0]), Some(7));
        assert_eq!(median(&[0, 0]), None);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3]), Some(3));
    }
}
