"""When it matters: the rule language and its evaluation, pure."""
