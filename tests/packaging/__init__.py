"""What packaging/ has for an ISP: units, alerts, a dashboard, a container. tests/stock tries the Debian package."""
