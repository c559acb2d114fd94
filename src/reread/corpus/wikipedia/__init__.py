"""Wikipedia's dumps and their markup, into text."""
