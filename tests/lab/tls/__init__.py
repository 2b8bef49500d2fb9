"""What of TLS real mail programs show on the wire: fingerprints and record lengths. `python -m tests.lab.tls`."""
