"""Every mutation still takes out a safeguard that is there."""

from __future__ import annotations

import pytest
from tests.chaos.mutations import MUTATIONS, ROOT, Mutation

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_the_safeguard_that_a_mutation_takes_out_stands_once(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text("utf-8").count(mutation.old) == 1
