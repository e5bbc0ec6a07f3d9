"""Objects and serialisers for tests of blobs, as a project would have them."""

import json
from typing import Any


class Model:
    """An object that no table can hold."""

    def __init__(self, weight: int) -> None:
        self.weight = weight


class Tree(Model):
    pass


class Forest(Tree):
    pass


class JsonFile:
    """A serialiser as an object."""

    suffix = ".json"

    def __init__(self, kind: type[Model]) -> None:
        self._kind = kind

    def dumps(self, obj: Model) -> bytes:
        return json.dumps({"weight": obj.weight}).encode()

    def loads(self, content: bytes) -> Model:
        return self._kind(json.loads(content)["weight"])


model_file = JsonFile(Model)
tree_file = JsonFile(Tree)


class Formats:
    """A serialiser as a class, within another one, without a suffix."""

    class Digits:
        @staticmethod
        def dumps(obj: Model) -> bytes:
            return str(obj.weight).encode()

        @staticmethod
        def loads(content: bytes) -> Model:
            return Model(int(content))


class Text:
    """It forgets to encode."""

    @staticmethod
    def dumps(obj: Any) -> Any:
        return "text"

    loads = dumps


class Odd(Text):
    suffix = "a/b"
