"""The form of flow files is the one that mitmproxy reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.io import tnetstring

from shim.record.netstring import dumps

PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text() | st.binary() | st.binary(min_size=5000, max_size=5100)
)  # fmt: skip
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.sampled_from("abc"), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_it_is_what_mitmproxy_writes(value: Any) -> None:
    # Up to the order of dictionaries.
    wanted, made = tnetstring.dumps(value), dumps(value)
    assert len(made) == len(wanted)
    assert tnetstring.loads(made) == tnetstring.loads(wanted)
    assert dumps({"a": dumps(value)}) == dumps({"a": value})
    assert dumps([(1, True), (True, 1), (b"1", b"2")]) == tnetstring.dumps(
        [[1, True], [True, 1], [b"1", b"2"]]
    )


def test_what_has_no_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="object"):
        dumps({"a": [object()]})
