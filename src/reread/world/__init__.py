"""A generated encyclopedia with questions, for the demo, the tests and controlled experiments."""

from reread.world.encyclopedia import World

__all__ = ["World"]
