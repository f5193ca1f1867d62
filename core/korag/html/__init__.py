"""Pictures in HTML that need nothing else: no script, nothing loaded, text escaped, colours of light and dark pages."""
