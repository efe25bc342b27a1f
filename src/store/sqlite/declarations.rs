//! What the API has declared.

use sqlx::{Row, SqliteConnection};

use super::codec::{decode, encode};
use super::error::taken;
use crate::core::declaration::{DeclarationKind, StoredDeclaration};
use crate::ports::StoreError;

/// Stores a declaration; one of the same name is replaced.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    declaration: &StoredDeclaration,
) -> Result<(), StoreError> {
    let what = || format!("the declaration of {} {}", declaration.kind.name(), declaration.name);
    sqlx::query(
        "INSERT INTO declarations (kind, name, body) VALUES (?1, ?2, ?3) \
         ON CONFLICT (kind, name) DO UPDATE SET body = ?3",
    )
    .bind(declaration.kind.name())
    .bind(&declaration.name)
    .bind(encode(declaration, what)?)
    .execute(connection)
    .await
    .map_err(|error| taken(error, what))?;
    Ok(())
}

/// Removes a declaration.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    kind: DeclarationKind,
    name: &str,
) -> Result<(), StoreError> {
    let removed = sqlx::query("DELETE FROM declarations WHERE kind = ? AND name = ?")
        .bind(kind.name())
        .bind(name)
        .execute(connection)
        .await?;
    match removed.rows_affected() {
        0 => Err(StoreError::NotFound(format!("the declaration of {} {name}", kind.name()))),
        _ => Ok(()),
    }
}

/// All of them, by kind and name.
pub(super) async fn list(connection: &mut SqliteConnection) -> Result<Vec<StoredDeclaration>, StoreError> {
    let rows = sqlx::query("SELECT kind, name, body FROM declarations ORDER BY kind, name")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let (kind, name): (String, String) = (row.try_get("kind")?, row.try_get("name")?);
            decode(row.try_get("body")?, || format!("the declaration of {kind} {name}"))
        })
        .collect()
}
