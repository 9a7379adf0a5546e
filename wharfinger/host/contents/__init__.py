"""What is done to the registry's contents: retention, garbage collection, check."""
