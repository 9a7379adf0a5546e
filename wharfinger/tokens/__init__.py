"""The token server's former name, kept for one release; see ../token_server."""
