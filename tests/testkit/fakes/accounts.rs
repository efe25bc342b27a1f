//! Tokens and the log of who did what, in memory.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use serin::core::access::{AuditRecord, TokenHash, TokenRecord};
use serin::core::time::Timestamp;
use serin::ports::{Accounts, StoreError};

use super::MemoryStore;

#[async_trait]
impl Accounts for MemoryStore {
    async fn create_token(&self, token: &TokenRecord) -> Result<(), StoreError> {
        self.write(|data| {
            let same = |other: &TokenRecord| {
                other.hash == token.hash || (other.name == token.name && other.revoked_at.is_none())
            };
            if data.tokens.iter().any(same) {
                return Err(StoreError::Conflict(format!("token {}", token.name)));
            }
            data.tokens.push(token.clone());
            Ok(())
        })
        .await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read(|data| {
            let mut tokens = data.tokens.clone();
            tokens.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(tokens)
        })
        .await
    }

    async fn token(&self, hash: &TokenHash) -> Result<TokenRecord, StoreError> {
        self.shared.asked_for_tokens.fetch_add(1, Ordering::SeqCst);
        self.read(|data| {
            let token = data.tokens.iter().find(|token| token.hash == *hash).cloned();
            token.ok_or_else(|| StoreError::NotFound("this token".to_owned()))
        })
        .await
    }

    async fn revoke_token(&self, name: &str, at: Timestamp) -> Result<TokenRecord, StoreError> {
        self.write(|data| {
            let token = data.tokens.iter_mut().find(|token| token.name == name && token.revoked_at.is_none());
            let token = token.ok_or_else(|| StoreError::NotFound(format!("token {name}")))?;
            token.revoked_at = Some(at);
            Ok(token.clone())
        })
        .await
    }

    async fn add_audit(&self, record: &AuditRecord) -> Result<(), StoreError> {
        self.write(|data| {
            let number = data.audit.last_key_value().map_or(1, |(number, _)| number + 1);
            data.audit.insert(number, record.clone());
            Ok(())
        })
        .await
    }

    async fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        self.read(|data| {
            let lines = data.audit.range(..before.unwrap_or(u64::MAX)).rev().take(limit);
            Ok(lines.map(|(number, record)| (*number, record.clone())).collect())
        })
        .await
    }
}
