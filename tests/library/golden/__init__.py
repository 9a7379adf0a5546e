"""What the real docker_auth decided, recorded, and a reading of its files that decides the same."""
