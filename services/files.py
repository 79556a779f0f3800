"""Decides how a file of settings is read: TOML, or JSON where its name ends so, and errors that quote nothing of it."""

import json
import pathlib
import re
import tomllib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def read(path: pathlib.Path, model: type[Model], name: str, error_type: type[ValueError]) -> Model:
    """What a file says, checked by a model. Raises `error_type`, with the `name` of what the file is, its path, the
    field and the rule, and no value."""
    kind = "JSON" if path.suffix == ".json" else "TOML"
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = json.loads(text) if kind == "JSON" else tomllib.loads(text)
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise error_type(f"{name} {path}: {place}: {first['msg']}") from None
    except OSError as error:
        raise error_type(f"{name} {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise error_type(f"{name} {path} is not UTF-8") from None
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        # The parsers' own words may quote what stands there.
        line = re.search(r"line \d+", str(error))
        raise error_type(f"{name} {path} is not {kind}{f' at {line[0]}' if line else ''}") from None
