"""What the parts of a minibatch cost, and so what every minibatch asks of cores, links and servers."""

__all__ = ["model", "service_demand"]
