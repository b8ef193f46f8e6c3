"""What the parts of a minibatch cost, and so what every minibatch asks of cores, links and servers."""

__all__ = ["basis", "model", "service_demand"]
