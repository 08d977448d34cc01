"""What stands between a call and a provider that fails: retries, breakers, limits, queues, hedges.

`attempts` is the way in; every other file is one rule of it.
"""
