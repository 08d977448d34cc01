"""Money and limits of provider calls: reserved before a call, settled after it.

1. `Admission.admit` reserves budgets, rates and a slot in one Lua call (admit.lua).
2. `Ledger.record` queues the row of an attempt; every 50 ms the queue is copied into the tenant's database.
3. After the commit, `Settlement` turns what was reserved into what was spent (settle.lua).
4. `Reconciler` does step 3 for replicas that died, and compares Redis with the ledger.

The ledger is the truth. Redis holds sums of it, which `Counters` makes again when they are missing.
"""
