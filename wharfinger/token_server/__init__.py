"""The token server: answers the registry's token challenge from docker_auth's YAML file.

`config` and `acl` need only PyYAML and google-re2, so that a controller can check a file before it
is copied to a host, and a health check is cheap. `serve` and `explain` import the rest when they
run.
"""
