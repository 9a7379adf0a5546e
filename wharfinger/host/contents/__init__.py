"""The jobs on the registry's contents: retention, garbage collection and scrub."""
