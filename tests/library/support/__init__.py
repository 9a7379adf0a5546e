"""What several tests share: a registry client for raw requests, and Molecule's hosts."""
