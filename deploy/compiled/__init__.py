"""A compiled copy of the package: the pure modules of the hot path as C extensions, made with mypyc.

The sources stay what they are, and are the reference: the same modules run uncompiled, and a test folds the same history with both.
"""
