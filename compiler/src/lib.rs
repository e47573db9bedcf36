//! The composition: World -> IR, statuses and exports, through one entry for every caller.
