"""Binary log coordinates. Replaced below."""
