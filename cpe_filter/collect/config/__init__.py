"""The collector's TOML file: `model` has its tables, `keys` what is allowed in them, `file` reads it."""
