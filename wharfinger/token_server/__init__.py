"""The token server: answers the registry's token challenge from docker_auth's YAML file.

`config` and `acl` need PyYAML and google-re2 only, so that a controller can check a file
before it lands on a host, and a health check is cheap; what serves requests is imported when
`serve` or `explain` is asked for.
"""
