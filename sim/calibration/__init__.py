"""The cost model, fitted to measured runs."""

__all__ = ["covered", "fit", "joint_fit", "measured_run", "regression"]
