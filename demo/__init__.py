"""A demonstration: real jobs over real files, a worker killed in mid-run, a workflow, and the proof from the ledger."""
