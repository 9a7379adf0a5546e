"""Any input that can be sent or written: targets for fuzzers, and a million questions asked of
three implementations."""
