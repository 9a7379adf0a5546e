"""Whatever can be sent or written: targets for fuzzers, and a million questions put three times."""
