"""Who else is told: the alert stream passed on to webhooks, Alertmanager, chat and mail.

Each sink is a consumer group of its own on the Redis stream, read by a task of its own: a slow one delays no other.
"""
