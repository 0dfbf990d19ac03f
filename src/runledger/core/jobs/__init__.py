"""Jobs: their states, records, requests, handlers and the rules that decide about retries."""
