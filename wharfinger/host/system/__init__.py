"""What lies below everything: files, the lock, the state, processes, docker, nginx and services."""
