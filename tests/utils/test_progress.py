"""Progress: a widget in a kernel, text without ipywidgets, rich on a terminal, else nothing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from milinfer.utils.progress import in_notebook, progress

RUN = """
from milinfer.utils.progress import in_notebook, progress
with progress("adding <up> [red]:x:", total=3) as advance:
    for _ in range(3):
        advance(1)
print("IPython" in __import__("sys").modules, in_notebook())
"""
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def run_cell(tmp_path):
    """Outputs of a cell in a kernel of its own, and the states of its widgets."""

    def run(source: str):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        client = NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
        )
        client.execute()
        return notebook.cells[0].outputs, client.widget_state

    return run


def test_a_kernel_shows_a_widget(run_cell):
    outputs, widgets = run_cell(RUN)
    shown = [o for o in outputs if o.output_type == "display_data" and WIDGET in o.data]
    assert len(shown) == 1
    states = {w["_model_name"]: w for w in widgets.values() if "_model_name" in w}
    bar = states["FloatProgressModel"]
    assert (bar["value"], bar["max"], bar["bar_style"]) == (3, 3, "success")
    words = "".join(str(w.get("value")) for w in widgets.values())
    words = words.replace("\u2007", " ")  # a space as wide as a digit
    assert "adding &lt;up&gt; [red]" in words
    assert "3/3" in words
    text = "".join(o.text for o in outputs if o.output_type == "stream")
    assert text.strip() == "True True"


def test_a_kernel_without_ipywidgets_shows_text_and_says_why(run_cell):
    outputs, _ = run_cell("import sys; sys.modules['ipywidgets'] = None\n" + RUN)
    assert not [o for o in outputs if WIDGET in o.get("data", {})]
    text = "".join(o.text for o in outputs if o.output_type == "stream")
    assert "MilinferWarning: progress is shown as text" in text
    assert "pip install ipywidgets" in text
    assert "100%" in text
    assert "3/3" in text


def test_a_pipe_gets_nothing():
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
    assert done.stderr == ""


def test_a_terminal_gets_a_bar():
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        stdout=subprocess.PIPE,
        stderr=follower,
        env=environment,
        check=True,
    )
    os.close(follower)
    written = os.read(leader, 100_000).decode()
    os.close(leader)
    assert "adding <up> [red]:x:" in written
    assert "3/3" in written
    assert done.stdout.strip() == b"False False"


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch):
    class TerminalInteractiveShell:
        pass

    class Kernel:
        get_ipython = staticmethod(TerminalInteractiveShell)

    monkeypatch.setitem(sys.modules, "IPython", Kernel)
    assert not in_notebook()


def test_a_subclass_of_a_kernels_shell_is_a_notebook(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class Shell(ZMQInteractiveShell):  # as in Google Colab
        pass

    class Kernel:
        get_ipython = staticmethod(Shell)

    monkeypatch.setitem(sys.modules, "IPython", Kernel)
    assert in_notebook()


def test_an_error_inside_is_not_swallowed():
    def fails():
        with progress("adding", 2) as advance:
            advance(1)
            raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        fails()
