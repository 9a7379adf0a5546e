"""registry_mirrors on the host: what is copied, by which process, and what is known of it."""
