"""The dialects that chat is asked and answered in, a file each: what of a request Penstock acts on, and its streams."""
