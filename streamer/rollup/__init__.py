"""What it adds up to: panes, windows, estimates and aggregate rules, pure."""
