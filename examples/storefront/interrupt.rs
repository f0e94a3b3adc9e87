//! Ctrl-C, once for the whole program.

use std::time::Duration;
use tokio::{signal, sync::watch, time::timeout};

/// Tells whether Ctrl-C was pressed.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    come: watch::Receiver<bool>,
}

impl Interrupt {
    /// Takes Ctrl-C over from now on. Where the system cannot report it, it ends the program as usual.
    pub(crate) async fn listen() -> Self {
        let mut pressed = Box::pin(signal::ctrl_c());
        // Polled once, which takes Ctrl-C over; before that it would end the program.
        let at_once = timeout(Duration::ZERO, &mut pressed).await;
        let (sender, come) = watch::channel(false);
        tokio::spawn(async move {
            let come = match at_once {
                Ok(come) => come,
                Err(_) => pressed.await,
            };
            if come.is_ok() {
                sender.send_replace(true);
            }
            // Stays alive, so that a receiver never takes its end for a signal.
            sender.closed().await;
        });
        Self { come }
    }

    pub(crate) fn has_come(&self) -> bool {
        *self.come.borrow()
    }

    /// Ends when Ctrl-C is pressed, or was.
    pub(crate) async fn come(&mut self) {
        if self.come.wait_for(|come| *come).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
