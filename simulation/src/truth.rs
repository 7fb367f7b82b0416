//! What stands on the chain, read once a change of the chain.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use scatter_actors::domain::units::{Address, BlockHash};
use scatter_actors::testkit::chain::{FakeChain, Mined};
use scatter_actors::testkit::market::Market;

/// The chain as it is, whatever its provider says.
pub struct Truth {
    chain: Rc<FakeChain>,
    seen: RefCell<Option<Seen>>,
}

/// Markets by address.
pub type Markets = BTreeMap<Address, Market>;

/// What stands below a tip: the transactions, and the markets after them.
type Seen = (BlockHash, Rc<[Mined]>, Rc<Markets>);

impl Truth {
    /// The truth about a chain.
    pub fn of(chain: &Rc<FakeChain>) -> Self {
        Self { chain: Rc::clone(chain), seen: RefCell::default() }
    }

    /// The newest block. Its hash differs whenever anything below differs.
    pub fn tip(&self) -> BlockHash {
        self.chain.block(self.chain.height()).map(|block| block.hash).unwrap_or_default()
    }

    /// What is mined, in order.
    pub fn mined(&self) -> Rc<[Mined]> {
        self.look().0
    }

    /// The markets as they stand.
    pub fn markets(&self) -> Rc<Markets> {
        self.look().1
    }

    fn look(&self) -> (Rc<[Mined]>, Rc<Markets>) {
        let tip = self.tip();
        let mut seen = self.seen.borrow_mut();
        if seen.as_ref().is_none_or(|(of, ..)| *of != tip) {
            *seen = Some((tip, self.chain.mined().into(), Rc::new(self.chain.markets_now())));
        }
        let (_, mined, markets) = seen.as_ref().unwrap();
        (Rc::clone(mined), Rc::clone(markets))
    }
}
