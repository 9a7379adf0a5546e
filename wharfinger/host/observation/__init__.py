"""What this host is like: for a deployment, for people, for Prometheus and for alarms."""
