//! Who may do what: the HTTP interface with authentication.

#[path = "access/audit.rs"]
mod audit;
#[path = "access/command_line.rs"]
mod command_line;
#[path = "access/configured.rs"]
mod configured;
#[path = "access/declared.rs"]
mod declared;
#[path = "access/grafana.rs"]
mod grafana;
#[path = "access/headers.rs"]
mod headers;
#[path = "access/issuer.rs"]
mod issuer;
#[path = "access/kit.rs"]
mod kit;
#[path = "access/limits.rs"]
mod limits;
#[path = "access/people.rs"]
mod people;
#[path = "access/revisions.rs"]
mod revisions;
#[path = "access/roles.rs"]
mod roles;
#[path = "access/sessions.rs"]
mod sessions;
#[path = "access/signed.rs"]
mod signed;
#[path = "access/streams.rs"]
mod streams;
#[path = "access/tls.rs"]
mod tls;
#[path = "access/tokens.rs"]
mod tokens;
