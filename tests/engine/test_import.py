"""Importing the engine side loads nothing else of parityd and nothing outside the standard library."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import parityd

ROOT = Path(parityd.__file__).parent.parent
LOADED = """
import json, sys
before = set(sys.modules)
import parityd.engine
parityd.engine.schemas()
print(json.dumps({name: getattr(sys.modules[name], "__file__", None) for name in sys.modules if name not in before}))
"""


def loaded(*flags):
    run = subprocess.run(
        [sys.executable, *flags, "-c", LOADED],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return json.loads(run.stdout)


def test_nothing_else_of_parityd_is_loaded():
    own = {name for name in loaded() if name.split(".")[0] == "parityd"}
    assert own == {"parityd", "parityd.engine"} | {
        f"parityd.engine.{room}" for room in ("gate", "native", "publication", "recorder", "spool")
    }


def test_all_the_rest_is_the_standard_library():
    for name, file in loaded().items():
        top = name.split(".")[0]
        assert top == "parityd" or top in sys.stdlib_module_names, (name, file)
        assert file is None or "site-packages" not in file, (name, file)


def test_it_works_without_any_installed_package():
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import parityd.engine as e; print(e.Gate('/nowhere', 's').read().action)"
    run = subprocess.run([sys.executable, "-I", "-S", "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "DISABLE_TRADING"


def test_every_module_imports_only_the_engine_and_the_standard_library():
    import ast

    for file in (ROOT / "parityd" / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                assert name.startswith("parityd.engine") or name.split(".")[0] in sys.stdlib_module_names, (file, name)
    assert sysconfig.get_path("stdlib")
