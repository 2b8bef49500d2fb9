"""The collector's TOML file: `model` has its tables, `keys` what is allowed in them, `file` reads it.

Knows TOML, ranges and defaults. Must not know what the rest of the collector does with a value.
"""
