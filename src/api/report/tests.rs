use super::markdown::plain;
use super::*;

fn event(seq: u64, at: i64, kind: EventKind, sentence: &str) -> EventRecord {
    EventRecord { seq, at: Timestamp(at * 1000), kind, by: None, sentence: sentence.to_owned() }
}

#[test]
fn only_lines_that_enter_a_step_do() {
    assert_eq!(entered(&event(1, 0, EventKind::StepEntered, "Step 2 of 3: the canary gets 25%.")), Some(2));
    assert_eq!(entered(&event(1, 0, EventKind::Alert, "Step 2 of 3")), None);
    assert_eq!(entered(&event(1, 0, EventKind::StepEntered, "Step 0 of 3")), None);
    assert_eq!(entered(&event(1, 0, EventKind::StepEntered, "Something else")), None);
}

#[test]
fn text_from_outside_is_no_markup() {
    assert_eq!(plain("v1|<script>*x*\n# y"), "v1\\|&lt;script&gt;\\*x\\* \\# y");
    assert_eq!(html::safe("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
}
