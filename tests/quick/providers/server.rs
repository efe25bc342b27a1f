//! A server of raw HTTP answers, and a small database that answers range selectors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use regex::Regex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// What came in.
#[derive(Clone, Debug)]
pub struct Call {
    pub head: String,
    pub form: BTreeMap<String, String>,
}

/// What goes out.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status and body.
    Whole(u16, String),
    /// These bytes, then the connection is closed.
    Raw(String),
    /// These bytes, then nothing for ever.
    Hang(String),
    /// That, when so many calls are there.
    After(Arc<Barrier>, Box<Reply>),
}

pub fn json(value: &Value) -> Reply {
    Reply::Whole(200, value.to_string())
}

pub fn success(result_type: &str, result: Value) -> Reply {
    json(&json!({"status": "success", "data": {"resultType": result_type, "result": result}}))
}

/// Ends with the test.
pub struct Server {
    pub url: String,
    under_way: Arc<UnderWay>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct UnderWay {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Server {
    pub async fn start(handler: impl Fn(Call) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let handler = Arc::new(handler);
        let under_way = Arc::new(UnderWay::default());
        let counter = under_way.clone();
        let task = tokio::spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, counter) = (handler.clone(), counter.clone());
                calls.spawn(async move {
                    let _ = answer(stream, &*handler, &counter).await;
                });
            }
        });
        Server { url, under_way, task }
    }

    /// The most calls that had come in and were not answered yet, at any time.
    pub fn most_under_way(&self) -> usize {
        self.under_way.most.load(Ordering::SeqCst)
    }

    pub async fn always(reply: Reply) -> Server {
        Server::start(move |_| reply.clone()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    mut stream: TcpStream,
    handler: &impl Fn(Call) -> Reply,
    counter: &UnderWay,
) -> std::io::Result<()> {
    let mut text = Vec::new();
    let end = loop {
        if let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut text).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
    let length = Regex::new(r"content-length: (\d+)").unwrap().captures(&head);
    let length: usize = length.map_or(0, |found| found[1].parse().unwrap());
    while text.len() < end + length {
        stream.read_buf(&mut text).await?;
    }
    let form = url::form_urlencoded::parse(&text[end..]).into_owned().collect();
    let head = String::from_utf8_lossy(&text[..end]).into_owned();
    counter.most.fetch_max(counter.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    let mut reply = handler(Call { head, form });
    if let Reply::After(barrier, then) = reply {
        barrier.wait().await;
        reply = *then;
    }
    counter.now.fetch_sub(1, Ordering::SeqCst);
    match reply {
        Reply::Whole(status, body) => {
            let head = format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Location: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body.as_bytes()).await
        }
        Reply::Raw(text) => stream.write_all(text.as_bytes()).await,
        Reply::Hang(text) => {
            stream.write_all(text.as_bytes()).await?;
            std::future::pending().await
        }
        Reply::After(..) => unreachable!("one of them is enough"),
    }
}

/// Series of a database that answers selectors, by name and labels, with milliseconds and values.
#[derive(Clone, Default)]
pub struct Database {
    series: Arc<Mutex<BTreeMap<Labels, Samples>>>,
    /// What it was asked.
    pub queries: Arc<Mutex<Vec<String>>>,
}

type Labels = BTreeMap<String, String>;
type Samples = Vec<(i64, f64)>;

impl Database {
    /// A sample of a series written as `name version=new,instance=a`.
    pub fn add(&self, series: &str, at: i64, value: f64) {
        let (name, labels) = series.split_once(' ').unwrap_or((series, ""));
        let mut all: Labels = labels
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .collect();
        all.insert("__name__".to_owned(), name.to_owned());
        self.series.lock().unwrap().entry(all).or_default().push((at, value));
    }

    pub async fn serve(&self) -> Server {
        let database = self.clone();
        Server::start(move |call| database.answer(&call)).await
    }

    fn answer(&self, call: &Call) -> Reply {
        let at = (call.form["time"].parse::<f64>().unwrap() * 1000.0).round() as i64;
        self.queries.lock().unwrap().push(call.form["query"].clone());
        let query = Regex::new(r"^\{(.*)\}(?:\[(\d+)ms\])?$").unwrap();
        let parts = query.captures(&call.form["query"]).expect("a selector");
        let range: Option<i64> = parts.get(2).map(|range| range.as_str().parse().unwrap());
        let matcher = Regex::new(r#"(\w+)(=~?)"([^"]*)""#).unwrap();
        let fits = |labels: &Labels| {
            matcher.captures_iter(&parts[1]).all(|one| {
                let found = labels.get(&one[1]).map_or("", String::as_str);
                let value = one[3].replace(r"\\", r"\");
                if &one[2] == "=" {
                    found == value
                } else {
                    Regex::new(&format!("^({value})$")).unwrap().is_match(found)
                }
            })
        };
        let series = self.series.lock().unwrap();
        let found = series.iter().filter(|(labels, _)| fits(labels));
        let Some(range) = range else {
            let now = |samples: &Samples| samples.iter().rfind(|(time, _)| *time <= at).copied();
            let result = found.filter_map(|(labels, samples)| {
                let (_, value) = now(samples)?;
                Some(json!({"metric": labels, "value": [at as f64 / 1000.0, value.to_string()]}))
            });
            return success("vector", Value::Array(result.collect()));
        };
        let result = found.filter_map(|(labels, samples)| {
            let values: Vec<Value> = samples
                .iter()
                .filter(|(time, _)| at - range <= *time && *time <= at)
                .map(|(time, value)| json!([*time as f64 / 1000.0, value.to_string()]))
                .collect();
            (!values.is_empty()).then(|| json!({"metric": labels, "values": values}))
        });
        success("matrix", Value::Array(result.collect()))
    }
}
