"""Functions compiled to machine code where no place can be found to keep it."""

from __future__ import annotations

import errno
import importlib

from numba.core.caching import IndexDataCacheFile

from wsvis_core.compiled import compiled


def test_a_function_whose_code_cannot_be_kept_is_compiled_all_the_same():
    scope = {}
    exec("def doubled(x):\n    return 2 * x", scope)  # of no file, so numba has no folder for its cache
    assert compiled(scope["doubled"])(21) == 42


def test_a_full_disk_is_no_reason_to_stop(tmp_path, monkeypatch):
    def refuse(*_):
        tried.append(True)
        raise OSError(errno.ENOSPC, "No space left on device")

    tried = []
    (tmp_path / "full_disk_module.py").write_text("def doubled(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(IndexDataCacheFile, "save", refuse)
    assert compiled(importlib.import_module("full_disk_module").doubled)(21) == 42
    assert tried == [True]
