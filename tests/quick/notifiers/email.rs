//! Mail at a server that answers as it is told.

use std::time::Duration;

use serin::core::notice::NoticeKind;
use serin::notifiers::NotifierConfig;
use serin::notifiers::email::{EmailConfig, MailTls};

use super::{SHORT, channel, channel_with};
use crate::testkit::channels::{DEADLINE, full_notice};
use crate::testkit::fakes::MemoryStore;
use crate::testkit::process::free_port;
use crate::testkit::receivers::smtp::{Answer, Smtp};

fn config(port: u16, deadline: Duration) -> NotifierConfig {
    NotifierConfig::Email(EmailConfig {
        host: "127.0.0.1".to_owned(),
        port,
        tls: MailTls::None,
        ca_file: None,
        login: None,
        from: "Serin <serin@example.com>".parse().unwrap(),
        to: vec!["releases@example.com".parse().unwrap()],
        deadline,
    })
}

/// The value of a header, unfolded.
fn header(mail: &str, name: &str) -> Option<String> {
    let head = mail.split("\n\n").next()?.replace("\n ", " ");
    head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
}

#[tokio::test]
async fn mails_of_a_rollout_refer_to_its_first_one() {
    let (at, memory) = (Smtp::start().await, MemoryStore::new());
    let config = config(at.port, DEADLINE);
    channel_with(&config, &memory).deliver(&full_notice(1, NoticeKind::Started)).await.unwrap();
    let channel = channel_with(&config, &memory);
    let step = full_notice(2, NoticeKind::Step);
    channel.deliver(&step).await.unwrap();
    channel.deliver(&step).await.unwrap();
    let mails = at.mails();
    let ids: Vec<String> = mails.iter().map(|mail| header(mail, "Message-ID").expect("an id")).collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[1], ids[2], "the same notice is the same mail");
    assert!(ids[0].ends_with("@example.com>"), "{ids:?}");
    assert_eq!(header(&mails[0], "In-Reply-To"), None);
    assert_eq!(header(&mails[1], "In-Reply-To"), Some(ids[0].clone()));
    assert_eq!(header(&mails[1], "References"), Some(ids[0].clone()));
    assert!(mails[0].contains("text/plain") && mails[0].contains("text/html"));
    let html = mails[0].split_once("text/html").expect("a part for browsers").1;
    assert!(!html.contains("<b>rose"), "{html}");
}

#[tokio::test]
async fn what_the_server_refuses_for_good_is_not_sent_again() {
    let at = Smtp::start().await;
    let notice = full_notice(1, NoticeKind::Started);
    for (answer, retry) in [
        (Answer::Line("450 mailbox busy"), true),
        (Answer::Line("421 closing"), true),
        (Answer::Line("550 no such user"), false),
        (Answer::Line("gibberish"), true),
        (Answer::Reset, true),
    ] {
        at.answers.lock().unwrap().push_back(answer.clone());
        let error = channel(&config(at.port, DEADLINE)).deliver(&notice).await.expect_err("refused");
        assert_eq!(error.retry, retry, "{answer:?}: {error}");
    }
    at.answers.lock().unwrap().push_back(Answer::Silence);
    let error = channel(&config(at.port, SHORT)).deliver(&notice).await.expect_err("silence");
    assert!(error.retry, "{error}");
    let nobody = channel(&config(free_port(), DEADLINE)).deliver(&notice).await.expect_err("nobody");
    assert!(nobody.retry, "{nobody}");
    assert_eq!(at.mails().len(), 0);
}

#[tokio::test]
async fn one_refused_address_refuses_the_mail_for_nobody_else() {
    let (at, memory) = (Smtp::start().await, MemoryStore::new());
    let NotifierConfig::Email(mut config) = config(at.port, DEADLINE) else { panic!("mail") };
    config.to = ["a@example.com", "gone@example.com", "b@example.com"].map(|to| to.parse().unwrap()).into();
    let config = NotifierConfig::Email(config);
    let answer = |lines: &[&'static str]| {
        at.answers.lock().unwrap().extend(lines.iter().map(|line| Answer::Line(line)));
    };
    // Together; then each alone, and the last one shall come again.
    answer(&["250 OK", "550 no such user", "250 OK", "550 no such user", "450 later"]);
    let notice = full_notice(1, NoticeKind::Started);
    let channel = channel_with(&config, &memory);
    assert!(channel.deliver(&notice).await.expect_err("not to all").retry);
    assert_eq!(at.mails().len(), 1);
    answer(&["550 no such user", "250 OK"]);
    channel.deliver(&notice).await.expect("everybody who is taken has it");
    assert_eq!(at.mails().len(), 2, "nobody has it twice");
    assert!(at.answers.lock().unwrap().is_empty());
    answer(&["250 OK", "550 no such user", "250 OK"]);
    channel.deliver(&full_notice(2, NoticeKind::Step)).await.unwrap();
    let told = at.mails().pop().unwrap().replace("=\n", "");
    assert!(told.contains("refuses gone@example.com"), "{told}");
}
