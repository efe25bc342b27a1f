//! Who may call, and who did what.

use async_trait::async_trait;

use super::error::StoreError;
use crate::core::access::{AuditRecord, TokenHash, TokenRecord};
use crate::core::time::Timestamp;

/// Tokens, and the log of who did what.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Stores a new token; `Conflict` if one of its name is there that is not revoked.
    async fn create_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
    /// All tokens by name, revoked ones too, the newest of a name last.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// The token of that hash, revoked or not.
    async fn token(&self, hash: &TokenHash) -> Result<TokenRecord, StoreError>;
    /// Revokes the token of that name; `NotFound` if there is none that is not revoked.
    async fn revoke_token(&self, name: &str, at: Timestamp) -> Result<TokenRecord, StoreError>;
    /// Adds a line to the audit log.
    async fn add_audit(&self, record: &AuditRecord) -> Result<(), StoreError>;
    /// Lines of the audit log with numbers below `before`, newest first, at most `limit`.
    async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError>;
}
