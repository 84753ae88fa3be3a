//! Reads under way, by the orders that they began under.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::rpc::OrderNumber;

/// Counts reads, so that the coordinator leaves alone what they read by routes that have been replaced meanwhile.
#[derive(Debug, Default)]
pub struct UnderWay {
    state: Mutex<State>,
    /// Told when no read is left of orders that have been replaced.
    over: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The newest orders.
    orders: OrderNumber,
    /// How many reads began under which orders; oldest first, none with 0.
    reads: VecDeque<(OrderNumber, usize)>,
}

/// A read under way; it is over when this is dropped.
#[derive(Debug)]
pub struct Reading {
    under_way: Arc<UnderWay>,
    orders: OrderNumber,
}

impl UnderWay {
    /// A read begins.
    pub fn begin(self: &Arc<Self>) -> Reading {
        let mut state = self.state.lock();
        let orders = state.orders;
        match state.reads.back_mut() {
            Some((number, reads)) if *number == orders => *reads += 1,
            _ => state.reads.push_back((orders, 1)),
        }
        drop(state);
        Reading { under_way: Arc::clone(self), orders }
    }

    /// From now on reads begin under these orders.
    pub fn obey(&self, orders: OrderNumber) {
        self.state.lock().orders = orders;
    }

    /// The orders under which the oldest read began, if they have been replaced.
    pub fn oldest(&self) -> Option<OrderNumber> {
        let state = self.state.lock();
        state.reads.front().map(|(number, _)| *number).filter(|number| *number != state.orders)
    }

    /// Completes when no read is left of some orders that have been replaced. Cancel safe.
    pub async fn over(&self) {
        self.over.notified().await;
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.under_way.state.lock();
        let at = state.reads.iter().position(|(number, _)| *number == self.orders);
        if let Some((at, (_, reads))) = at.and_then(|at| Some((at, state.reads.get_mut(at)?))) {
            *reads -= 1;
            if *reads == 0 {
                state.reads.remove(at);
                if self.orders != state.orders {
                    self.under_way.over.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;

    use super::UnderWay;
    use crate::rpc::OrderNumber;

    #[test]
    fn the_oldest_read_is_told_until_it_is_over() {
        let under_way = Arc::new(UnderWay::default());
        let orders = |number| OrderNumber { epoch: 1, number };
        under_way.obey(orders(1));
        let (first, second) = (under_way.begin(), under_way.begin());
        assert_eq!(under_way.oldest(), None, "they go by the newest orders");

        under_way.obey(orders(2));
        let third = under_way.begin();
        under_way.obey(orders(3));
        assert_eq!(under_way.oldest(), Some(orders(1)));

        drop(first);
        assert_eq!(under_way.oldest(), Some(orders(1)));
        assert_eq!(under_way.over().now_or_never(), None);
        drop(second);
        assert_eq!(under_way.oldest(), Some(orders(2)));
        assert_eq!(under_way.over().now_or_never(), Some(()));
        drop(third);
        assert_eq!(under_way.oldest(), None);
    }
}
