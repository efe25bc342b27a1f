//! The contract of the store, over every implementation.

mod cases;
mod old;
mod samples;
mod size;
mod sqlite;

use std::sync::Arc;

use serin::store::SqliteStore;

use crate::testkit::fakes::MemoryStore;

/// Every case of the contract, once over each implementation.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod over_sqlite {
            $(#[tokio::test]
            async fn $case() {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let store = super::SqliteStore::open(&folder.path().join("serin.db")).await.expect("a store");
                super::cases::$case(super::Arc::new(store.clone())).await;
                store.close().await;
            })*
        }
        mod over_memory {
            $(#[tokio::test]
            async fn $case() {
                super::cases::$case(super::Arc::new(super::MemoryStore::new())).await;
            })*
        }
    };
}

contract!(
    owning_makes_targets_and_raises_the_epoch,
    targets_come_by_name_and_unknown_ones_are_not_found,
    a_rollout_takes_a_free_target,
    a_second_rollout_is_refused_and_named,
    a_superseding_rollout_waits_and_tells_all_older_ones,
    an_idempotency_key_gives_the_first_rollout,
    a_rollout_without_its_target_or_with_a_known_id_is_refused,
    rollouts_are_filtered_newest_first,
    a_commit_stores_everything_exactly,
    a_commit_is_conditional_on_the_revisions,
    a_former_owner_cannot_commit,
    of_two_commits_at_once_one_wins,
    a_refused_commit_leaves_nothing_behind,
    a_command_from_memory_comes_in_with_its_commit,
    what_belongs_to_a_rollout_needs_it,
    one_rollout_occupies_a_target,
    a_load_has_the_newest_snapshot_and_what_follows,
    events_and_observations_come_in_pages,
    log_lines_of_all_rollouts_come_in_the_order_of_their_commits,
    a_position_is_never_used_again,
    rollouts_are_filtered_by_policy_and_time,
    commands_are_stored_once_and_come_in_order,
    a_command_is_marked_once,
    alerts_are_remembered_by_target_and_bounded,
    a_notice_is_put_in_once_per_channel,
    the_oldest_notice_of_a_channel_blocks_the_later_ones,
    a_settled_delivery_stays_settled,
    what_waits_for_its_time_is_a_queue_of_its_own,
    a_group_is_delivered_as_one,
    a_dead_notice_is_listed_and_put_on_its_way_again,
    what_was_begun_is_not_begun_twice,
    retention_removes_what_is_old_and_ended,
    retention_never_touches_what_is_active_or_held,
    retention_keeps_rollouts_with_undelivered_notices,
    retention_is_bounded,
    names_like_statements_are_data,
    ping_says_that_it_can_be_written_to,
    a_token_is_found_by_its_hash_and_revoked_once,
    of_tokens_in_use_no_two_have_a_name,
    the_audit_log_comes_newest_first_in_pages,
    old_lines_of_the_audit_log_are_removed,
    declarations_are_replaced_and_removed_by_kind_and_name,
    what_is_new_is_told_by_target,
    own_commits_are_no_news,
    who_waits_for_news_is_woken,
    many_commits_are_each_all_or_nothing,
    a_target_is_loaded_whole,
    a_rollout_that_ended_long_ago_is_loaded_with_its_command,
    observations_come_back_exactly,
    cursors_come_back_exactly,
);

/// The memory store's own switches.
mod memory {
    use serin::ports::{Commit, Commits, Queries, StoreError};

    use super::MemoryStore;
    use super::samples::{at, command, event, rollout};

    #[tokio::test]
    async fn a_broken_one_refuses_everything_and_keeps_what_it_has() {
        let store = MemoryStore::new();
        store.own_targets(&["checkout".into()]).await.unwrap();
        store.set_broken(true);
        let refused =
            |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::Unavailable(_))));
        refused(store.ping().await);
        refused(store.targets().await.map(|_| ()));
        refused(store.own_targets(&["search".into()]).await.map(|_| ()));
        refused(store.commit(&Commit::default()).await);
        store.set_broken(false);
        let names: Vec<_> = store.targets().await.unwrap().into_iter().map(|target| target.name).collect();
        assert_eq!(names, ["checkout"]);
    }

    #[tokio::test]
    async fn a_lost_answer_is_an_error_after_the_deed_and_only_once() {
        let store = MemoryStore::new();
        store.own_targets(&["checkout".into()]).await.unwrap();
        let made = rollout("r1", "checkout");
        store.create_rollout(made.clone(), event(1), None, false).await.unwrap();
        store.lose_next_answer();
        let commit = Commit { rollout: Some(made.clone()), ..Commit::default() };
        assert!(matches!(store.commit(&commit).await, Err(StoreError::Unavailable(_))));
        assert_eq!(store.rollout(&made.id).await.unwrap().revision, 1);
        store.enqueue(&made.id, command("k"), at(1)).await.unwrap();
    }

    #[tokio::test]
    async fn clones_share_what_is_stored() {
        let store = MemoryStore::new();
        let other = store.clone();
        drop(store.own_targets(&["checkout".into()]).await.unwrap());
        drop(store);
        assert_eq!(other.inspect(|data| data.targets.len()), 1);
        assert_eq!(other.data().writes, 1);
    }
}

/// What channels keep, over both stores.
mod channel_memory {
    use std::time::Duration;

    use serin::ports::{ChannelMemory, Commits, Queries, Retention};

    use super::samples::at;
    use super::{MemoryStore, SqliteStore};

    async fn keeps_and_forgets(store: impl Commits + Queries + ChannelMemory) {
        let recall = async |channel: &str, key: &str| store.recall(channel, key).await.unwrap();
        assert_eq!(recall("chat", "thread/r1").await, None);
        store.remember("chat", "thread/r1", "first", at(100)).await.unwrap();
        store.remember("chat", "thread/r1", "it's \"new\"", at(200)).await.unwrap();
        store.remember("mail", "thread/r1", "other", at(50)).await.unwrap();
        assert_eq!(recall("chat", "thread/r1").await.as_deref(), Some("it's \"new\""));
        assert_eq!(recall("mail", "thread/r1").await.as_deref(), Some("other"));
        let hour = Duration::from_secs(3600);
        let retention = Retention { observations: hour, rollouts: hour };
        store.prune(retention, at(3600 + 100), 100).await.unwrap();
        assert_eq!(recall("mail", "thread/r1").await, None, "older than rollouts are kept");
        assert!(recall("chat", "thread/r1").await.is_some());
    }

    #[tokio::test]
    async fn over_sqlite() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("serin.db");
        let store = SqliteStore::open(&path).await.expect("a store");
        keeps_and_forgets(store.clone()).await;
        store.close().await;
        let again = SqliteStore::open(&path).await.expect("the same store");
        assert!(again.recall("chat", "thread/r1").await.unwrap().is_some(), "it survives a restart");
        again.close().await;
    }

    #[tokio::test]
    async fn over_memory() {
        keeps_and_forgets(MemoryStore::new()).await;
    }
}
