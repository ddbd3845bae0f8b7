"""What sounds next in a chorale: by default in chorales that rules of harmony make."""

from tasks.kinds.music import Music

TASK = Music(name="music", summary="polyphonic music: how likely a piece is, how it goes on")
