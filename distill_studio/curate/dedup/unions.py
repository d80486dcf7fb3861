"""Sets that grow together: what is tied to the same thing belongs together."""

from collections.abc import Hashable, Iterable


class Unions:
    """Union-find over any keys."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def find(self, key: Hashable) -> Hashable:
        """The key that stands for the set of `key`."""
        root = self._parent.setdefault(key, key)
        while root != self._parent[root]:
            root = self._parent[root]
        while key != root:
            self._parent[key], key = root, self._parent[key]
        return root

    def tie(self, one: Hashable, other: Hashable) -> None:
        """Both belong to one set from now on."""
        a, b = self.find(one), self.find(other)
        if a != b:
            self._parent[b] = a


def group_keys(ids: Iterable[str], ties: Iterable[tuple[str, Hashable]]) -> dict[str, str]:
    """For each id the smallest id of its group.

    Args:
        ids: All of them.
        ties: (id, anything): ids tied to equal things, or to each other, are one group.
    """
    unions = Unions()
    for one, other in ties:
        unions.tie(one, other)
    smallest: dict[Hashable, str] = {}
    ordered = sorted(set(ids))
    for one in ordered:
        smallest.setdefault(unions.find(one), one)
    return {one: smallest[unions.find(one)] for one in ordered}
