"""Which keys of a key file are valid, and what happens when the file changes."""

import datetime
import hashlib
import json
import os
import pathlib
import re
import tomllib
from collections.abc import Callable

import pytest

from services.__main__ import main
from services.keys import Key, KeyFileError, Keys, read

SECRET = "nearfeed_first"
OTHER = "nearfeed_second"


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def entry(name: str, secret: str, scopes: str = '["read"]', more: str = "") -> str:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return f'[[keys]]\nid = "{name}"\nsha256 = "{digest}"\nscopes = {scopes}\n{more}\n'


@pytest.fixture
def key_file(tmp_path: pathlib.Path) -> Callable[[str], pathlib.Path]:
    """Writes the file beside itself and moves it into place, as an operator should."""

    def write(text: str) -> pathlib.Path:
        (tmp_path / "new").write_text(text, encoding="utf-8")
        return (tmp_path / "new").replace(tmp_path / "keys.toml")

    return write


Write = Callable[[str], pathlib.Path]


def found(keys: Keys, secret: str) -> str | None:
    key = keys.find(secret.encode())
    return key.id if key else None


def test_several_keys_are_valid_at_once(key_file: Write) -> None:
    keys = Keys(str(key_file(entry("old", SECRET) + entry("new", OTHER))))
    assert found(keys, SECRET) == "old"
    assert found(keys, OTHER) == "new"


@pytest.mark.parametrize("secret", ["", SECRET[:-1], SECRET + "x", SECRET.upper(), "\xff", "x" * 100_000])
def test_what_is_no_key_is_not_found(key_file: Write, secret: str) -> None:
    assert found(Keys(str(key_file(entry("web", SECRET)))), secret) is None


def test_the_digest_in_the_file_is_no_key(key_file: Write) -> None:
    keys = Keys(str(key_file(entry("web", SECRET))))
    assert found(keys, hashlib.sha256(SECRET.encode()).hexdigest()) is None


def test_a_key_that_only_begins_with_a_long_one_is_another(key_file: Write) -> None:
    keys = Keys(str(key_file(entry("long", "x" * 256))))
    assert found(keys, "x" * 256) == "long"
    assert found(keys, "x" * 257) is None


def test_a_key_ends_when_its_entry_says_so(key_file: Write) -> None:
    clock = Clock(datetime.datetime(2026, 1, 31, 11, 59, 59, tzinfo=datetime.UTC).timestamp())
    keys = Keys(str(key_file(entry("web", SECRET, more="not_after = 2026-01-31T12:00:00Z"))), clock)
    assert found(keys, SECRET) == "web"
    clock.now += 1
    assert found(keys, SECRET) is None


def test_a_json_file_says_the_same(tmp_path: pathlib.Path) -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    listed = {"id": "web", "sha256": digest, "scopes": ["write", "read"], "not_after": "2026-01-31T13:00:00+01:00"}
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [listed]}), encoding="utf-8")
    (key,) = read(path)
    assert key.scopes == {"read", "write"}
    assert key.not_after == datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)


def test_admin_includes_the_others_and_write_does_not_include_read() -> None:
    admin, write = (Key(id="k", sha256="0" * 64, scopes=frozenset({scope})) for scope in ("admin", "write"))
    assert [admin.permits("read"), admin.permits("write"), admin.permits("admin")] == [True, True, True]
    assert [write.permits("read"), write.permits("write"), write.permits("admin")] == [False, True, False]


def test_a_changed_file_is_read_within_a_second(key_file: Write) -> None:
    clock = Clock()
    keys = Keys(str(key_file(entry("web", SECRET))), clock)
    key_file(entry("web", OTHER))
    clock.now += 0.5
    assert found(keys, SECRET) == "web"
    clock.now += 0.5
    assert found(keys, SECRET) is None
    assert found(keys, OTHER) == "web"


def test_a_broken_file_leaves_the_last_good_keys_and_is_told_once(
    key_file: Write, caplog: pytest.LogCaptureFixture
) -> None:
    clock, broken = Clock(), []
    path = key_file(entry("web", SECRET))
    keys = Keys(str(path), clock, lambda: broken.append(clock.now))
    key_file("[[keys]\nid =")
    for _ in range(5):
        clock.now += 1
        assert found(keys, SECRET) == "web"
    assert broken == [1001.0]
    assert f"the keys read before stay in force: key file {path} is not TOML at line 1" in caplog.text
    path.unlink()
    clock.now += 1
    assert found(keys, SECRET) == "web"
    assert broken == [1001.0, 1006.0]
    assert "cannot be read: No such file" in caplog.text
    key_file(entry("web", OTHER))
    clock.now += 1
    assert (found(keys, SECRET), found(keys, OTHER)) == (None, "web")
    assert len(broken) == 2


def test_a_file_that_has_not_changed_is_not_read_again(key_file: Write) -> None:
    clock = Clock()
    path = key_file(entry("web", SECRET))
    keys = Keys(str(path), clock)
    seen = path.stat()
    text = path.read_text(encoding="utf-8").replace("web", "WEB")
    with path.open("r+", encoding="utf-8") as same:
        same.write(text)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    clock.now += 60
    assert found(keys, SECRET) == "web"


def test_a_clock_that_is_set_back_does_not_keep_changes_out(key_file: Write) -> None:
    clock = Clock()
    keys = Keys(str(key_file(entry("web", SECRET))), clock)
    key_file(entry("web", OTHER))
    clock.now -= 500
    assert found(keys, SECRET) is None


REFUSED = [
    ("", "keys: Field required"),
    ("keys = []", "keys: Tuple should have at least 1 item|keys: .*at least 1 item"),
    (entry("web", SECRET) + entry("web", OTHER), "two entries have the same id"),
    (entry("web", SECRET) + entry("app", SECRET), "the same sha256"),
    (entry("we b", SECRET), "keys.0.id: String should match"),
    (entry("web", SECRET, "[]"), "keys.0.scopes: .*at least 1 item"),
    (entry("web", SECRET, '["root"]'), "keys.0.scopes.0: Input should be 'read', 'write' or 'admin'"),
    (entry("web", SECRET, more='colour = "red"'), "keys.0.colour: Extra inputs"),
    (entry("web", SECRET, more="not_after = 2026-01-31T12:00:00"), "keys.0.not_after: .*timezone"),
    (entry("web", SECRET, more="per_second = 0"), "keys.0.per_second: .*greater than 0"),
    (entry("web", SECRET, more="per_second = inf"), "keys.0.per_second: .*finite"),
    (entry("web", SECRET, more="burst = 2"), "keys.0: .*burst is given without per_second"),
    ("".join(entry(f"k{n}", f"{n}") for n in range(101)), "keys: .*at most 100 items"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_key_file_with_a_mistake_is_refused_with_its_place(key_file: Write, text: str, message: str) -> None:
    path = key_file(text)
    with pytest.raises(KeyFileError, match=message) as raised:
        Keys(str(path))
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("text", [f'sha256 = "{SECRET}', f'[[keys]]\nid = "w"\nsha256 = "{SECRET}"\nscopes = ["read"]'])
def test_a_key_that_was_pasted_in_place_of_its_digest_is_not_repeated(key_file: Write, text: str) -> None:
    with pytest.raises(KeyFileError) as raised:
        read(key_file(text))
    assert SECRET not in str(raised.value)


def test_other_bytes_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "keys.toml").write_bytes(b"\xff")
    with pytest.raises(KeyFileError, match="is not UTF-8"):
        read(tmp_path / "keys.toml")
    (tmp_path / "keys.json").write_text("[" * 100_000, encoding="ascii")
    with pytest.raises(KeyFileError, match="is not JSON"):
        read(tmp_path / "keys.json")


def test_a_new_key_is_printed_once_with_an_entry_that_makes_it_valid(
    capsys: pytest.CaptureFixture[str], key_file: Write
) -> None:
    flags = ["--id", "web", "--scopes", "write,read", "--not-after", "2999-01-31T00:00:00Z"]
    assert main(["key", *flags]) == 0
    printed = capsys.readouterr().out
    secret = re.search(r"once: (nearfeed_[\w-]{43})\n", printed)
    assert secret is not None
    listed = printed[printed.index("[[keys]]") :]
    assert secret[1] not in listed
    assert tomllib.loads(listed)["keys"][0]["scopes"] == ["read", "write"]
    assert found(Keys(str(key_file(listed))), secret[1]) == "web"


def test_no_two_new_keys_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        main(["key", "--id", "web", "--scopes", "read"])
    assert len(set(re.findall(r"nearfeed_[\w-]{43}", capsys.readouterr().out))) == 2


@pytest.mark.parametrize(
    "flags",
    [["--id", "a b", "--scopes", "read"], ["--id", "a", "--scopes", "root"],
     ["--id", "a", "--scopes", "read", "--not-after", "soon"],
     ["--id", "a", "--scopes", "read", "--not-after", "2026-01-31"]],
)  # fmt: skip
def test_an_entry_that_a_key_file_would_refuse_is_not_printed(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", *flags]) == 2
    assert "[[keys]]" not in capsys.readouterr().out
