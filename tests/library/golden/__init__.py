"""Recorded decisions of the real docker_auth, and a reader of its files that decides the same."""
