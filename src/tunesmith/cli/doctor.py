"""`tunesmith doctor`: what this machine has, what is installed, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

_CORE = ("torch", "transformers", "peft")
_WHAT_FOR = {
    "wandb": "tracking in Weights & Biases",
    "swanlab": "tracking in SwanLab",
    "tensorboard": "tracking in TensorBoard",
    "bitsandbytes": "8-bit AdamW",
}
_GIB = 2**30


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")
    ] = False,
) -> None:
    """Say what this machine has, what is installed, and what is missing."""
    facts = examine()
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        typer.echo(_as_text(facts))


def examine() -> dict[str, Any]:
    """The facts, as `--json` prints them. No secret is read further than to see that there is one."""
    from tunesmith import __version__
    from tunesmith.models.source import builtin_names

    return {
        "tunesmith": __version__,
        "python": {
            "version": platform.python_version(),
            "executable": sys.executable,
            "system": platform.platform(),
        },
        "packages": {name: _version(name) for name in _CORE},
        "devices": _devices(),
        "cores": _cores(),
        "memory": _memory(),
        "disk": _disk(Path.cwd()),
        "optional": _optional(),
        "login": {"wandb": _wandb_login(), "swanlab": _swanlab_login()},
        "hub_cache": _hub_cache(),
        "builtin_models": builtin_names(),
    }


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> list[dict[str, Any]]:
    """What can be trained on, best first, as `model.device: auto` chooses."""
    import torch

    devices: list[dict[str, Any]] = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            bf16 = properties.major >= 8  # Ampere and later compute in bf16; earlier ones emulate it
            devices.append(
                {
                    "device": "cuda",
                    "name": properties.name,
                    "memory_bytes": properties.total_memory,
                    "bf16": bf16,
                }
            )
    if torch.backends.mps.is_available():
        devices.append({"device": "mps", "name": platform.processor() or "Apple GPU"})
    devices.append({"device": "cpu", "name": platform.processor() or platform.machine()})
    return devices


def _cores() -> dict[str, int]:
    import psutil

    logical = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    return {"physical": psutil.cpu_count(logical=False) or logical, "usable": usable}


def _memory() -> dict[str, int]:
    """Bytes of main memory; inside a container, what the container may have."""
    import psutil

    memory = psutil.virtual_memory()
    total, available = memory.total, memory.available
    limit, used = (_number_in(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    if limit is not None and limit < total:
        total, available = limit, min(available, max(0, limit - (used or 0)))
    return {"total_bytes": total, "available_bytes": available}


def _number_in(path: Path) -> int | None:
    """The number in one of the system's small files; None where there is none, or it says `max`."""
    try:
        text = path.read_text("ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _disk(folder: Path) -> dict[str, Any]:
    import shutil

    usage = shutil.disk_usage(folder)
    return {"folder": str(folder), "free_bytes": usage.free, "total_bytes": usage.total}


def _optional() -> dict[str, dict[str, Any]]:
    from tunesmith.optional import EXTRAS, installed

    return {
        module: {
            "installed": installed(module),
            "version": _version(module),
            "for": _WHAT_FOR.get(module, extra),
            "install": f'pip install "tunesmith[{extra}]"',
        }
        for module, extra in EXTRAS.items()
    }


def _wandb_login() -> str | None:
    """Where wandb would find its key: an environment variable or a netrc file; None when it is logged out."""
    from urllib.parse import urlsplit

    if os.environ.get("WANDB_API_KEY"):
        return "WANDB_API_KEY"
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    own = os.environ.get("NETRC")
    for name in [own] if own else ["~/.netrc", "~/_netrc"]:
        path = Path(name).expanduser()
        if host in _hosts_in(path):
            return str(path)
    return None


def _swanlab_login() -> str | None:
    """Where swanlab would find its key: an environment variable or its own netrc file; None when it is logged out."""
    if os.environ.get("SWANLAB_API_KEY"):
        return "SWANLAB_API_KEY"
    root = os.environ.get("SWANLAB_ROOT") or os.environ.get("SWANLAB_SAVE_DIR") or "~/.swanlab"
    for folder in (".swanlab", root):
        path = Path(folder).expanduser() / ".netrc"
        if _hosts_in(path):
            return str(path)
    return None


def _hosts_in(path: Path) -> set[str]:
    """The hosts that a netrc file holds keys for; none where it is missing or unreadable."""
    import netrc

    try:
        return set(netrc.netrc(path).hosts)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return set()


def _hub_cache() -> dict[str, Any]:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    models = [
        path.name.removeprefix("models--").replace("--", "/") for path in sorted(folder.glob("models--*"))
    ]
    return {"folder": str(folder), "offline": bool(constants.HF_HUB_OFFLINE), "models": models}


def _as_text(facts: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version or 'MISSING'}" for name, version in facts["packages"].items())
    memory, disk, cores, cache = facts["memory"], facts["disk"], facts["cores"], facts["hub_cache"]
    lines = [
        ("tunesmith", facts["tunesmith"]),
        ("python", f"{facts['python']['version']} on {facts['python']['system']}"),
        ("packages", packages),
        *(("device", _device_as_text(device)) for device in facts["devices"]),
        ("cores", f"{cores['usable']} usable, {cores['physical']} physical"),
        ("memory", f"{_gib(memory['available_bytes'])} free of {_gib(memory['total_bytes'])}"),
        ("disk", f"{_gib(disk['free_bytes'])} free of {_gib(disk['total_bytes'])} in {disk['folder']}"),
        ("models", ", ".join(facts["builtin_models"]) or "no embedded model: the installation is not whole"),
        ("hub cache", f"{cache['folder']}, {_models_as_text(cache)}"),
        *(("optional", _optional_as_text(name, package)) for name, package in facts["optional"].items()),
        *(("login", _login_as_text(name, where)) for name, where in facts["login"].items()),
    ]
    return "\n".join(f"{title:<10} {text}" for title, text in lines)


def _device_as_text(device: dict[str, Any]) -> str:
    text = f"{device['device']}: {device['name']}"
    if "memory_bytes" in device:
        text += f", {_gib(device['memory_bytes'])}, {'bf16' if device['bf16'] else 'no bf16'}"
    return text


def _models_as_text(cache: dict[str, Any]) -> str:
    count = len(cache["models"])
    return f"{count} model{'' if count == 1 else 's'}" + (
        ", HF_HUB_OFFLINE is set" if cache["offline"] else ""
    )


def _optional_as_text(name: str, package: dict[str, Any]) -> str:
    if package["installed"]:
        return f"{name} {package['version'] or ''} ({package['for']})"
    return f"{name} is not installed ({package['for']}): {package['install']}"


def _login_as_text(name: str, where: str | None) -> str:
    if where is None:
        return f"{name}: not logged in; run `{name} login`, or use mode: offline in the recipe"
    return f"{name}: logged in (by {where})"


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
