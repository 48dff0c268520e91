"""The commands of `streamer`, one module each; `cli.py` puts them together."""
