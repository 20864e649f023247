"""The built-in adapters without call reports, so that the failures of many inputs in a row do not open the monitor's breaker."""
