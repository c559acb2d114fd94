"""A generated encyclopedia with questions, for the demo, the tests and controlled experiments."""

from reread.world.encyclopedia import World
from reread.world.rungs import stored_rungs, train_ladder
from reread.world.write import write_world

__all__ = ["World", "stored_rungs", "train_ladder", "write_world"]
