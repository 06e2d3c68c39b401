"""LHE text made by the tests."""

from __future__ import annotations

from pathlib import Path

INIT = """<init>
2212 2212 6.5e+03 6.5e+03 0 0 247000 247000 -4 2
1.5e+00 1.0e-02 1.0e+00 1
0.5e+00 2.0e-02 1.0e+00 2
</init>
"""
PARTICLES = (
    "  2 -1 0 0 501 0 +0.0000000000e+00 +0.0000000000e+00 +5.0e+02 5.0e+02 0.0e+00 0.0e+00 -1.0",
    " -2 -1 0 0 0 501 -0.0000000000e+00 -0.0000000000e+00 -5.0e+02 5.0e+02 0.0e+00 0.0e+00 1.0",
    " 11  1 1 2 0 0 +3.0e+02 +4.0e+02 +0.0e+00 5.0e+02 5.11e-04 0.0e+00 -1.0",
    "-11  1 1 2 0 0 -3.0e+02 -4.0e+02 +0.0e+00 5.0e+02 5.11e-04 0.0e+00 1.0",
)
RWGT = "<rwgt>\n<wgt id='a'> +1.0e+00 </wgt>\n<wgt id='b'> -2.5e-01 </wgt>\n</rwgt>\n"


def event(
    *,
    nup: int | None = None,
    particles: tuple[str, ...] = PARTICLES,
    weight: str = "+2.0e+00",
    before: str = "",
    after: str = "",
) -> str:
    n = len(particles) if nup is None else nup
    lines = "".join(f"{line}\n" for line in particles)
    head = f" {n} 1 {weight} 9.118e+01 7.8e-03 1.18e-01\n"
    return f"<event>\n{before}{head}{lines}{after}</event>\n"


def document(
    *events: str, header: str = "", init: str = INIT, before_init: str = "", end: str = "default"
) -> str:
    head = f"<header>{header}</header>\n" if header else ""
    close = "</LesHouchesEvents>\n" if end == "default" else end
    return f'<LesHouchesEvents version="3.0">\n{head}{before_init}{init}{"".join(events)}{close}'


class Maker:
    event = staticmethod(event)
    document = staticmethod(document)
    particles = PARTICLES
    init = INIT
    rwgt = RWGT

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, text: str | bytes, name: str = "in.lhe") -> Path:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path
