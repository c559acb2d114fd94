"""Pre-training of our own: rungs of growing compute on the same clean stream that retrieval reads."""

from reread.ladder.config import RungConfig, rungs_from_dial
from reread.ladder.ladder import pretrain_ladder, train_rungs
from reread.ladder.train import pretrain

__all__ = ["RungConfig", "pretrain", "pretrain_ladder", "rungs_from_dial", "train_rungs"]
