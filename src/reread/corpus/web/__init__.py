"""Pages of the web: fetched, found in local files by their URLs, and turned into text."""
