"""``rotate``: the command that brings an encrypted store under its newest key. Gives its exit code."""

from __future__ import annotations

from flowcore.cli import exits, words
from flowcore.cli.places import opened
from flowcore.cli.records import dumped
from flowcore.cli.screen import Screen
from flowcore.errors import UserError
from flowcore.stores import EncryptedStore
from flowcore.stores.keys import VARIABLE


async def rotate(screen: Screen, where: str, json: bool) -> int:
    """Seal with the newest key what older ones sealed. Raises UserError where the store isn't encrypted."""
    async with opened(where) as store:
        if not isinstance(store, EncryptedStore):
            raise UserError(
                "rotate: the store isn't opened as an encrypted one; give its address with 'encrypted+' before it:"
                f" --store encrypted+sqlite:///runs.db, and the keys: {VARIABLE}=NEWEST,OLDER"
            )
        done = await store.rotate()
    code = exits.DONE if done.done else exits.FAILED
    if json:
        record = {
            "key": done.key, "resealed": done.resealed, "old_keys": done.old_keys, "unreadable": done.unreadable,
            "done": done.done,
        }  # fmt: skip
        screen.result(dumped(record))
        return code
    key = words.clean(done.key)
    screen.say(f"{words.counted(done.resealed, 'record')} sealed again with key '{key}', the newest")
    for problem in done.unreadable:
        screen.tell(words.clean(problem), "red")
    for old, count in done.old_keys.items():
        screen.say(f"key '{words.clean(old)}' is needed still: for {words.counted(count, 'record')}", "yellow")
    if done.done:
        screen.say(f"no other key is needed: {VARIABLE} may name this one alone")
    return code
