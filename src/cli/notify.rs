//! `serin notify`: one test message to one channel.

use serde_json::json;

use super::{Exit, Output, complain, print, print_json, text};
use crate::core::notice::Notice;
use crate::ports::Notifier;

/// Sends the test messages of a channel in order, and says what came back.
pub async fn notify_test(channel: &str, notifier: &dyn Notifier, notices: &[Notice], output: Output) -> Exit {
    for notice in notices {
        let Err(error) = notifier.deliver(notice).await else { continue };
        let exit = if error.retry { Exit::Unreachable } else { Exit::No };
        match output {
            Output::Text => {
                let detail = text::clean(&error.detail);
                let what = if error.retry { "not delivered" } else { "refused" };
                complain(&format!("{channel}: {what}: {detail}"));
                if let Some(after) = error.after {
                    complain(&format!("{channel}: not again before {} s", after.as_secs()));
                }
            }
            Output::Json => print_json(
                &json!({
                    "channel": channel, "delivered": false, "retry": error.retry, "detail": error.detail,
                    "retry_after_seconds": error.after.map(|after| after.as_secs()),
                }),
                false,
            ),
        }
        return exit;
    }
    match output {
        Output::Text => print(&format!("{}: delivered\n", text::clean(channel))),
        Output::Json => {
            print_json(&json!({"channel": channel, "delivered": true, "messages": notices.len()}), false);
        }
    }
    Exit::Done
}
