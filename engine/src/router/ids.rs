//! Ids fetched ahead, so that a row's key does not cost a call.

use std::sync::Arc;

use futures::future::FutureExt as _;
use parking_lot::Mutex;

use super::table::Fetch;
use crate::rpc::{Coord, Error};

/// Ids fetched at once. An id is also a hybrid time: so many are a quarter of a second of it.
pub const AHEAD: u32 = 1 << 26;

/// The range in hand.
#[derive(Debug, Default)]
struct Stock {
    next: i64,
    left: u32,
    /// Ranges fetched or asked for.
    fetches: u64,
    coming: Option<Fetch<i64>>,
}

/// Hands out ids from ranges.
#[derive(Debug, Default)]
pub struct Ids(Mutex<Stock>);

impl Ids {
    /// The first of `count` ids that were never handed out before.
    ///
    /// # Errors
    /// If a range was needed and could not be had. Cancel safe; ids may be lost.
    pub async fn take(&self, coord: &Arc<dyn Coord>, count: u32) -> Result<i64, Error> {
        if count > AHEAD {
            return coord.allocate_ids(count).await;
        }
        loop {
            let (number, fetch) = {
                let mut stock = self.0.lock();
                if stock.left >= count {
                    let first = stock.next;
                    stock.next += i64::from(count);
                    stock.left -= count;
                    return Ok(first);
                }
                let fetch = match &stock.coming {
                    Some(fetch) => fetch.clone(),
                    None => {
                        let coord = Arc::clone(coord);
                        stock.fetches += 1;
                        async move { coord.allocate_ids(AHEAD).await.map(Arc::new) }.boxed().shared()
                    }
                };
                stock.coming = Some(fetch.clone());
                (stock.fetches, fetch)
            };
            let first = fetch.await;
            let mut stock = self.0.lock();
            // The first of those who waited puts the range into stock.
            if stock.fetches == number
                && stock.coming.take().is_some()
                && let Ok(first) = &first
            {
                stock.next = **first;
                stock.left = AHEAD;
            }
            drop(stock);
            first?;
        }
    }
}
