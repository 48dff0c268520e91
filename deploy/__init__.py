"""How the product runs: the local stack without containers, images, and the servers' configuration."""
