"""Functions compiled to machine code where no place can be found to keep it."""

from __future__ import annotations

from wsvis_core.compiled import compiled


def test_a_function_whose_code_cannot_be_kept_is_compiled_all_the_same():
    scope = {}
    exec("def doubled(x):\n    return 2 * x", scope)  # of no file, so numba has no folder for its cache
    assert compiled(scope["doubled"])(21) == 42
