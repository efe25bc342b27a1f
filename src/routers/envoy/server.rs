//! The gRPC service: one task a stream sends the newest layer and hears what became of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::runtime::v3::runtime_discovery_service_server::{
    RuntimeDiscoveryService, RuntimeDiscoveryServiceServer,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use super::shared::Shared;
use super::snapshot::{Snapshot, type_url};
use super::wire::{Delta, Form, Said, Whole};

/// A stream that does not say who it is within this time is closed.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// A connection that does not answer a ping, sent this often, within the same time is dead.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// A proxy may be so many responses behind; older answers of it are then not understood.
const UNANSWERED: usize = 64;
/// No more streams than this.
const STREAMS: usize = 10_000;
/// Longer node ids are refused.
const NODE_ID: usize = 256;

/// Serves until `ended`.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, ended: CancellationToken) {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = RuntimeDiscoveryServiceServer::new(Service { shared, ended: ended.clone() });
    let served = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, ended.cancelled_owned())
        .await;
    if let Err(error) = served {
        warn!(%error, "the RTDS server has ended");
    }
}

struct Service {
    shared: Arc<Shared>,
    ended: CancellationToken,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl RuntimeDiscoveryService for Service {
    type StreamRuntimeStream = Answers<DiscoveryResponse>;
    type DeltaRuntimeStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_runtime(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamRuntimeStream>, Status> {
        self.open::<Whole>(request)
    }

    async fn delta_runtime(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaRuntimeStream>, Status> {
        self.open::<Delta>(request)
    }

    async fn fetch_runtime(
        &self,
        _request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("weights are only streamed: use api_type GRPC or DELTA_GRPC"))
    }
}

impl Service {
    fn open<F: Form>(
        &self,
        request: Request<Streaming<F::Request>>,
    ) -> Result<Response<Answers<F::Response>>, Status> {
        let Some(held) = self.shared.streams_held() else {
            return Err(Status::unavailable("the store is not there, so no weights are served now"));
        };
        let (answers, receiver) = mpsc::channel(1);
        let peer = request.remote_addr();
        let requests = request.into_inner();
        let (shared, ended) = (Arc::clone(&self.shared), self.ended.clone());
        tokio::spawn(async move {
            let mut conversation = Conversation::<F>::new(shared, answers.clone());
            let talk = conversation.run(requests);
            let outcome = tokio::select! {
                biased;
                () = held.cancelled() => Err(Status::unavailable("the store is lost")),
                () = ended.cancelled() => Err(Status::unavailable("Serin ends")),
                outcome = talk => outcome,
            };
            // The stream counts as closed before its end is told.
            drop(conversation);
            if let Err(status) = outcome {
                debug!(?peer, %status, "an RTDS stream ends");
                // If the proxy takes nothing any more, it need not be told.
                let _ = answers.try_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// One stream.
struct Conversation<F: Form> {
    shared: Arc<Shared>,
    answers: mpsc::Sender<Result<F::Response, Status>>,
    layers: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Set by the first message.
    node: Option<String>,
    /// Whether the layer is asked for; `None` before the first message.
    wants: Option<bool>,
    /// Set while the layer is asked for; the stream counts as an open one of its node.
    stream: Option<OpenStream>,
    /// Something must be sent as soon as there is a layer and room.
    due: bool,
    sent: u64,
    unanswered: VecDeque<(String, Arc<Snapshot>)>,
    last: Option<Arc<Snapshot>>,
}

/// An open stream in the register of nodes; closed there when dropped.
struct OpenStream {
    shared: Arc<Shared>,
    node: String,
    number: u64,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.shared.closed(&self.node, self.number);
    }
}

impl<F: Form> Conversation<F> {
    fn new(shared: Arc<Shared>, answers: mpsc::Sender<Result<F::Response, Status>>) -> Self {
        Conversation {
            layers: shared.layers(),
            shared,
            answers,
            node: None,
            wants: None,
            stream: None,
            due: false,
            sent: 0,
            unanswered: VecDeque::new(),
            last: None,
        }
    }

    async fn run(&mut self, mut requests: Streaming<F::Request>) -> Result<(), Status> {
        let first = tokio::time::timeout(FIRST_MESSAGE, requests.message()).await;
        match first.map_err(|_| Status::deadline_exceeded("no first message came in time"))?? {
            Some(request) => self.hear(F::read(self.shared.layer_name(), request))?,
            None => return Ok(()),
        }
        let answers = self.answers.clone();
        loop {
            let ready = self.due && self.may_answer();
            tokio::select! {
                request = requests.message() => match request? {
                    Some(request) => self.hear(F::read(self.shared.layer_name(), request))?,
                    None => return Ok(()),
                },
                changed = self.layers.changed() => {
                    changed.map_err(|_| Status::unavailable("Serin ends"))?;
                    self.due |= self.is_news();
                }
                permit = answers.reserve(), if ready => {
                    let permit = permit.map_err(|_| Status::cancelled("the proxy has gone"))?;
                    if let Some(response) = self.next_response() {
                        permit.send(Ok(response));
                    }
                }
            }
        }
    }

    /// There is a layer, and it may be sent on this stream.
    fn may_answer(&self) -> bool {
        let layer = self.layers.borrow().clone();
        layer.zip(self.stream.as_ref()).is_some_and(|(layer, stream)| {
            self.sent > 0 || self.shared.may_answer(&stream.node, stream.number, &layer)
        })
    }

    /// The newest layer was not sent on this stream, or was refused.
    fn is_news(&self) -> bool {
        let newest = self.layers.borrow();
        let sent = |last: &Arc<Snapshot>| newest.as_ref().is_some_and(|new| new.version == last.version);
        !self.last.as_ref().is_some_and(sent)
    }

    /// Always the newest layer: what came in between is not worth sending.
    fn next_response(&mut self) -> Option<F::Response> {
        let snapshot = self.layers.borrow_and_update().clone()?;
        let stream = self.stream.as_ref()?;
        self.due = false;
        self.sent += 1;
        let nonce = format!("{}-{}", stream.number, self.sent);
        if self.unanswered.len() == UNANSWERED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((nonce.clone(), Arc::clone(&snapshot)));
        let response = F::write(self.shared.layer_name(), &snapshot, nonce);
        self.last = Some(snapshot);
        Some(response)
    }

    fn hear(&mut self, said: Said) -> Result<(), Status> {
        if !said.type_url.is_empty() && said.type_url != type_url() {
            return Err(Status::invalid_argument(format!(
                "only {} is served here, not {}",
                type_url(),
                said.type_url
            )));
        }
        self.meet(&said)?;
        self.settle(&said);
        Ok(())
    }

    /// Who it is and what it asks for.
    fn meet(&mut self, said: &Said) -> Result<(), Status> {
        if self.node.is_none() {
            let id = said.node_id.clone().ok_or_else(|| {
                Status::invalid_argument("the proxy's bootstrap needs a `node.id`, by which it is counted")
            })?;
            if id.len() > NODE_ID {
                return Err(Status::invalid_argument(format!("node.id is longer than {NODE_ID} bytes")));
            }
            self.node = Some(id);
        }
        let Some(node) = self.node.as_deref() else { return Ok(()) };
        let layer = self.shared.layer_name();
        let wants = said.names.wants(layer, self.wants);
        if self.wants.is_none() && !wants {
            warn!(node, asked = ?said.names.list(), layer, "a proxy asks for another runtime layer");
        }
        self.wants = Some(wants);
        if !wants {
            self.stream = None;
        } else if self.stream.is_none() {
            let number = self
                .shared
                .opened(node, &said.version, STREAMS)
                .ok_or_else(|| Status::resource_exhausted(format!("{STREAMS} streams are open already")))?;
            let (shared, node) = (Arc::clone(&self.shared), node.to_owned());
            self.stream = Some(OpenStream { shared, node, number });
            self.due = true;
        }
        Ok(())
    }

    /// What became of what was sent.
    fn settle(&mut self, said: &Said) {
        let Some(stream) = &self.stream else { return };
        let Some(at) = self.unanswered.iter().position(|(nonce, _)| *nonce == said.nonce) else { return };
        let Some((_, snapshot)) = self.unanswered.drain(..=at).next_back() else { return };
        match &said.refused {
            None => {
                debug!(node = stream.node, version = snapshot.version, "a proxy accepted the weights");
                self.shared.acked(&stream.node, stream.number, &snapshot);
            }
            Some(why) => {
                info!(node = stream.node, version = snapshot.version, why, "a proxy refused the weights");
                self.shared.nacked(&stream.node, stream.number, &snapshot, why.clone());
                // So that the same layer counts as news when it is published again.
                if self.last.as_ref().is_some_and(|last| last.version == snapshot.version) {
                    self.last = None;
                }
            }
        }
    }
}
