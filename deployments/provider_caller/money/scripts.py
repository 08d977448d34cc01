"""The Lua scripts, each one atomic step."""

from pathlib import Path

from redis.asyncio import Redis

from kit.gcra import GCRA_LUA

FOLDER = Path(__file__).parent / "lua"


class Scripts:
    """admit, settle, seed, report, unlock, epoch: what each takes and returns stands at its head."""

    def __init__(self, redis: Redis) -> None:
        self.admit = redis.register_script(GCRA_LUA + _text("admit"))
        self.settle = redis.register_script(GCRA_LUA + _text("settle"))
        self.seed = redis.register_script(_text("seed"))
        self.report = redis.register_script(_text("report"))
        self.unlock = redis.register_script(_text("unlock"))
        self.epoch = redis.register_script(_text("epoch"))


def _text(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text("utf-8")
