"""Questions about a whole history that no running sum answers: what goes with spend, with a score, which alerts were right, what
customers are worth.

Batch, over a file, through DuckDB; read-only. The estimators are our own over numpy, so that a customer can read what a number is;
the tests hold them against SciPy and statsmodels. Nothing here says that one thing causes another.
"""
