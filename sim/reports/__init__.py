"""Results as pages, tables and pictures."""

__all__ = ["leaderboard_view", "page", "run_figure"]
