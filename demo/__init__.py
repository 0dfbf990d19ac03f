"""A demonstration: real jobs over real files, a worker killed in mid-run, and the proof from the ledger."""
