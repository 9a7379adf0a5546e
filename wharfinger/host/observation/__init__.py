"""The state of this host: for deployments, people, Prometheus and alarms."""
