"""Keys and certificates: the authority, the server's certificate, the signing key, ACME."""
