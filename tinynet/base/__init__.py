"""What everything else stands on: arrays, checks, settings of the process, errors.

It uses nothing of tinynet.
"""
