"""People are told how a retraining ended; that they could not be reached fails nothing."""

import json

import pytest

from tests.training.listener import Listener
from training import notify
from training.__main__ import main

FLAGS = ("--release", "new", "--previous", "old", "--verdict", "verdicts/1")


def test_a_release_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with Listener() as people:
        assert main(["notify", "--url", people.url, *FLAGS]) == 0
    assert json.loads(capsys.readouterr().out) == {"told": True}
    text = "Release new is in service."
    assert people.heard == [{"text": text, "moved": True, "release": "new", "previous": "old", "verdict": "verdicts/1"}]


def test_who_cannot_be_reached_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Listener(status=500) as people:
        assert main(["notify", "--url", people.url, *FLAGS]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"told": False}
    assert f"{people.url} was not told: HTTP Error 500" in err
    assert not notify.tell(people.url, "nobody listens there any more", {})


def test_only_http_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notify", "--url", "file:///etc/passwd", *FLAGS]) == 2
    assert "--url is 'file:///etc/passwd'" in capsys.readouterr().err
