"""Answers about the store, and the queries behind them."""
