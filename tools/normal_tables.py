"""Write the tables of numpy's ziggurat, from which the C controller draws the same normal numbers as Python.

    python tools/normal_tables.py > homeo_rl/exchange/c/sources/homeo_normal_tables.h

The method is that of Marsaglia and Tsang (2000): the bell is covered by 256 strips of equal area. numpy's widths were
computed in float64 once, so they are measured on the generator itself: a raw output of our choice names the strip and
the place in it, and the number that comes back is their product. A place is inside where no second output is drawn.
"""

import numpy as np

STRIPS = 256
_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # of PCG64
_MODULUS = 1 << 128


class Probe:
    """A generator whose next raw output can be chosen."""

    def __init__(self) -> None:
        self._bits = np.random.PCG64(0)
        self._generator = np.random.Generator(self._bits)
        self._increment = self._bits.state["state"]["inc"]

    def draw(self, strip: int, place: int) -> tuple[float, bool]:
        """Return the normal number of a place, and whether it took one output only."""
        wanted = strip | place << 9  # a state without upper half is given out as it is
        state = self._bits.state
        state["state"]["state"] = (wanted - self._increment) * pow(_MULTIPLIER, -1, _MODULUS) % _MODULUS
        self._bits.state = state
        value = self._generator.standard_normal()
        return value, self._bits.state["state"]["state"] == wanted

    def inside(self, strip: int) -> int:
        """Return how many places of a strip are taken at once."""
        low, high = 0, 1 << 52
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.draw(strip, middle)[1] else (low, middle)
        return low


def write() -> str:
    """Return the text of the tables."""
    probe = Probe()
    inside = [probe.inside(strip) for strip in range(STRIPS)]
    width = [probe.draw(strip, 1)[0] for strip in range(STRIPS)]
    height = [1.0, *(float(np.exp(-0.5 * (part * 2.0**52) ** 2)) for part in width[1:])]
    tables = (
        ("uint64_t", "inside", [f"UINT64_C({value})" for value in inside]),
        ("double", "width", list(map(repr, width))),
        ("double", "height", list(map(repr, height))),
    )
    text = "/* Strips of numpy's ziggurat for normal numbers: written by tools/normal_tables.py. */\n"
    for kind, name, values in tables:
        lines = ",\n    ".join(", ".join(values[k : k + 4]) for k in range(0, STRIPS, 4))
        text += f"static const {kind} normal_{name}[{STRIPS}] = {{\n    {lines}\n}};\n"
    return text


if __name__ == "__main__":
    print(write(), end="")
