from __future__ import annotations

import json
import os
import pickle
import re

import pytest
import torch

from wsvis_core.errors import WsvisError
from wsvis_core.storage.files import (
    atomic_path,
    input_stamp,
    load_tensors,
    read_json,
    save_tensors,
    settings_digest,
    write_json,
)


def test_atomic_path_makes_folders_and_leaves_only_the_file(tmp_path):
    target = tmp_path / "a" / "b" / "result.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists() and temporary.parent == target.parent
    assert target.read_text() == "new" and list(target.parent.iterdir()) == [target]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path):
    target = tmp_path / "result.json"
    write_json(target, {"old": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text('{"half')
        raise RuntimeError
    assert json.loads(target.read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.glob("*.json")] == ["result.json"]


def test_a_value_json_cannot_hold_is_refused_and_nothing_appears(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "m.json", {"mAP": float("nan")})
    assert not (tmp_path / "m.json").exists()


def test_json_round_trip_has_stable_bytes(tmp_path):
    value = {"b": [1, 2.5, None], "a": "é"}
    for name in ("one", "two"):
        write_json(tmp_path / name, value, indent=1)
    assert read_json(tmp_path / "one", made_by="x") == value
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_text().endswith("}\n")


def test_missing_and_broken_json_say_what_makes_the_file(tmp_path):
    path = tmp_path / "videos.json"
    with pytest.raises(WsvisError) as caught:
        read_json(path, made_by="rule prepare_dataset")
    assert str(caught.value) == f"{path} does not exist; it is made by rule prepare_dataset"
    for content in (b'{"half": ', b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises(WsvisError, match=r"not valid JSON .*delete it and run rule prepare_dataset again"):
            read_json(path, made_by="rule prepare_dataset")


def test_the_digest_ignores_the_order_of_keys_but_no_value():
    assert settings_digest({"a": 1, "b": {"c": 2, "d": 3}}) == settings_digest({"b": {"d": 3, "c": 2}, "a": 1})
    different = [{"a": 1}, {"a": 2}, {"a": 1.5}, {"a": "1"}, {"a": [1]}, {"b": 1}, {"a": None}, {}]
    digests = {settings_digest(value) for value in different}
    assert len(digests) == len(different) and all(re.fullmatch("[0-9a-f]{16}", digest) for digest in digests)


def test_tensors_round_trip(tmp_path):
    value = {"model": {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}, "iteration": 7}
    save_tensors(tmp_path / "w.pt", value)
    back = load_tensors(tmp_path / "w.pt")
    assert back["iteration"] == 7 and all(torch.equal(back["model"][k], value["model"][k]) for k in ("w", "n"))
    assert list(tmp_path.iterdir()) == [tmp_path / "w.pt"]


class Evil:
    """Runs a command when unpickled."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def test_code_in_a_weights_file_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    for name in ("evil.pt", "bare.pt"):
        with pytest.raises(WsvisError, match=f"{name} cannot be read as a weights file"):
            load_tensors(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_unreadable_weights_files_are_named(tmp_path):
    path = tmp_path / "w.pt"
    with pytest.raises(WsvisError) as caught:
        load_tensors(path)
    assert str(caught.value) == f"weights file {path} does not exist; check the path in your config"
    save_tensors(path, {"w": torch.zeros(1000)})
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:-10], b"PK\x03\x04rest"):
        path.write_bytes(content)
        with pytest.raises(WsvisError, match="cannot be read as a weights file"):
            load_tensors(path)


def test_the_stamp_changes_with_name_size_and_time(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("12")
    first = input_stamp([path])
    assert first == input_stamp([path]) and first[0][:2] == ["a.h5", 2]
    path.write_text("123")
    second = input_stamp([path])
    os.utime(path, ns=(1, 1))
    assert len({json.dumps(stamp) for stamp in (first, second, input_stamp([path]))}) == 3
