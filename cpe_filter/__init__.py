"""cpe-filter: an SMTP egress filter for subscribers' routers."""

__version__ = "0.1.0"
