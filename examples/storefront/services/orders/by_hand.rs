//! An order without a saga, as a first version would have it: one call after the other. What has been done when one of them
//! fails stays done.

use super::participants::{Order, Participants, Receipt};
use mainstay::saga::StepError;

pub(super) async fn order(shop: &Participants, order: &Order) -> Result<Receipt, StepError> {
    let user = shop.find_user(order).await?;
    let reservation = shop.reserve(order, &format!("{}-reserve", order.key)).await?;
    let receipt = shop.charge(order, &format!("{}-charge", order.key)).await?;
    let created = shop.create_order(order, &format!("{}-create", order.key)).await?;
    shop.confirm_stock(order, &format!("{}-confirm", order.key), &reservation).await?;
    shop.confirm_order(order, &created).await?;
    shop.notify(order, &format!("{}-notify", order.key), &user).await?;
    Ok(receipt)
}
