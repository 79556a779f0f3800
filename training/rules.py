"""Decides how a setting that breaks its rule is told: name, value, rule."""


def require(name: str, value: object, holds: bool, rule: str) -> None:
    """Raises ValueError unless `holds`."""
    if not holds:
        raise ValueError(f"{name} is {value}: expected {rule}")


def require_positive(config: object, *names: str) -> None:
    """Raises ValueError where one of these fields of a configuration is below 1."""
    for name in names:
        require(name, getattr(config, name), getattr(config, name) >= 1, "at least 1")
