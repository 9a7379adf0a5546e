"""Who logs in: generated secrets, chosen passwords, limits on guesses, where and until when."""
