"""What several tests share: a registry's client for raw requests, and Molecule's hosts."""
