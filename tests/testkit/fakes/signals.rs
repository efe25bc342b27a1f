//! Declarations, freezes and alerts, in memory.

use async_trait::async_trait;
use serin::core::alert::{Alert, AlertRecord};
use serin::core::declaration::{DeclarationKind, StoredDeclaration};
use serin::core::freeze::Freeze;
use serin::ports::{Declarations, Signals, StoreError};

use super::MemoryStore;

#[async_trait]
impl Declarations for MemoryStore {
    async fn put_declaration(&self, declaration: &StoredDeclaration) -> Result<(), StoreError> {
        self.write(|data| {
            let key = (declaration.kind, declaration.name.clone());
            data.declarations.insert(key, declaration.clone());
            Ok(())
        })
        .await
    }

    async fn delete_declaration(&self, kind: DeclarationKind, name: &str) -> Result<(), StoreError> {
        self.write(|data| {
            let gone = data.declarations.remove(&(kind, name.to_owned()));
            gone.map(|_| ()).ok_or_else(|| StoreError::NotFound(format!("the declaration of {name}")))
        })
        .await
    }

    async fn declarations(&self) -> Result<Vec<StoredDeclaration>, StoreError> {
        self.read(|data| Ok(data.declarations.values().cloned().collect())).await
    }
}

#[async_trait]
impl Signals for MemoryStore {
    async fn receive_alerts(&self, target: &str, alerts: &[Alert]) -> Result<(), StoreError> {
        self.write(|data| {
            for alert in alerts {
                data.receive_alert(target, alert);
            }
            Ok(())
        })
        .await
    }

    async fn alerts(&self, target: &str) -> Result<Vec<AlertRecord>, StoreError> {
        self.read(|data| Ok(data.alerts_of(target))).await
    }

    async fn put_freeze(&self, freeze: &Freeze) -> Result<(), StoreError> {
        self.write(|data| {
            data.freezes.insert(freeze.id.clone(), freeze.clone());
            for target in data.targets.keys().cloned().collect::<Vec<_>>() {
                data.tell(&target);
            }
            Ok(())
        })
        .await
    }

    async fn freezes(&self, open: bool, limit: usize) -> Result<Vec<Freeze>, StoreError> {
        self.read(|data| {
            let mut found: Vec<Freeze> =
                data.freezes.values().filter(|freeze| !open || freeze.ended.is_none()).cloned().collect();
            found.sort_by_key(|freeze| std::cmp::Reverse(freeze.from));
            found.truncate(limit);
            Ok(found)
        })
        .await
    }
}
