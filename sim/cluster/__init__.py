"""What a user says of hosts, links and faults."""

__all__ = ["clusterfile", "scenario", "topology"]
