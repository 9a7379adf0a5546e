"""The folder credentials/ beside the inventory, and what hosts record of the secrets in it.

The host keeps each account's hash. Passwords and secrets stay on the controller.
"""
