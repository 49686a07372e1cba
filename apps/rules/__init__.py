"""JUDGED: conditions over readings, and the state of each rule for each series."""
