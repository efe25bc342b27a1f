//! What was declared through the API.

use async_trait::async_trait;

use super::error::StoreError;
use crate::core::declaration::{DeclarationKind, StoredDeclaration};

/// Targets and policies that were declared through the API.
#[async_trait]
pub trait Declarations: Send + Sync {
    /// Stores what was declared through the API; one of the same kind and name is replaced.
    async fn put_declaration(&self, declaration: &StoredDeclaration) -> Result<(), StoreError>;
    /// Removes what was declared; `NotFound` if it is not there.
    async fn delete_declaration(&self, kind: DeclarationKind, name: &str) -> Result<(), StoreError>;
    /// Everything that was declared through the API, by kind and name.
    async fn declarations(&self) -> Result<Vec<StoredDeclaration>, StoreError>;
}
