"""Many networks of one architecture, trained and asked at once.

It may use models, training and what lies below; no single model knows of it.
"""
