//! Pure mathematics: nothing of ours is imported here.
