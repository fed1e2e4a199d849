"""The base that was loaded last, with the adapters that sit on it: several of them side by side cost one base."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from tunesmith.models.adapters import load_adapter, load_beside
from tunesmith.models.peft_at_home import PeftModel

Voice = Callable[[], AbstractContextManager[None]]


class Shelf:
    """Holds one base at a time."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._shared: _Shared | None = None

    def speaking(
        self, key: Hashable, load: Callable[[], PreTrainedModel], adapter: Path | None
    ) -> tuple[nn.Module, Voice]:
        """The model of this key, and the context in which it speaks with this adapter alone; None: with none.

        It is loaded if it is not the one that is there, which is let go first.

        Raises:
            InputError: the adapter does not fit the base.
        """
        if self._shared is None or self._key != key:
            self._shared = None
            self._key, self._shared = key, _Shared(load())
        return self._shared.speaking(adapter)


class _Shared:
    def __init__(self, base: PreTrainedModel) -> None:
        self.base = base
        self.tuned: PeftModel | None = None
        self.adapters = 0

    def speaking(self, adapter: Path | None) -> tuple[nn.Module, Voice]:
        if adapter is None:
            return self.base, self._untuned
        if self.tuned is None:
            tuned, name = load_adapter(self.base, adapter, trainable=False), "default"
        else:
            tuned, name = self.tuned, f"adapter_{self.adapters}"
            load_beside(tuned, adapter, name)
        self.tuned = tuned.eval()
        self.adapters += 1

        @contextmanager
        def tuned_so() -> Iterator[None]:
            tuned.set_adapter(name)
            yield

        return tuned, tuned_so

    @contextmanager
    def _untuned(self) -> Iterator[None]:
        with self.tuned.disable_adapter() if self.tuned is not None else nullcontext():
            yield
