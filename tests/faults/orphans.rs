//! What a dead worker left running.
