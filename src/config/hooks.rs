//! The hooks of a policy: what is done when a rollout has come to a point.

use super::checks::{command, receiver};
use super::decode::{Field, Fields, all};
use crate::core::gate::{Hook, HookAction, HookPoint};

const MOST_HOOKS: usize = 20;

const POINTS: [(&str, HookPoint); 7] = [
    ("started", HookPoint::Started),
    ("step", HookPoint::Step),
    ("promoted", HookPoint::Promoted),
    ("succeeded", HookPoint::Succeeded),
    ("rolled_back", HookPoint::RolledBack),
    ("cancelled", HookPoint::Cancelled),
    ("failed", HookPoint::Failed),
];

/// Reads the hooks.
pub(super) fn hooks(field: &Field<'_>) -> Option<Vec<Hook>> {
    let items = field.list(MOST_HOOKS, "a list of hooks")?;
    let read = items.iter().map(hook).collect::<Vec<_>>();
    let names = read.iter().map(|hook| hook.as_ref().map(|hook| &*hook.name));
    let unique = super::readers::unique(&items, names);
    all(read).filter(|_| unique)
}

fn hook(field: &Field<'_>) -> Option<Hook> {
    let fields = field.fields("a hook such as `{name: tag, on: [succeeded], webhook: {url: …}}`")?;
    let name = fields.need("name", "a name by which people speak of it").and_then(|f| f.name());
    let on = fields.need("on", "a list of points such as `[succeeded, rolled_back]`").and_then(|f| on(&f));
    let action = action(&fields);
    fields.close();
    Some(Hook { name: name?, on: on?, action: action? })
}

fn on(field: &Field<'_>) -> Option<Vec<HookPoint>> {
    let items = field.list(POINTS.len(), "a list of points such as `[succeeded, rolled_back]`")?;
    if items.is_empty() {
        field.problem("the hook would never be done", "at least one point such as `succeeded`");
        return None;
    }
    let mut points = all(items.iter().map(|item| item.one_of(&POINTS)))?;
    points.sort_unstable();
    points.dedup();
    Some(points)
}

fn action(fields: &Fields<'_>) -> Option<HookAction> {
    const KINDS: &str = "exactly one of webhook, command";
    let webhook_field = fields.get("webhook");
    let command_field = fields.get("command");
    let called = webhook_field.as_ref().map(webhook);
    let run = command_field.as_ref().map(|field| command(field).map(HookAction::Command));
    match (called, run) {
        (Some(action), None) | (None, Some(action)) => action,
        (None, None) => {
            fields.field.problem("the hook does not say what it does", KINDS);
            None
        }
        (Some(_), Some(_)) => {
            command_field?.problem("there is `webhook` and `command`", format!("{KINDS}; a hook each"));
            None
        }
    }
}

/// `{url: …, body: '{"text": {{ sentence | tojson }}}'}`.
fn webhook(field: &Field<'_>) -> Option<HookAction> {
    let fields = field.fields("a mapping with `url` and more")?;
    let to = receiver(&fields);
    let body = fields.maybe("body", |f| {
        let text = f.text(20_000)?;
        f.told(crate::gates::check_template(&text).map_err(|why| {
            (format!("the template is wrong: {why}"), "a template over the notice's fields".to_owned())
        }))?;
        Some(text)
    });
    fields.close();
    let to = to?;
    Some(HookAction::Webhook {
        url: to.url,
        allow_private: to.allow_private,
        body: body?,
        headers: to.headers,
        secret: to.secret,
        timeout: to.timeout,
    })
}
