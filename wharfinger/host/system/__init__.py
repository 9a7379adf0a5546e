"""The lowest room: files, the lock, the state, processes, docker, nginx and services."""
