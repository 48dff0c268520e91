"""The same processors over history, without servers."""
