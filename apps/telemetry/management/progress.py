"""A bar on a terminal, nothing elsewhere."""

WIDTH = 30


class Bar:
    """`bar(done, total)` as often as you like; `label` says of what."""

    def __init__(self, out, label: str):
        self._out = out
        self._label = label
        self._on_terminal = getattr(out, "isatty", bool)()

    def __call__(self, done: int, total: int) -> None:
        if not self._on_terminal:
            return
        filled = "#" * (WIDTH * done // max(total, 1))
        self._out.write(f"\r  {self._label} [{filled:<{WIDTH}}] {done}/{total}", ending="\n" if done >= total else "")
        self._out.flush()
