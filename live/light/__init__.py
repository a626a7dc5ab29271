"""The light that the sample gets: settings, ledger, limits, shutters that close at all events."""
